package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// APIAddress is where the management API of each host listens. It serves the host alone,
// so it needs no credentials; the lab asks it from within the host.
const APIAddress = "127.0.0.1:1313"

// Figures of addresses that are added at run time.
const (
	// checkInterval is the shortest interval of the check of an address, in seconds.
	checkInterval = 1
	// checkLost is after how long the check of an address has taken effect: it fails
	// healthFall times in a row, and the last try may hang for an interval.
	checkLost = (healthFall+1)*checkInterval*time.Second + time.Second
	// answered is the time in which the API answers to the removal of both addresses, one
	// after the other; each waits for etcd. They are not bound when it has.
	answered = time.Second
)

// addedFaults are the faults of addresses that were added to each host at run time. Under
// the policy claim etcd may be lost, or not be reached, without an address that has no
// owner; as long as etcd serves, an address has at most one.
func addedFaults() (all []Fault) {
	for _, claim := range []bool{false, true} {
		for _, f := range []Fault{
			{Name: "kill9", Lasts: longer, Inject: kill9, Limits: Limits{NoOwner: kernel}},
			// An owner that was stopped for longer than its lease asks etcd before it claims.
			{Name: "sigstop-sigcont", Lasts: longer, Inject: freeze, Limits: Limits{NoOwner: kernel, TwoOwners: thawed}},
			{Name: "clean-stop", Lasts: shorter, Inject: cleanStop, Limits: Limits{Median: byAgreement, NoOwner: handOver}},
			{Name: "failover", Lasts: shorter, Inject: failover, Limits: Limits{Median: byAgreement, NoOwner: handOver}},
			{Name: "remove", CI: claim, Lasts: shorter, Inject: removed, Limits: Limits{NoOwner: handOver, Left: answered}},
			{Name: "check-fail", Health: true, Lasts: checkLost + shorter, Inject: refusing, Limits: Limits{NoOwner: handOver, Left: checkLost}},
			{Name: "etcd-majority-lost", Etcd: true, Lasts: longer, Inject: etcdNoQuorum},
			{Name: "etcd-all-lost", CI: claim, Etcd: true, Lasts: longer, Inject: etcdKilled},
			{Name: "partition-etcd", Etcd: true, Lasts: longer, Inject: partitionEtcd, Limits: Limits{NoOwner: kernel}},
		} {
			f.Added, f.Limits.Each = true, true
			switch {
			case !claim && f.Etcd && f.Name != "partition-etcd":
				f.Limits.NoOwner, f.Limits.BeyondLease = beyond, true
			case claim && f.Etcd:
				f.Lasts, f.Alone = longest, true
				f.Limits = Limits{NoOwner: leaseLost, Each: true, Shared: true, OneAgain: oneAgain, Reunited: oneAgain}
			}
			if f.Name = "added-" + f.Name; claim {
				f.Name, f.OnEtcdLoss = "claim-"+f.Name, "claim"
			}
			all = append(all, f)
		}
	}
	return all
}

// Add adds the addresses of a lab with Options.Added to a host, as soon as its API takes
// them.
func (l *Lab) Add(ctx context.Context, h *Host) error {
	for _, a := range l.probed {
		if err := again(ctx, func(ctx context.Context) error { return h.add(ctx, a) }); err != nil {
			return fmt.Errorf("add %v: %w", a, err)
		}
	}
	return nil
}

// Serves waits until the API of the host says that berth is ready.
func (h *Host) Serves(ctx context.Context) error {
	return again(ctx, func(ctx context.Context) error { return h.demand(ctx, http.MethodGet, "/readyz", nil, http.StatusOK) })
}

// again asks an API, which does not tell, until there is no error any more.
func again(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func (h *Host) add(ctx context.Context, a netip.Addr) error {
	type check struct {
		Type string `json:"type"`
		Host string `json:"host"`
		Port int    `json:"port"`
	}
	spec := struct {
		IP       string  `json:"ip"`
		Checks   []check `json:"checks,omitempty"`
		Interval int     `json:"healthcheck_interval,omitempty"`
	}{IP: whole(a).String()}
	if h.service != nil {
		at := netip.MustParseAddrPort(healthAddress)
		spec.Checks, spec.Interval = []check{{"TCP", at.Addr().String(), int(at.Port())}}, checkInterval
	}
	return h.demand(ctx, http.MethodPost, "/ips", spec, http.StatusCreated)
}

// ID returns the name of an address in the API.
func ID(a netip.Addr) string { return "vip-" + a.String() }

// demand makes a request of the API of a host that must have this answer.
func (h *Host) demand(ctx context.Context, method, path string, body any, want int) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	got, said, err := h.ask(ctx, h.client, method, path, text)
	if err == nil && got != want {
		err = fmt.Errorf("status %d, want %d: %s", got, want, said)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", method, path, h.Name(), err)
	}
	return nil
}

// ask makes a request of the API of a host.
func (h *Host) ask(ctx context.Context, client *http.Client, method, path string, body []byte) (status int, said []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+APIAddress+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	said, err = io.ReadAll(answer.Body)
	return answer.StatusCode, said, err
}

// newClient returns a client that is on the host and has so many connections at most.
func (h *Host) newClient(connections int, dialled func()) *http.Client {
	return &http.Client{Timeout: waitLimit, Transport: &http.Transport{
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialled()
			return h.DialAPI()
		},
	}}
}

// DialAPI connects to the API of the host, from within the host.
func (h *Host) DialAPI() (conn net.Conn, err error) {
	err = h.Node.Do(func() error {
		conn, err = net.Dial("tcp4", APIAddress)
		return err
	})
	return conn, err
}

// failover makes the owner of the first address hand it over, by the API.
func failover(r *Run) error {
	return r.Victim.demand(r.Ctx, http.MethodPost, "/ips/"+ID(r.probed[0])+"/failover", nil, http.StatusNoContent)
}

// removed removes the addresses from the victim alone. When the API has answered they are
// not bound there.
func removed(r *Run) error {
	r.heal(func() error { return r.Add(r.Ctx, r.Victim) })
	r.bar(r.Victim)
	for _, a := range r.probed {
		if err := r.Victim.demand(r.Ctx, http.MethodDelete, "/ips/"+ID(a), nil, http.StatusNoContent); err != nil {
			return err
		}
		bound, err := r.Victim.bound()
		if err != nil {
			return err
		}
		if slices.Contains(bound, a) {
			return fmt.Errorf("%v is bound on %s after the API has answered that it was removed", a, r.Victim.Name())
		}
	}
	return nil
}

// bound returns the addresses that the kernel of the host has.
func (h *Host) bound() (list []netip.Addr, err error) {
	var all []net.Addr
	if err := h.Node.Do(func() (err error) {
		all, err = net.InterfaceAddrs()
		return err
	}); err != nil {
		return nil, err
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().WithZone(""))
		}
	}
	return list, nil
}

// refusing ends the service that the checks of the victim's addresses connect to.
func refusing(r *Run) error {
	if r.Victim.service == nil {
		return errors.New("the lab has no health checks")
	}
	r.heal(r.Victim.serve)
	r.bar(r.Victim)
	return r.Victim.service.close()
}

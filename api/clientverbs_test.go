package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/api"
	"berth/ips"
	"berth/pool"
)

// movable is a service in which an address moves: from no member to lb1, which is this one,
// or else between lb1 and lb2.
type movable struct {
	service
	stuck bool // the owner stays
}

func (m movable) own(id, owner string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.ips[id]
	if a.Owner, a.Status = owner, ips.Standby; owner == "lb1" {
		a.Status = ips.Activated
	}
	m.ips[id] = a
}

func (m movable) Lock(ctx context.Context, id string) error {
	a, err := m.Get(id)
	if err == nil && a.Owner == "" && !m.stuck {
		m.own(id, "lb1")
	}
	return err
}

func (m movable) Failover(ctx context.Context, id string) error {
	a, err := m.Get(id)
	switch {
	case err != nil || m.stuck:
	case a.Owner == "lb1":
		m.own(id, "lb2")
	default:
		m.own(id, "lb1")
	}
	return err
}

// client returns a client of a server of the world, with credentials.
func (w *world) client(t *testing.T, s ips.Service) *api.Client {
	t.Helper()
	o, _, _ := w.options(t)
	o.Username, o.Password, o.IPs = "admin", secret, s
	server := httptest.NewServer(api.New(o).Handler())
	t.Cleanup(server.Close)
	c, err := api.NewClient(api.Access{URL: server.URL, Username: "admin", Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The client and the server of this package understand each other.
func TestTheClientAsksTheServer(t *testing.T) {
	w := newWorld()
	c, ctx := w.client(t, movable{service: service{w}}), t.Context()
	steps := []struct {
		name string
		do   func() (any, error)
		want string // the result, or what is in the error
		told string // what the service was told
	}{
		{"list nothing", func() (any, error) { return c.IPs(ctx) }, "[]", ""},
		{"add", func() (any, error) {
			a, err := c.AddIP(ctx, ips.Spec{IP: "2001:db8::1", Checks: []ips.Check{{Type: ips.TCP, Host: "::1", Port: 80}}, KeepaliveInterval: 3, HealthcheckInterval: 5})
			return a.ID, err
		}, "vip-2001:db8::1", "add 2001:db8::1 [TCP:[::1]:80] 3 5"},
		{"add without checks", func() (any, error) { a, err := c.AddIP(ctx, ips.Spec{IP: "10.0.0.1/24"}); return a.IP, err }, "10.0.0.1/24", "add 10.0.0.1/24 [] 0 0"},
		{"add again", func() (any, error) { return c.AddIP(ctx, ips.Spec{IP: "10.0.0.1"}) }, "/ips: IP already assigned", "add 10.0.0.1 [] 0 0"},
		{"add what is no address", func() (any, error) { return c.AddIP(ctx, ips.Spec{IP: "web"}) }, `/ips: invalid IP: it is not an IP address`, ""},
		{"list", func() (any, error) {
			all, err := c.IPs(ctx)
			return fmt.Sprintf("%d %s %s %d", len(all), all[0].ID, all[0].Owner, all[0].Since.Year()), err
		}, "2 vip-10.0.0.1 lb2 2026", ""},
		{"show by the address", func() (any, error) { a, err := c.IP(ctx, "2001:DB8::1/128"); return a.Checks, err }, "[TCP:[::1]:80]", ""},
		{"show what is not there", func() (any, error) { return c.IP(ctx, "10.0.0.9") }, "/ips/vip-10.0.0.9: there is no such address; berth ips list shows", ""},
		{"show what is no id", func() (any, error) { return c.IP(ctx, "../pool") }, `/ips: "../pool" cannot be the id of an address; berth ips list`, ""},
		{"set checks", func() (any, error) {
			return nil, c.SetChecks(ctx, "10.0.0.1", ips.Spec{Checks: []ips.Check{{Type: ips.TCP, Host: "h", Port: 1}}, HealthcheckInterval: 7})
		}, "<nil>", "update vip-10.0.0.1 [TCP:h:1] 0 7"},
		{"set no checks", func() (any, error) { return nil, c.SetChecks(ctx, "10.0.0.1", ips.Spec{}) }, "<nil>", "update vip-10.0.0.1 [] 0 0"},
		{"lock what another has", func() (any, error) { return c.LockIP(ctx, "10.0.0.1") }, "lb2 has the address, and a lock takes it from no owner", ""},
		{"failover to here", func() (any, error) { a, err := c.FailoverIP(ctx, "10.0.0.1"); return a.Owner, err }, "lb1", ""},
		{"lock what this one has", func() (any, error) { a, err := c.LockIP(ctx, "10.0.0.1"); return a.Owner, err }, "lb1", ""},
		{"failover from here", func() (any, error) { a, err := c.FailoverIP(ctx, "10.0.0.1"); return a.Owner, err }, "lb2", ""},
		{"lock what nobody has", func() (any, error) {
			movable{service: service{w}}.own("vip-10.0.0.1", "")
			a, err := c.LockIP(ctx, "10.0.0.1")
			return a.Owner, err
		}, "lb1", ""},
		{"remove", func() (any, error) { return nil, c.RemoveIP(ctx, "vip-10.0.0.1") }, "<nil>", "remove vip-10.0.0.1"},
		{"remove again", func() (any, error) { return nil, c.RemoveIP(ctx, "vip-10.0.0.1") }, "there is no such address", ""},
		{"the pool", func() (any, error) { o, err := c.Pool().List(ctx); return o.Prefix, err }, "/berth/pool/", ""},
		{"add to the pool", func() (any, error) { return c.Pool().Add(ctx, []string{"192.0.2.1/24", "192.0.2.2"}) }, "[192.0.2.1/24: added]", "add [192.0.2.1/24 192.0.2.2] to the pool"},
		{"remove from the pool", func() (any, error) { return c.Pool().Remove(ctx, []string{"192.0.2.1/24", "web x"}) }, "[192.0.2.1/24: removed web x: removed]", "remove [192.0.2.1/24] from the pool; remove [web x] from the pool"},
		{"drain another member", func() (any, error) { return c.Pool().Drain(ctx, "a/b c", false, false) }, "a/b c: drained", "drain a/b c own=false undo=false"},
		{"drain this one", func() (any, error) { return c.Pool().Drain(ctx, "", true, true) }, "lb1: drained", "drain lb1 own=true undo=true"},
	}
	for _, tt := range steps {
		result, err := tt.do()
		if text := fmt.Sprint(result); err == nil && text != tt.want || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: want %s, got %s, %v", tt.name, tt.want, text, err)
		}
		if told := w.told(); told != tt.told {
			t.Errorf("%s: want that the service is told %q, got %q", tt.name, tt.told, told)
		}
	}
}

// The error has what the service says of an address that does not move.
func TestAnAddressThatDoesNotMoveIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m := movable{service{w}, true}
	c := w.client(t, m)
	w.ips["vip-10.0.0.1"] = ips.Address{ID: "vip-10.0.0.1", IP: "10.0.0.1/32", Owner: "lb2", Status: ips.Standby}
	if _, err := c.FailoverIP(t.Context(), "10.0.0.1"); err == nil || !strings.Contains(err.Error(), "lb2 has the address again") {
		t.Errorf("want the owner, got %v", err)
	}
	w.mu.Lock()
	w.ips["vip-10.0.0.1"] = ips.Address{ID: "vip-10.0.0.1", IP: "10.0.0.1/32", Status: ips.Failing, Reason: "TCP:127.0.0.1:80: refused"}
	w.mu.Unlock()
	if _, err := c.FailoverIP(t.Context(), "10.0.0.1"); err == nil || !strings.Contains(err.Error(), "no member has it yet") {
		t.Errorf("want that there is no owner, got %v", err)
	}
	if _, err := c.LockIP(t.Context(), "10.0.0.1"); err == nil || !strings.Contains(err.Error(), "no member has the address; on this one it is FAILING (TCP:127.0.0.1:80: refused)") {
		t.Errorf("want the reason, got %v", err)
	}
}

// A part of a removal that the server refuses leaves the rest done.
func TestTheRestOfARemovalFromThePoolIsDone(t *testing.T) {
	w := newWorld()
	c := w.client(t, service{w})
	changes, err := c.Pool().Remove(t.Context(), []string{"192.0.2.99", "192.0.2.1"})
	if e, ok := errors.AsType[*api.Error](err); len(changes) != 1 || !ok || e.Status != 404 || !strings.Contains(err.Error(), "not there") {
		t.Errorf("want one change and the error, got %v, %v", changes, err)
	}
	if _, err := c.Pool().Add(t.Context(), []string{"web"}); !pool.Mistaken(err) {
		t.Errorf("want a mistake that the server is not asked about, got %v", err)
	}
	if told := w.told(); told != "remove [192.0.2.1] from the pool" {
		t.Errorf("want one call, got %q", told)
	}
}

// Package e2e tests berth as a whole: the real binary beside the real keepalived,
// against the simulated provider. The tests check the packets of a client and the
// requests that reached the API. Package lab makes the machines.
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
	"berth/test/lab"
)

// berth is the path of the binary under test, and built is that under which the command of
// govip's documentation has built it.
var berth, built string

// seed determines the bad habits of the API. A failing test prints it.
var seed = flag.Uint64("seed", 1, "of the API's bad habits; 0 for a new one")

func TestMain(m *testing.M) {
	if os.Getenv(refuseEnv) != "" {
		fmt.Fprintln(os.Stderr, refuse())
		os.Exit(1)
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	// Most tests wait; with more labs at a time they would measure the machine.
	flag.Set("test.parallel", "2")
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	berth, built = filepath.Join(dir, "berth"), filepath.Join(dir, "govip")
	root, err := lab.Root()
	if err == nil {
		build := exec.Command("go", "build", "-o", built, "-ldflags", "-X main.Version=1.0.0")
		build.Dir = root
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err = errors.Join(err, os.Link(built, berth)); err != nil {
		fmt.Fprintf(os.Stderr, "build berth: %v\n", err)
		return 1
	}
	return m.Run()
}

// late is how long after a demotion, or the death of keepalived, a request that
// was on its way may still arrive.
const late = 100 * time.Millisecond

// waitLimit bounds each wait.
const waitLimit = 15 * time.Second

// field is a lab that belongs to a test.
type field struct {
	*lab.Lab
	t            *testing.T
	host1, host2 *lab.Host
}

// newField makes a lab that ends with the test. At the end no output of any process
// in the lab may hold the token; when the test has failed, all output is shown.
func newField(t *testing.T) *field {
	t.Helper()
	return newFieldWith(t, lab.Options{Binary: berth, Unfriendly: true, Seed: *seed})
}

// newFieldWith is newField with another lab.
func newFieldWith(t *testing.T, o lab.Options) *field {
	t.Helper()
	testnet.Require(t, lab.Programs...)
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &field{Lab: l, t: t, host1: l.Hosts[0], host2: l.Hosts[1]}
	t.Cleanup(func() {
		f.searchToken()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the API's habits again: go test ./test/e2e -seed %d", *seed)
			f.tell()
		}
	})
	return f
}

// searchToken fails the test if the account's token is in any output or in a file that
// berth leaves behind.
func (f *field) searchToken() {
	for _, log := range f.Logs() {
		for _, line := range log.Lines() {
			if strings.Contains(line.Text, lab.Token) {
				f.t.Errorf("want no token in any output, got in that of %s: %s", log.Name, line.Text)
			}
		}
	}
	for _, h := range f.Hosts {
		err := h.Do(func() error {
			for _, dir := range []string{"/run", "/tmp"} {
				if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if errors.Is(err, os.ErrNotExist) {
						return nil // replaced at this moment
					}
					if err != nil || !d.Type().IsRegular() {
						return err
					}
					text, err := os.ReadFile(path)
					if errors.Is(err, os.ErrNotExist) {
						return nil
					}
					if strings.Contains(string(text), lab.Token) {
						return fmt.Errorf("token in %s", path)
					}
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			f.t.Errorf("want no token in the files of %s, got %v", h.Name, err)
		}
	}
}

// tell logs all that happened, in order.
func (f *field) tell() {
	type entry struct {
		at   time.Time
		text string
	}
	var all []entry
	for _, log := range f.Logs() {
		for _, line := range log.Lines() {
			all = append(all, entry{line.Time, log.Name + ": " + line.Text})
		}
	}
	for _, b := range f.Bindings() {
		all = append(all, entry{b.Time, fmt.Sprintf("%s: %v bound: %t", b.Host.Name, b.Address, b.Bound)})
	}
	for _, r := range f.Sim.History() {
		all = append(all, entry{r.Time, fmt.Sprintf("API: %s %s %s from %s: %d %s, done %s",
			r.Method, r.Path, r.Body, r.Remote, r.Status, r.Fault, r.Done.Format("05.000"))})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	for _, e := range all {
		f.t.Log(e.at.Format("05.000"), e.text)
	}
}

// context bounds one wait.
func (f *field) context() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), waitLimit)
	f.t.Cleanup(cancel)
	return ctx
}

// must ends the test on an error of the lab itself.
func (f *field) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// until waits for cond, and ends the test if cond is still false at waitLimit.
func (f *field) until(what string, cond func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waitLimit)
	defer cancel()
	f.must(f.Wait(ctx, what, cond))
}

// client starts asking each address.
func (f *field) client(addresses ...netip.Addr) []*lab.Probe {
	f.t.Helper()
	var probes []*lab.Probe
	for _, ip := range addresses {
		p, err := f.Probe(ip)
		f.must(err)
		probes = append(probes, p)
	}
	return probes
}

// served waits until the client is served by h on all probes, with requests
// sent after since, and returns when that was so.
func (f *field) served(h *lab.Host, since time.Time, probes ...*lab.Probe) time.Time {
	f.t.Helper()
	var last time.Time
	for _, p := range probes {
		f.until(fmt.Sprintf("%s to serve %v", h.Name, p.To), func() bool {
			first, ok := p.ServedBy(h, since)
			if ok && first.After(last) {
				last = first
			}
			return ok
		})
	}
	return last
}

// bound waits until keepalived of h has put the address on the interface, after
// since, and returns when.
func (f *field) bound(h *lab.Host, ip netip.Addr, since time.Time) (at time.Time) {
	f.t.Helper()
	f.until(fmt.Sprintf("keepalived of %s to bind %v", h.Name, ip), func() bool {
		has, when := h.Has(ip)
		at = when
		return has && when.After(since)
	})
	return at
}

// unbound is bound's opposite.
func (f *field) unbound(h *lab.Host, ip netip.Addr, since time.Time) (at time.Time) {
	f.t.Helper()
	f.until(fmt.Sprintf("keepalived of %s to remove %v", h.Name, ip), func() bool {
		has, when := h.Has(ip)
		at = when
		return !has && when.After(since)
	})
	return at
}

// pass lets some time go by, as counted by the requests of a client.
func (f *field) pass(d time.Duration, p *lab.Probe) {
	f.t.Helper()
	from := len(p.Samples())
	f.until("time to pass", func() bool { return len(p.Samples()) >= from+int(d/lab.Interval) })
}

// silent fails the test if a request of h has reached the API later after the end of
// its time as MASTER than a request that was on its way may take. Requests from a
// later time as MASTER do not count.
func (f *field) silent(h *lab.Host, end time.Time, clock *lab.Probe) {
	f.t.Helper()
	again := time.Now()
	for _, b := range f.Bindings() {
		if b.Host == h && b.Bound && b.Time.After(end) {
			again = b.Time
			break
		}
	}
	for _, r := range f.Requests(h, end.Add(late)) {
		if r.Time.Before(again) && r.Time.Sub(end)-clock.Stalled(end, r.Time) > late {
			f.t.Errorf("want no request of %s to arrive later than %v after %s, got %s %s %v after it",
				h.Name, late, end.Format("05.000"), r.Method, r.Path, r.Time.Sub(end))
		}
	}
}

// The instances of most tests. Addresses of the excluded list are moved too.
func instance4(priority int) lab.Instance {
	return lab.Instance{Name: "VI_4", ID: 51, Priority: priority,
		Addresses: []netip.Addr{lab.IPv4a}, Excluded: []netip.Addr{lab.IPv4b}}
}

func instance6(priority int) lab.Instance {
	return lab.Instance{Name: "VI_6", ID: 52, Priority: priority,
		Addresses: []netip.Addr{lab.IPv6n}, Excluded: []netip.Addr{lab.IPv6c}}
}

// equals makes an instance whose owner stays owner when the other returns.
func equals(i lab.Instance) lab.Instance {
	i.Priority, i.Lines = 100, "    nopreempt\n"
	return i
}

// configure writes both configurations of a host and starts berth, where it is
// a service.
func (f *field) configure(h *lab.Host, mode lab.Mode, berthConf string, instances ...lab.Instance) {
	f.t.Helper()
	f.must(h.ConfigureBerth(berthConf))
	f.must(h.ConfigureKeepalived(mode, instances...))
	if mode == lab.FIFO {
		_, err := h.StartService(f.context(), "--verbose")
		f.must(err)
	}
}

func (f *field) keepalived(h *lab.Host) *testnet.Process {
	f.t.Helper()
	p, err := h.StartKeepalived()
	f.must(err)
	return p
}

// standby starts keepalived on a host that is to wait for the owner's end, and
// returns when it waits: before that it would not notice.
func (f *field) standby(h *lab.Host) *testnet.Process {
	f.t.Helper()
	p := f.keepalived(h)
	f.until("keepalived of "+h.Name+" to be BACKUP", func() bool {
		_, ok := p.Log.Find(time.Time{}, contains("Entering BACKUP STATE"))
		return ok
	})
	return p
}

// asksAgainAndAgain gives h's floating IP to the other host, lets every claim fail,
// and waits until h has made n calls. The calls are close to each other, so that one
// too many after the next event would be seen. The claims fail until heal.
func (f *field) asksAgainAndAgain(h, other *lab.Host, n int) {
	f.t.Helper()
	begin := time.Now()
	f.Sim.SetFaults(cloudsim.Faults{{Method: http.MethodPatch, Kind: cloudsim.Status, Status: http.StatusInternalServerError}})
	f.must(f.Assign(lab.IPv4a, other))
	f.until(h.Name+" to call the API", func() bool { return len(f.Requests(h, begin)) >= n })
}

func (f *field) heal() { f.Sim.SetFaults(nil) }

func contains(part string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, part) }
}

func bothModes(t *testing.T, body func(t *testing.T, mode lab.Mode)) {
	for _, mode := range []lab.Mode{lab.FIFO, lab.Notify} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			body(t, mode)
		})
	}
}

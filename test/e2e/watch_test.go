package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
	"berth/test/lab"
)

// The heartbeats of the hosts: the defaults.
const (
	watchInterval = time.Second
	watchDead     = 3 * watchInterval
	watchPort     = 12345
	watchConf     = "/etc/berth-watch.yml"
	watchKey      = "/etc/berth-heartbeat-key"
)

// watchField is three hosts whose heartbeats decide, and an account at Exoscale whose API
// takes eight seconds for each call.
type watchField struct {
	*field
	hosts []*watchHost
}

// watchHost is a host, with one berth at a time.
type watchHost struct {
	*lab.Host
	field *watchField
	berth *testnet.Process
	wire  *beats // the heartbeats that arrive here
}

func newWatchField(t *testing.T, signed bool) *watchField {
	t.Helper()
	testnet.Require(t)
	l, err := lab.New(lab.Options{Binary: berth, Hosts: 3, Exoscale: true, Seed: *seed})
	if err != nil {
		t.Fatal(err)
	}
	f := &watchField{field: &field{Lab: l, t: t, host1: l.Hosts[0], host2: l.Hosts[1]}}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			f.tell()
		}
	})
	f.must(l.Sim.Attach(lab.Network(lab.ElasticIP), l.Hosts[0].UUID)) // by a former run
	var peers []string
	for _, h := range l.Hosts {
		peers = append(peers, h.Addr4.String())
	}
	key := ""
	if signed {
		key = ", key-file: " + watchKey
	}
	for i, h := range l.Hosts {
		w := &watchHost{Host: h, field: f}
		f.hosts = append(f.hosts, w)
		f.must(h.WriteFile(watchKey, "a secret of the lab, longer than 16\n", 0o600))
		f.must(h.WriteFile(watchConf, fmt.Sprintf(`managed-addresses: [%v]
heartbeat: {priority: %d, peers: [%s]%s}
provider: exoscale
exoscale: {zone: %s, key: %s, secret: %s, instance-id: %s}
refresh-timeout: 30s
`, lab.ElasticIP, 10*(i+1), strings.Join(peers, ", "), key, lab.Zone, lab.ExoscaleKey, lab.Token, h.UUID), 0o600))
		w.wire = listen(f, w.Host)
	}
	return f
}

// start starts berth, and waits until its heartbeats are heard.
func (h *watchHost) start() {
	h.field.t.Helper()
	since := time.Now()
	var err error
	h.berth, err = h.Start("berth", lab.BerthPath, "--json-log", "watch", watchConf)
	h.field.must(err)
	other := h.field.hosts[2]
	if other == h {
		other = h.field.hosts[0]
	}
	h.field.until(h.Name+" to be heard", func() bool { return other.wire.since(h.Addr4, since) })
}

// kill ends berth as the kernel does for want of memory.
func (h *watchHost) kill() time.Time {
	h.field.t.Helper()
	at := time.Now()
	h.field.must(h.berth.Signal(unix.SIGKILL))
	<-h.berth.Done()
	return at
}

// prioritize sends a signal some times. Pending signals of one kind are one, so each is
// waited for.
func (h *watchHost) prioritize(sig unix.Signal, from, to byte) {
	h.field.t.Helper()
	step := 1
	if to < from {
		step = -1
	}
	for p := int(from); p != int(to); {
		p += step
		h.field.must(h.berth.Signal(sig))
		h.field.until(fmt.Sprintf("%s to have priority %d", h.Name, p), func() bool { return h.field.other(h).wire.priority(h.Addr4) == byte(p) })
	}
}

// slow makes each call of the API take eight seconds, when all hosts have looked up what a
// claim needs.
func (f *watchField) slow() {
	f.t.Helper()
	ctx := f.context()
	for quiet := false; !quiet; {
		select {
		case <-ctx.Done():
			f.t.Fatal("the API is never quiet")
		case <-time.After(50 * time.Millisecond):
		}
		quiet = true
		for _, h := range f.hosts {
			all := f.Requests(h.Host, time.Time{})
			quiet = quiet && len(all) > 2 && !slices.ContainsFunc(all, func(r cloudsim.Request) bool {
				return r.Done.IsZero() || time.Since(r.Done) < 300*time.Millisecond
			})
		}
	}
	f.Sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 8 * time.Second}})
}

// other returns a host that hears h.
func (f *watchField) other(h *watchHost) *watchHost {
	if h == f.hosts[2] {
		return f.hosts[0]
	}
	return f.hosts[2]
}

// state waits until berth has changed into a state after a moment, and returns when.
func (h *watchHost) state(state string, since time.Time) time.Time {
	h.field.t.Helper()
	var at time.Time
	h.field.until(fmt.Sprintf("%s to be %s", h.Name, state), func() bool {
		line, ok := h.berth.Log.Find(since, func(text string) bool {
			return strings.Contains(text, "instance-state-changed") && strings.Contains(text, `"state":"`+state+`"`)
		})
		at = line.Time
		return ok
	})
	return at
}

// unchanged fails the test if a host that runs has changed its state since a moment, or has
// asked the API to change something.
func (f *watchField) unchanged(what string, since time.Time) {
	f.t.Helper()
	for _, h := range f.hosts {
		if line, ok := h.berth.Log.Find(since, func(text string) bool {
			return strings.Contains(text, "instance-state-changed") && strings.Contains(text, `"former":"MASTER"`)
		}); ok {
			f.t.Errorf("%s: %s said %s", what, h.Name, line.Text)
		}
	}
	for _, r := range f.Sim.History() {
		if r.Write && r.Time.After(since) {
			f.t.Errorf("%s: %s %s from %s", what, r.Method, r.Path, r.Remote)
		}
	}
}

// claims waits until a host has asked to have the address attached to it after a moment,
// and returns when the request arrived.
func (f *watchField) claims(h *watchHost, since time.Time) (at time.Time) {
	f.t.Helper()
	ctx := f.context()
	for {
		for _, r := range f.Requests(h.Host, since) {
			if r.Write && strings.Contains(r.Path, ":attach") {
				return r.Time
			}
		}
		select {
		case <-ctx.Done():
			f.t.Fatalf("%s never claims the address", h.Name)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestWatchUnsigned(t *testing.T) {
	t.Parallel()
	testWatch(t, false)
}

func TestWatchSigned(t *testing.T) {
	t.Parallel()
	testWatch(t, true)
}

// testWatch plays a day of three hosts under a flood of garbage: the owner is always the
// one that the rules name, although each call of the API takes eight seconds.
func testWatch(t *testing.T, signed bool) {
	f := newWatchField(t, signed)
	h1, h2, h3 := f.hosts[0], f.hosts[1], f.hosts[2]
	clock := f.client(lab.ElasticIP)[0]
	begun := time.Now()
	for _, h := range f.hosts {
		h.start()
	}
	stop := f.flood(h1.Addr4)
	defer stop()
	flooded := time.Now()
	h1.state("MASTER", begun)
	h2.state("BACKUP", begun)
	h3.state("BACKUP", begun)
	f.unchanged("the first start finds the address here", begun)
	f.slow()

	// Killed and restarted within the dead time: nothing moves, and all peers stay.
	killed := h1.kill()
	h1.start()
	restarted := time.Now()
	h1.state("MASTER", killed)
	f.unchanged("a restart", killed)

	// Another one is preferred, and prefers not to be.
	preferred := time.Now()
	h2.prioritize(unix.SIGUSR1, 20, 9)
	h1.state("BACKUP", preferred)
	h2.state("MASTER", preferred)
	f.claims(h2, preferred)
	recorded := h1.wire.from(h2.Addr4, preferred, time.Now())
	back := time.Now()
	h2.prioritize(unix.SIGUSR2, 9, 20)
	h2.state("BACKUP", back)
	h1.state("MASTER", back)
	f.claims(h1, back)

	// Datagrams that are forged, oversized, from elsewhere or replayed have no effect.
	f.malice(signed, recorded[len(recorded)-1].data)

	// A cut cable: both sides have an owner. After the heal there is one.
	parted := time.Now()
	h3.wire.gaps(t, h1, restarted, parted, clock)
	f.must(h1.Cut())
	h2.state("MASTER", parted)
	healed := time.Now()
	f.must(h1.Mend())
	h2.state("BACKUP", healed)

	killed = h1.kill()
	mastered := h2.state("MASTER", killed)
	claimed := f.claims(h2, killed)
	// The last heartbeat was sent before the kill.
	const busy = 500 * time.Millisecond
	if took := mastered.Sub(killed) - clock.Stalled(killed, mastered); took > watchDead+100*time.Millisecond+busy {
		t.Errorf("%s was MASTER %v after the owner was killed, want within the dead time", h2.Name, took)
	}
	stop()
	h3.wire.gaps(t, h2, flooded, time.Now(), clock)
	t.Logf("claimed %v after the owner was killed", claimed.Sub(killed))
	if took := claimed.Sub(killed) - clock.Stalled(killed, claimed); took > watchDead+100*time.Millisecond+busy {
		t.Errorf("%s claimed the address %v after the owner was killed, want within the dead time", h2.Name, took)
	}
	f.Sim.SetFaults(nil)
	f.until("the address to be attached to "+h2.Name+" alone", func() bool {
		return slices.Equal(f.Attached(lab.ElasticIP), []*lab.Host{h2.Host})
	})
	for _, h := range f.hosts {
		if n := len(h.berth.Log.Lines()); n > 100 {
			t.Errorf("%s has written %d lines", h.Name, n)
		}
	}
}

// malice sends the owner what must not make it BACKUP.
func (f *watchField) malice(signed bool, recorded []byte) {
	f.t.Helper()
	h1, h2 := f.hosts[0], f.hosts[1]
	since := time.Now()
	best := slices.Clone(recorded)
	best[2], best[3] = 0, 0
	stranger := netip.MustParseAddr("10.77.0.99")
	for range 5 {
		f.forge(stranger, h1.Addr4, best)
		f.forge(stranger, h1.Addr4, recorded)
		f.forge(h2.Addr4, h1.Addr4, append(slices.Clone(best), make([]byte, 76)...))
		if signed {
			f.forge(h2.Addr4, h1.Addr4, recorded)
			f.forge(h2.Addr4, h1.Addr4, best)
			f.forge(h2.Addr4, h1.Addr4, best[:24])
		}
	}
	// Heartbeats that were sent after them have arrived.
	f.until("the next heartbeats of "+h2.Name, func() bool { return len(h1.wire.from(h2.Addr4, since.Add(watchInterval/2), time.Now())) > 0 })
	f.unchanged("malice", since)
	if line, ok := h1.berth.Log.Find(since, func(text string) bool { return strings.Contains(text, "instance-state-changed") }); ok {
		f.t.Errorf("%s said %s", h1.Name, line.Text)
	}
}

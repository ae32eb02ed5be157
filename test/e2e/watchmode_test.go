package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// heartbeats are those of the tests: a peer is dead after 1.5 s of silence, so that berth can
// begin anew within it on a busy machine. A longer interval would leave it to the owner's
// own check to detach a host that has to give way.
const heartbeats = "interval: 300ms, dead-ratio: 5"

// watches starts berth watch at Exoscale on a host, and returns its process.
func (f *field) watches(h *lab.Host, priority int, keys, extra string) *testnet.Process {
	f.t.Helper()
	f.must(h.WriteFile(lab.BerthConf, fmt.Sprintf("provider: exoscale\nexoscale: {zone: %s, key: %s, secret: %s}\nmanaged-addresses: [%v]\n"+
		"heartbeat: {security-group: %s, priority: %d, %s%s}\nback-off: {initial-interval: 50ms, max-interval: 500ms}\n%s",
		lab.Zone, lab.ExoscaleKey, lab.Token, lab.ElasticIP, lab.Group, priority, heartbeats, keys, extra), 0o600))
	f.must(h.Do(func() error { return os.MkdirAll("/run/berth", 0o755) }))
	p, err := h.Start("berth", lab.BerthPath, "--verbose", "watch", lab.BerthConf)
	f.must(err)
	return p
}

// becomes waits until a host has a state for the elastic IP.
func (f *field) becomes(h *lab.Host, state vrrp.State) {
	f.t.Helper()
	f.until(h.Name+" to be "+state.String(), func() bool { return f.status(h, lab.ElasticIP.String()).State == state })
}

// attached waits until these hosts, and no others, have the elastic IP.
func (f *field) attached(hosts ...*lab.Host) {
	f.t.Helper()
	want := []string{}
	for _, h := range hosts {
		want = append(want, h.UUID)
	}
	f.until(fmt.Sprintf("the elastic IP to be at %v", want), func() bool {
		got := f.Sim.Holders(lab.ElasticIP)
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// tells waits until a process has logged an event with a code, after since.
func (f *field) tells(p *testnet.Process, since time.Time, code string) {
	f.t.Helper()
	f.until("a line with the code "+code, func() bool {
		_, ok := p.Log.Find(since, contains(`"`+code+`"`))
		return ok
	})
}

func (f *field) writes(h *lab.Host, since time.Time) (all []string) {
	for _, r := range f.Requests(h, since) {
		if r.Write {
			all = append(all, r.Method+" "+r.Path)
		}
	}
	return all
}

// The story of a day: a reload moves nothing, a stop hands over at once, the better host
// takes its address back without a gap, a host that is attached beside the owner gives
// way, and the last one detaches itself.
func TestHeartbeatsHandTheElasticIPOver(t *testing.T) {
	t.Parallel()
	f := newFieldWith(t, lab.Options{Binary: berth, Exoscale: true, Seed: *seed})
	// With each request it is noted when no server has the elastic IP.
	var mu sync.Mutex
	var without []string
	begun := false
	f.API.Before(func(r *http.Request) {
		none := len(f.Sim.Holders(lab.ElasticIP)) == 0
		mu.Lock()
		defer mu.Unlock()
		if begun && none {
			without = append(without, r.Method+" "+r.URL.Path)
		}
	})
	const rest = "refresh-interval: 1m\nrefresh-timeout: 5s\n"
	one := f.watches(f.host1, 10, ", release-on-stop: true", rest)
	two := f.watches(f.host2, 20, ", release-on-stop: true", rest)
	f.becomes(f.host1, vrrp.Master)
	f.becomes(f.host2, vrrp.Backup)
	f.attached(f.host1)
	mu.Lock()
	begun = true
	mu.Unlock()
	f.until("host2 to tell why it is BACKUP", func() bool {
		in := f.status(f.host2, lab.ElasticIP.String())
		return strings.Contains(in.Reason, "host1") && len(in.Peers) == 1 && in.Peers[0].Alive && in.Peers[0].Priority == 10
	})

	// SIGHUP: the peer does not notice, and nothing is written.
	reload := time.Now()
	f.must(one.Signal(unix.SIGHUP))
	f.tells(one, reload, "watch-passed-on")
	f.tells(one, reload, "watch-joined")
	f.until("host1 to be MASTER again", func() bool {
		in := f.status(f.host1, lab.ElasticIP.String())
		return in.State == vrrp.Master && in.Since.After(reload) && len(in.Addresses) == 1 && in.Addresses[0].Owner == "here"
	})
	if in := f.status(f.host2, lab.ElasticIP.String()); in.State != vrrp.Backup || in.Since.After(reload) {
		t.Errorf("want host2 BACKUP all the time, got %v since %v", in.State, in.Since)
	}
	if w := f.writes(f.host1, reload); len(w) != 0 {
		t.Errorf("want no write of an owner that has read its configuration again, got %v", w)
	}
	// A broken file changes nothing.
	f.must(f.host1.WriteFile(lab.BerthConf, "heartbeat: {peers: 7}\n", 0o600))
	broken := time.Now()
	f.must(one.Signal(unix.SIGHUP))
	f.tells(one, broken, "configuration-refused")

	// SIGTERM: the peer does not wait until the owner is dead.
	stop := time.Now()
	f.must(one.Stop(f.context()))
	f.becomes(f.host2, vrrp.Master)
	if code := one.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if in := f.status(f.host1, lab.ElasticIP.String()); in.State != vrrp.Stop || in.Reason != "berth watch has ended, and this host has resigned" {
		t.Errorf("after its end the status of host1 is %v: %s", in.State, in.Reason)
	}
	if took := f.status(f.host2, lab.ElasticIP.String()).Since.Sub(one.Exited()); took > time.Second {
		t.Logf("host2 took over %v after the end of host1, which took %v", took, one.Exited().Sub(stop))
		t.Error("want it before the silence tells that host1 is dead")
	}
	f.attached(f.host2)

	// The better host returns.
	back := time.Now()
	one = f.watches(f.host1, 10, ", release-on-stop: true", rest)
	f.becomes(f.host2, vrrp.Backup)
	f.becomes(f.host1, vrrp.Master)
	f.attached(f.host1)
	// host2 is attached beside the owner, as by a claim that was on the wire, or beside an
	// exoip, which detaches only the dead.
	f.must(f.Sim.Attach(lab.Network(lab.ElasticIP), f.host1.UUID, f.host2.UUID))
	f.tells(two, back, "floating-ip-yielded")
	f.attached(f.host1)

	// The last one detaches itself, and the one before leaves that to it.
	f.must(two.Stop(f.context()))
	f.tells(one, back, "heartbeat-peer-dead")
	f.attached(f.host1)
	mu.Lock()
	begun = false
	if len(without) > 0 {
		t.Errorf("no server had the elastic IP at %v", without)
	}
	mu.Unlock()
	f.must(one.Stop(f.context()))
	f.attached()
}

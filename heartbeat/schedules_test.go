package heartbeat_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/heartbeat"
	"berth/internal/fence"
	"berth/internal/journal"
)

var oneSeed = flag.Uint64("seed", 0, "the one schedule of the property tests to run, with its story")

// group is one schedule: hosts, what becomes of them, and what must be true in the end.
type group struct {
	*dice
	world    *world
	cloud    *cloud
	etcd     *etcd
	acting   *acting
	interval time.Duration
	hosts    []host
	story    []string
	begun    time.Time
}

func (g *group) tell(format string, args ...any) {
	g.story = append(g.story, fmt.Sprintf("%8v ", time.Since(g.begun).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// kind is which hosts a schedule has.
type kind struct {
	name    string
	berths  int
	exoips  int
	witness bool
	mild    bool // nothing but loss, delay and doubling that a living peer survives
}

var kinds = []kind{
	{name: "two berths", berths: 2},
	{name: "three berths", berths: 3},
	{name: "a berth and exoip", berths: 1, exoips: 1},
	{name: "two berths and exoip", berths: 2, exoips: 1},
	{name: "two berths with etcd as the witness", berths: 2, witness: true},
	{name: "three berths with etcd as the witness", berths: 3, witness: true},
	{name: "berths in mild weather", berths: 3, mild: true},
}

// mildWeather loses no two datagrams of a way in a row, and none is as late as the next:
// the longest silence is 2.2 intervals, of the jitter, and half an interval of delay.
func (g *group) mildWeather() weather {
	return weather{loss: 0.3, double: 0.3, delay: g.interval / 2, streak: 1}
}

func newGroup(seed uint64, k kind) *group {
	d := newDice(seed)
	g := &group{dice: d, world: newWorld(d), interval: time.Second, begun: time.Now()}
	if k.exoips > 0 {
		g.interval = 10 * time.Second // so that exoip's five minutes are not many intervals
	}
	g.cloud = &cloud{slow: g.interval / 2, attached: map[heartbeat.ID]bool{}}
	if !k.mild && k.exoips == 0 && g.chance(0.2) {
		g.cloud.slow = 8 * time.Second
	}
	if k.witness {
		g.acting = newActing()
		g.etcd = &etcd{delay: 200 * time.Millisecond, cut: map[netip.Addr]bool{}}
	}
	g.world.sky(g.mildWeather())
	var addresses []netip.Addr
	for i := range k.berths + k.exoips {
		addresses = append(addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
	}
	order := d.rng.Perm(len(addresses)) // exoip has any place among the priorities
	for i, a := range addresses {
		p := place{world: g.world, cloud: account{g.cloud, d.of("cloud " + a.String())}, dice: d.of("host " + a.String()), address: a, peers: addresses, interval: g.interval, priority: 10}
		binary.BigEndian.PutUint64(p.id[:], d.rng.Uint64())
		if k.exoips > 0 || g.chance(0.5) { // exoip breaks no tie
			p.priority += order[i]
		}
		if i >= k.berths {
			g.hosts = append(g.hosts, &exoip{place: p})
			continue
		}
		b := &berth{place: p, refresh: 6 * g.interval}
		b.able.Set(true, "")
		if k.witness {
			b.acting = g.acting
			b.lease = &fence.Lease{Elections: &member{etcd: g.etcd, addr: a, dice: d.of("etcd " + a.String()), act: g.acting}, Status: silent{}, Journal: journal.New(nil)}
		}
		g.hosts = append(g.hosts, b)
	}
	return g
}

// trouble lets one thing happen.
func (g *group) trouble(k kind) {
	h, other := g.hosts[g.pick(len(g.hosts))], g.hosts[g.pick(len(g.hosts))]
	b, _ := h.(*berth)
	switch g.pick(9) {
	case 0:
		g.tell("kill %v", h.addr())
		h.kill()
	case 1:
		g.tell("stop %v", h.addr())
		h.stop()
	case 2, 3:
		g.tell("kill and start %v", h.addr())
		h.kill()
		h.start()
	case 4:
		g.tell("cut %v to %v", h.addr(), other.addr())
		g.world.sever(h.addr(), other.addr(), true)
	case 5:
		g.tell("part %v and %v", h.addr(), other.addr())
		g.world.sever(h.addr(), other.addr(), true)
		g.world.sever(other.addr(), h.addr(), true)
	case 6:
		w := weather{loss: g.float(), double: g.float(), delay: g.below(2 * g.interval)}
		g.tell("weather %+v", w)
		g.world.sky(w)
	case 7:
		if b != nil && b.end != nil && k.exoips == 0 {
			b.priority = b.node.Prioritize(2*g.pick(2) - 1)
			g.tell("%v has priority %d", h.addr(), b.priority)
		}
	case 8:
		switch {
		case g.etcd != nil && g.chance(0.5):
			g.etcd.mu.Lock()
			g.etcd.cut[h.addr()] = !g.etcd.cut[h.addr()]
			g.tell("%v is cut off from etcd: %t", h.addr(), g.etcd.cut[h.addr()])
			g.etcd.mu.Unlock()
		case b != nil:
			able := b.isAble()
			b.able.Set(!able, "HTTP 500")
			g.tell("%v is able: %t", h.addr(), !able)
		}
	}
}

// calm ends all trouble: every host is heard that runs, and every host runs and is able,
// but for one at most.
func (g *group) calm(k kind) {
	g.tell("calm")
	g.world.sky(g.mildWeather())
	for _, h := range g.hosts {
		switch h := h.(type) {
		case *berth:
			h.able.Set(true, "")
			if h.end == nil {
				h.start()
			}
		case *exoip:
			if h.end == nil {
				h.start()
			}
		}
	}
	// exoip leaves the address with a peer that was dead before its own start.
	if b := g.hosts[g.pick(k.berths)].(*berth); k.exoips == 0 {
		switch g.pick(4) {
		case 0:
			g.tell("%v stays dead", b.address)
			b.kill()
		case 1:
			g.tell("%v is not able any more", b.address)
			b.able.Set(false, "HTTP 500")
		}
	}
	if g.etcd != nil {
		g.etcd.mu.Lock()
		clear(g.etcd.cut)
		g.etcd.mu.Unlock()
	}
}

// owner returns the host that must be the owner.
func (g *group) owner() host {
	able := slices.DeleteFunc(slices.Clone(g.hosts), func(h host) bool {
		b, ok := h.(*berth)
		return ok && (b.end == nil || !b.isAble())
	})
	return slices.MinFunc(able, func(a, b host) int {
		if d := a.rank() - b.rank(); d != 0 {
			return d
		}
		return a.addr().Compare(b.addr())
	})
}

// wrong returns what is not as it must be when calm has lasted, "" for nothing.
func (g *group) wrong() string {
	want := g.owner()
	for _, h := range g.hosts {
		if b, ok := h.(*berth); ok && b.end == nil {
			continue // dead
		}
		if is, known := h.master(); !known || is != (h == want) {
			return fmt.Sprintf("%v is MASTER: %t, knows its state: %t; the owner must be %v", h.addr(), is, known, want.addr())
		}
	}
	if holders := g.cloud.holders(); !slices.Equal(holders, []heartbeat.ID{want.server()}) {
		return fmt.Sprintf("the address is attached to %v, want %v alone, which is the owner", holders, want.server())
	}
	return ""
}

// play runs a schedule, and returns what is wrong at its end, "" for nothing.
func (g *group) play(k kind) (wrong string) {
	defer func() {
		for _, h := range g.hosts {
			h.kill()
		}
	}()
	for _, h := range g.hosts {
		h.start()
	}
	if k.mild {
		return g.mildly()
	}
	for range 4 + g.pick(8) {
		time.Sleep(g.below(2 * g.interval))
		g.trouble(k)
	}
	g.calm(k)
	// The dead time and the hold-off, then claims, settle checks and a refresh.
	time.Sleep(4*g.interval + 100*time.Millisecond + 7*g.interval + 4*g.cloud.slow)
	if k.exoips > 0 {
		time.Sleep(5*time.Minute + g.interval) // exoip looks that seldom
	}
	if k.witness {
		time.Sleep(leaseTTL + 2*leaseRenew)
	}
	if wrong := g.wrong(); wrong != "" {
		return wrong
	}
	time.Sleep(g.interval)
	if g.acting != nil && len(g.acting.both) > 0 {
		return "two owners: " + strings.Join(g.acting.both, "; ")
	}
	return g.wrong()
}

// mildly plays a schedule in which the owner never changes.
func (g *group) mildly() string {
	time.Sleep(40 * g.interval)
	if wrong := g.wrong(); wrong != "" {
		return wrong
	}
	for _, h := range g.hosts {
		b := h.(*berth)
		b.world.mu.Lock()
		changes := b.changes
		b.world.mu.Unlock()
		if changes != 1 {
			return fmt.Sprintf("%v has changed its state %d times, want once", b.addr(), changes)
		}
	}
	return ""
}

// TestEverySchedule plays schedules of datagrams that are lost, delayed, doubled and
// reordered, of hosts that end and begin, and of ways that are cut and heal: afterwards
// one host is the owner, and has the only attachment; with etcd as the witness two never
// act at once. A failure is repeated by the flag -seed.
func TestEverySchedule(t *testing.T) {
	if *oneSeed != 0 {
		one(t, *oneSeed)
		return
	}
	former := debug.SetGCPercent(800) // most of what a schedule makes dies with it
	t.Cleanup(func() { debug.SetGCPercent(former) })
	base := rand.Uint64()>>20 + 1
	n := uint64(schedules)
	if os.Getenv("BERTH_SOAK") != "" {
		n *= 20
	}
	var next, failed atomic.Uint64
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1); i <= n && failed.Load() == 0; i = next.Add(1) {
				if !one(t, base+i) {
					failed.Add(1)
				}
			}
		})
	}
}

// one plays the schedule of a seed, and reports whether it ended well.
func one(t *testing.T, seed uint64) (well bool) {
	k := kinds[seed%uint64(len(kinds))]
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(seed, k)
		wrong := g.play(k)
		well = wrong == ""
		if !well {
			t.Errorf("seed %d, %s: %s\n%s\nrepeat it by: go test ./heartbeat -run EverySchedule -seed %d", seed, k.name, wrong, strings.Join(g.story, "\n"), seed)
		}
		if well && *oneSeed != 0 {
			t.Log(strings.Join(g.story, "\n"))
		}
	})
	return well
}

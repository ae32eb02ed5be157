package heartbeat_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"berth/heartbeat"
	"berth/vrrp"
)

var errOver = errors.New("test is over")

// limit is how long a test waits for what must come at some time.
const limit = 30 * time.Second

// running is a node over the real UDP of the kernel.
type running struct {
	*heartbeat.Node
	events chan vrrp.Event
	end    func()
}

// start runs a node until the end of the test, or until end is called.
func start(t *testing.T, o heartbeat.Options, peers ...string) *running {
	t.Helper()
	if o.Interval == 0 {
		o.Interval = 50 * time.Millisecond
	}
	o.DeadRatio = 3
	r := &running{Node: heartbeat.New(o), events: make(chan vrrp.Event, 1000)}
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	r.SetPeers(peersOf(peers...))
	ctx, cancel := context.WithCancelCause(context.Background()) // ended by a cleanup, after that of t
	var running sync.WaitGroup
	running.Go(func() {
		err := r.Run(ctx, func(burst []vrrp.Event) {
			for _, e := range burst {
				r.events <- e
			}
		})
		if !errors.Is(err, errOver) {
			t.Errorf("Run returned %v", err)
		}
	})
	r.end = sync.OnceFunc(func() {
		cancel(errOver)
		running.Wait()
	})
	t.Cleanup(func() {
		r.end()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func peersOf(list ...string) []heartbeat.Peer {
	var peers []heartbeat.Peer
	for _, p := range list {
		peers = append(peers, heartbeat.Peer{Addr: netip.MustParseAddrPort(p)})
	}
	return peers
}

// state waits for an event with the state.
func (r *running) state(t *testing.T, want vrrp.State) vrrp.Event {
	t.Helper()
	for end := time.After(limit); ; {
		select {
		case e := <-r.events:
			if e.Kind == vrrp.StateChange && e.State == want {
				return e
			}
		case <-end:
			t.Fatalf("never %v", want)
		}
	}
}

var address = netip.MustParseAddr("192.0.2.10")

func TestTheLowerPriorityIsMasterOverUDP(t *testing.T) {
	a := start(t, heartbeat.Options{Listen: "127.9.0.1:12345", Priority: 10, Addresses: []netip.Addr{address}}, "127.9.0.1:12345", "127.9.0.2:12345")
	b := start(t, heartbeat.Options{Listen: "127.9.0.2:12345", Priority: 20, Addresses: []netip.Addr{address}}, "127.9.0.1:12345", "127.9.0.2:12345")
	a.state(t, vrrp.Master)
	e := b.state(t, vrrp.Backup)
	if e.Instance != "192.0.2.10" || e.Priority != 20 || e.Reason == "" {
		t.Errorf("got %+v", e)
	}
	a.end()
	a.Resign(t.Context())
	b.state(t, vrrp.Master)
}

func TestAnAddressThatCannotBeListenedAtIsNamed(t *testing.T) {
	start(t, heartbeat.Options{Listen: "127.9.0.3:12345", Addresses: []netip.Addr{address}})
	second := heartbeat.New(heartbeat.Options{Listen: "127.9.0.3:12345"})
	if err := second.Open(); err == nil || err.Error() != "listen for heartbeats at UDP 127.9.0.3:12345: bind: address already in use" {
		t.Errorf("got %v", err)
	}
}

// An address that the host does not have yet can be listened at, and a port that nobody
// listens at answers with ICMP errors, which end nothing.
func TestWhatIsNotThereYetEndsNothing(t *testing.T) {
	early := heartbeat.New(heartbeat.Options{Listen: "192.0.2.77:12345"})
	if err := early.Open(); err != nil {
		t.Error(err)
	} else if err := early.Close(); err != nil {
		t.Error(err)
	}
	a := start(t, heartbeat.Options{Listen: "127.9.0.4:12345", Priority: 10, Addresses: []netip.Addr{address}}, "127.9.0.5:12345", "203.0.113.1:12345", "[2001:db8::1]:12345")
	a.state(t, vrrp.Master)
	b := start(t, heartbeat.Options{Listen: "127.9.0.5:12345", Priority: 5, Addresses: []netip.Addr{address}}, "127.9.0.4:12345")
	b.state(t, vrrp.Master)
	a.state(t, vrrp.Backup)
}

// The socket of all addresses is one of IPv6, which carries IPv4 too. The routes would have
// it send from 127.0.0.1, which is not the address that its peer knows; that peer sends
// to 127.9.0.10, from which it then answers.
func TestASocketOfAllAddressesAnswersFromTheAddressThatItsPeerKnows(t *testing.T) {
	key := []byte("sixteen bytes, and more")
	a := start(t, heartbeat.Options{Listen: ":12346", Priority: 20, Addresses: []netip.Addr{address}, Key: key}, "127.9.0.6:12345")
	start(t, heartbeat.Options{Listen: "127.9.0.6:12345", Priority: 10, Addresses: []netip.Addr{address}, Key: key}, "127.9.0.10:12346")
	a.state(t, vrrp.Backup)
}

// Ten thousand datagrams per second, from a peer's address and from others, delay no
// heartbeat and grow nothing.
func TestAFloodDelaysNothing(t *testing.T) {
	interval := 250 * time.Millisecond
	a := start(t, heartbeat.Options{Listen: "127.9.0.7:12345", Priority: 10, Addresses: []netip.Addr{address}, Interval: interval}, "127.9.0.8:12345")
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 9, 0, 8), Port: 12345})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	a.state(t, vrrp.Master)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var flood sync.WaitGroup
	defer flood.Wait()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	for _, from := range []byte{8, 9} {
		flood.Go(func() {
			conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 9, 0, from)}, &net.UDPAddr{IP: net.IPv4(127, 9, 0, 7), Port: 12345})
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			b := make([]byte, 24) // of the right length
			for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				for range 50 {
					_, _ = conn.Write(b)
				}
			}
		})
	}
	last, longest, n := time.Now(), time.Duration(0), 0
	for ctx.Err() == nil {
		_ = peer.SetReadDeadline(time.Now().Add(limit))
		if _, err := peer.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if n++; n > 1 {
			longest = max(longest, time.Since(last))
		}
		last = time.Now()
	}
	t.Logf("longest gap %v in %d heartbeats", longest, n)
	// The machine may be busy with other tests; test/e2e holds 1.2 intervals.
	if longest > 4*interval {
		t.Errorf("a gap of %v between heartbeats every %v", longest, interval)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before.HeapAlloc, after.HeapAlloc)
	}
	a.CatchUp(t.Context())
	if len(a.events) != 0 {
		t.Errorf("told %+v", <-a.events)
	}
}

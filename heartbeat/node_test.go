package heartbeat_test

import (
	"context"
	"errors"
	"net/netip"
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

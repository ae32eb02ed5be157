package heartbeat_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/heartbeat"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Addresses of the hosts of these tests.
var (
	here  = netip.MustParseAddr("10.0.0.2")
	lower = netip.MustParseAddr("10.0.0.1")
	upper = netip.MustParseAddr("10.0.0.3")
	alien = netip.MustParseAddr("10.0.0.99")

	serverID = heartbeat.IDOf("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	secret   = []byte("sixteen bytes, and more")
)

// alone is one node at here with an interval of a second, beside which a test plays the
// other hosts. It runs in a bubble.
type alone struct {
	*heartbeat.Node
	t        *testing.T
	world    *world
	registry *metrics.Registry
	logs     *observer.ObservedLogs
	others   map[netip.Addr]*socket
	begun    time.Time
	events   chan vrrp.Event
	cancel   context.CancelCauseFunc
	done     chan error
}

// play starts a node, whose peers are lower and upper unless the options say otherwise.
func play(t *testing.T, change func(*heartbeat.Options), peers ...netip.Addr) *alone {
	t.Helper()
	a := &alone{t: t, world: newWorld(newDice(1)), registry: &metrics.Registry{}, others: map[netip.Addr]*socket{},
		begun: time.Now(), events: make(chan vrrp.Event, 1000), done: make(chan error, 1)}
	a.world.sky(weather{}) // all arrives, in order and at once
	core, logs := observer.New(zap.InfoLevel)
	a.logs = logs
	o := heartbeat.Options{Listen: ":12345", Interval: time.Second, DeadRatio: 3, Priority: 10, Addresses: []netip.Addr{address},
		Journal: journal.New(zap.New(core)), Metrics: heartbeat.NewMetrics(a.registry), Network: at{a.world, here}}
	if change != nil {
		change(&o)
	}
	a.Node = heartbeat.New(o)
	a.Node.SetID(serverID)
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	if peers == nil {
		peers = []netip.Addr{lower, upper}
	}
	a.know(peers...)
	for _, addr := range []netip.Addr{lower, upper, alien} {
		conn, _ := at{a.world, addr}.Listen("")
		a.others[addr] = conn.(*socket)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	a.cancel = cancel
	go func() {
		a.done <- a.Run(ctx, func(burst []vrrp.Event) {
			for _, e := range burst {
				a.events <- e
			}
		})
	}()
	synctest.Wait()
	return a
}

// know sets the peers.
func (a *alone) know(peers ...netip.Addr) {
	var list []heartbeat.Peer
	for _, p := range peers {
		list = append(list, heartbeat.Peer{Addr: netip.AddrPortFrom(p, 12345)})
	}
	a.SetPeers(list)
}

// stop ends the node.
func (a *alone) stop() {
	a.t.Helper()
	a.cancel(errOver)
	if err := <-a.done; err != errOver {
		a.t.Errorf("Run returned %v", err)
	}
	_ = a.Close()
}

// say lets another host send bytes, and waits until they have arrived.
func (a *alone) say(from netip.Addr, b []byte) {
	_ = a.others[from].Send(b, from, netip.AddrPortFrom(here, 12345))
	time.Sleep(time.Nanosecond)
	synctest.Wait()
}

// told returns the events since the last call, each with its time since the start.
func (a *alone) told() string {
	synctest.Wait()
	var list []string
	for len(a.events) > 0 {
		e := <-a.events
		what := e.State.String()
		switch e.Kind {
		case vrrp.VerifyNow:
			what = "verify"
		case vrrp.PriorityChange:
			what = "priority"
		}
		list = append(list, fmt.Sprintf("%v %s %d at %v", e.Instance, what, e.Priority, e.Received.Sub(a.begun)))
	}
	return strings.Join(list, "\n")
}

func (a *alone) want(name, events string) {
	a.t.Helper()
	if got := a.told(); got != events {
		a.t.Errorf("%s: got %q, want %q", name, got, events)
	}
}

// codes returns the codes of the lines that were logged since the last call.
func (a *alone) codes() []string {
	synctest.Wait()
	var list []string
	for _, l := range a.logs.TakeAll() {
		code := fmt.Sprint(l.ContextMap()["code"])
		if l.ContextMap()["after"] != nil {
			code += " is over"
		}
		list = append(list, code)
	}
	return list
}

// received returns how many datagrams had a result.
func (a *alone) received(result string) string {
	a.t.Helper()
	var text strings.Builder
	if err := a.registry.WriteText(&text); err != nil {
		a.t.Fatal(err)
	}
	m := regexp.MustCompile(`berth_heartbeat_received_total\{result="` + result + `"\} (\d+)`).FindStringSubmatch(text.String())
	if m == nil {
		return ""
	}
	return m[1]
}

// heard takes the datagrams that another host got.
func (a *alone) heard(by netip.Addr) [][]byte {
	synctest.Wait()
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	var list [][]byte
	for _, p := range a.others[by].queue {
		list = append(list, p.bytes)
	}
	a.others[by].queue = nil
	return list
}

// beat returns a datagram without a signature.
func beat(about netip.Addr, priority byte, id heartbeat.ID) []byte {
	version := byte(1)
	if about.Is6() {
		version = 2
	}
	return slices.Concat([]byte{2, version, priority, priority}, about.AsSlice(), id[:])
}

// signed appends the trailer to a datagram.
func signed(key, b []byte, counter uint64, from, to netip.Addr) []byte {
	b = binary.BigEndian.AppendUint64(bytes.Clone(b), counter)
	f, t := from.As16(), to.As16()
	h := hmac.New(sha256.New, key)
	h.Write(slices.Concat([]byte("berth heartbeat 1\x00"), b, f[:], t[:]))
	return h.Sum(b)
}

// peerID is the id of a host.
func peerID(a netip.Addr) heartbeat.ID { return heartbeat.IDOf(a.String()) }

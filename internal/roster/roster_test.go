package roster_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/heartbeat"
	"berth/internal/journal"
	"berth/internal/roster"
	"berth/providers"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errOver = errors.New("test is over")

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// node notes what it is told.
type node struct {
	mu      sync.Mutex
	peers   []heartbeat.Peer
	id      heartbeat.ID
	heard   []heartbeat.PeerState
	changed func()
	unknown chan struct{}
}

func (n *node) SetPeers(peers []heartbeat.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = peers
}

func (n *node) SetID(id heartbeat.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id = id
}

func (n *node) Peers() []heartbeat.PeerState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.heard
}

func (n *node) Watch(changed func()) (stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed = changed
	return func() {}
}

func (n *node) Unknown() <-chan struct{} { return n.unknown }

func (n *node) told() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, p := range n.peers {
		all = append(all, p.Name+"="+p.Addr.String())
	}
	return strings.Join(all, ", ")
}

// names are what can be looked up.
type names struct {
	mu            sync.Mutex
	former, fresh map[string][]netip.Addr
	asked         int
	took          time.Duration
}

func (n *names) Former(name string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.former[name]
}

func (n *names) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	n.asked++
	took := n.took
	n.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(took):
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if found := n.fresh[name]; len(found) > 0 {
		return found, nil
	}
	return nil, errors.New("no such host")
}

// cloud tells groups and this host.
type cloud struct {
	mu      sync.Mutex
	members []providers.Member
	err     error
	asked   []time.Time
	ids     []string
}

func (c *cloud) group(context.Context) ([]providers.Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, time.Now())
	return c.members, c.err
}

func (c *cloud) tell(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = ids
}

func (c *cloud) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.ids)
}

func (c *cloud) set(err error, members ...providers.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.members = err, members
}

func server(id, name string, self bool, addresses ...string) providers.Member {
	m := providers.Member{Server: providers.Server{ID: id, Name: name}, Self: self}
	for _, a := range addresses {
		m.Addresses = append(m.Addresses, addr(a))
	}
	return m
}

// play runs a roster for the duration of f.
func play(t *testing.T, o roster.Options, f func(t *testing.T, n *node, logs *observer.ObservedLogs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		n := &node{unknown: make(chan struct{}, 1)}
		o.Node, o.Journal, o.Timeout = n, journal.New(zap.New(core)), 10*time.Second
		r := roster.New(o)
		ctx, end := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		f(t, n, logs)
		end(errOver)
		if err := <-done; err != errOver {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

func want(t *testing.T, n *node, when, peers string) {
	t.Helper()
	synctest.Wait()
	if got := n.told(); got != peers {
		t.Errorf("%s: got %q, want %q", when, got, peers)
	}
}

func count(logs *observer.ObservedLogs, code string) int {
	return logs.FilterField(zap.String("code", code)).Len()
}

func TestAddressesArePeersAtOnceAndNamesWhenTheyAreKnown(t *testing.T) {
	l := &names{took: 5 * time.Second, former: map[string][]netip.Addr{"lb3": {addr("198.51.100.3")}},
		fresh: map[string][]netip.Addr{"lb2": {addr("2001:db8::2"), addr("198.51.100.2")}, "lb3": {addr("198.51.100.33")}}}
	o := roster.Options{Names: l, Hosts: []roster.Host{{"198.51.100.1", 7}, {"lb2", 8}, {"lb3", 9}, {"nowhere", 9}}}
	play(t, o, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		want(t, n, "at once", "198.51.100.1=198.51.100.1:7, lb3=198.51.100.3:9")
		time.Sleep(6 * time.Second)
		want(t, n, "after the look-ups", "198.51.100.1=198.51.100.1:7, lb2=198.51.100.2:8, lb3=198.51.100.33:9")
		l.mu.Lock()
		asked := l.asked
		l.fresh = map[string][]netip.Addr{"nowhere": {addr("2001:db8::4"), addr("2001:db8::5")}}
		l.mu.Unlock()
		time.Sleep(10 * time.Minute)
		want(t, n, "while names are lost", "198.51.100.1=198.51.100.1:7, lb2=198.51.100.2:8, lb3=198.51.100.33:9, nowhere (2001:db8::4)=[2001:db8::4]:9, nowhere (2001:db8::5)=[2001:db8::5]:9")
		l.mu.Lock()
		more := l.asked - asked
		l.mu.Unlock()
		if more < 25 || more > 60 {
			t.Errorf("looked up %d names in 10 minutes, want them about once a minute", more)
		}
		if got := count(logs, "roster-name-unresolved"); got != 4 {
			t.Errorf("told %d times that a name is not known, or known again; want 4:\n%v", got, logs.All())
		}
	})
}

func TestPeersAreOfTheFamilyOfTheAddressToListenAt(t *testing.T) {
	l := &names{fresh: map[string][]netip.Addr{"lb2": {addr("2001:db8::2"), addr("198.51.100.2")}}}
	for listen, peers := range map[string]string{
		"0.0.0.0": "lb2=198.51.100.2:8", "::": "lb2=198.51.100.2:8", "198.51.100.1": "lb2=198.51.100.2:8", "2001:db8::1": "lb2=[2001:db8::2]:8",
	} {
		play(t, roster.Options{Names: l, Hosts: []roster.Host{{"lb2", 8}}, Listen: addr(listen)}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
			want(t, n, listen, peers)
		})
	}
	// A name without an address that can be reached is told.
	l = &names{fresh: map[string][]netip.Addr{"lb2": {addr("2001:db8::2")}}}
	play(t, roster.Options{Names: l, Hosts: []roster.Host{{"lb2", 8}}, Listen: addr("198.51.100.1")}, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		want(t, n, "IPv6 alone", "")
		if count(logs, "roster-name-unresolved") != 1 {
			t.Errorf("told %v", logs.All())
		}
	})
}

func TestTheGroupIsReadAgainAndAServerThatItLacksOnceRemains(t *testing.T) {
	me, two, three := server("a", "lb1", true, "198.51.100.1"), server("b", "lb2", false, "198.51.100.2", "2001:db8::2"), server("c", "", false, "198.51.100.3")
	c := &cloud{members: []providers.Member{me, two}}
	play(t, roster.Options{Group: c.group, Port: 12345, Tell: c.tell}, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		want(t, n, "at the start", "lb2=198.51.100.2:12345")
		c.set(nil, me, two, three)
		time.Sleep(period)
		want(t, n, "after a minute", "lb2=198.51.100.2:12345, c=198.51.100.3:12345")
		if got := c.told(); got != "[b c]" {
			t.Errorf("the provider is told %s", got)
		}
		c.set(nil, me, three)
		time.Sleep(2 * period)
		want(t, n, "after two readings without one", "lb2=198.51.100.2:12345, c=198.51.100.3:12345")
		time.Sleep(period)
		want(t, n, "after three", "c=198.51.100.3:12345")
		c.set(errors.New("HTTP status 500"))
		time.Sleep(time.Hour)
		want(t, n, "while it cannot be read", "c=198.51.100.3:12345")
		c.set(nil, me)
		time.Sleep(2 * period)
		if count(logs, "roster-group-unread") != 2 || count(logs, "roster-group-alone") != 1 {
			t.Errorf("told %v", logs.All())
		}
	})
}

// period is that between two look-ups.
const period = time.Minute

func TestAHeartbeatOfAnotherHostHasTheGroupReadSoonButNotOften(t *testing.T) {
	c := &cloud{members: []providers.Member{server("a", "", true, "198.51.100.1")}}
	play(t, roster.Options{Group: c.group, Port: 1}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
		begun := time.Now()
		for range 300 { // for half a minute
			select {
			case n.unknown <- struct{}{}:
			default:
			}
			time.Sleep(100 * time.Millisecond)
		}
		var at []time.Duration
		c.mu.Lock()
		for _, a := range c.asked {
			at = append(at, a.Sub(begun).Round(time.Second))
		}
		c.mu.Unlock()
		if len(at) < 3 || !slices.Equal(at[:3], []time.Duration{0, 10 * time.Second, 20 * time.Second}) || len(at) > 4 {
			t.Errorf("read at %v, want every 10 s", at)
		}
	})
}

func TestAGroupThatCannotBeReadAtFirstIsReadBySoonerTries(t *testing.T) {
	c := &cloud{err: errors.New("HTTP status 503")}
	play(t, roster.Options{Group: c.group, Port: 1}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
		time.Sleep(10 * time.Second)
		c.set(nil, server("b", "lb2", false, "198.51.100.2"))
		time.Sleep(10 * time.Second)
		want(t, n, "after 20 s", "lb2=198.51.100.2:1")
	})
}

func TestTheProviderIsToldTheIdsThatPeersTell(t *testing.T) {
	c := &cloud{}
	id := heartbeat.IDOf("5f7f9b2e-0000-4000-8000-000000000002")
	play(t, roster.Options{Hosts: []roster.Host{{"198.51.100.2", 1}}, Tell: c.tell}, func(t *testing.T, n *node, _ *observer.ObservedLogs) {
		synctest.Wait()
		n.mu.Lock()
		n.heard = []heartbeat.PeerState{
			{ID: id, Heard: time.Now(), Alive: true}, {ID: id, Heard: time.Now()}, // about two addresses
			{}, // never heard
			{ID: heartbeat.IDOf("me"), Heard: time.Now(), Self: true},
		}
		changed := n.changed
		n.mu.Unlock()
		changed()
		synctest.Wait()
		if got := c.told(); got != "[5f7f9b2e-0000-4000-8000-000000000002]" {
			t.Errorf("the provider is told %s", got)
		}
	})
}

func TestTheOwnIDIsAskedForUntilTheProviderTellsIt(t *testing.T) {
	var asked atomic.Int32
	self := func(context.Context) (providers.Server, error) {
		if asked.Add(1) < 10 {
			return providers.Server{}, errors.New("HTTP status 503")
		}
		return providers.Server{ID: "5f7f9b2e-0000-4000-8000-000000000001"}, nil
	}
	play(t, roster.Options{Self: self}, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		time.Sleep(time.Hour)
		n.mu.Lock()
		defer n.mu.Unlock()
		if asked.Load() != 10 || n.id != heartbeat.IDOf("5f7f9b2e-0000-4000-8000-000000000001") {
			t.Errorf("asked %d times, the id is %v", asked.Load(), n.id)
		}
		if count(logs, "roster-self-unknown") != 2 {
			t.Errorf("want the failure and its end told, got %v", logs.All())
		}
	})
	asked.Store(0)
	play(t, roster.Options{Self: func(context.Context) (providers.Server, error) {
		asked.Add(1)
		return providers.Server{}, fmt.Errorf("provider none: %w", errors.ErrUnsupported)
	}}, func(t *testing.T, n *node, logs *observer.ObservedLogs) {
		time.Sleep(time.Hour)
		if asked.Load() != 1 || logs.Len() != 0 {
			t.Errorf("asked %d times, told %v", asked.Load(), logs.All())
		}
	})
}

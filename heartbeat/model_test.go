package heartbeat_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/heartbeat"
)

// dice are random numbers that follow from a seed.
type dice struct {
	seed uint64
	mu   sync.Mutex // guards rng
	rng  *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{seed: seed, rng: rand.New(rand.NewPCG(seed, 16))} }

// of returns dice of their own for one use: the order in which goroutines run at one
// moment must not decide who gets which number, or no schedule could be repeated.
func (d *dice) of(use string) *dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(use))
	return &dice{seed: h.Sum64() ^ d.seed, rng: rand.New(rand.NewPCG(d.seed, h.Sum64()))}
}

func (d *dice) float() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64()
}

func (d *dice) chance(p float64) bool { return d.float() < p }

// below returns a duration up to limit.
func (d *dice) below(limit time.Duration) time.Duration {
	return time.Duration(d.float() * float64(limit))
}

// pick returns a number below n.
func (d *dice) pick(n int) int { return int(d.float() * float64(n)) }

// weather is how a network treats datagrams.
type weather struct {
	loss, double float64
	delay        time.Duration
	streak       int // most datagrams of a way that are lost in a row; 0 for any number
}

// world is a network, in which each host has one address.
type world struct {
	dice *dice

	mu      sync.Mutex // guards all below
	weather weather
	cut     map[[2]netip.Addr]bool // ways on which nothing arrives
	lost    map[[2]netip.Addr]int  // in a row
	fates   map[[2]netip.Addr]*dice
	sockets map[netip.Addr]*socket
}

func newWorld(d *dice) *world {
	return &world{dice: d, cut: map[[2]netip.Addr]bool{}, lost: map[[2]netip.Addr]int{}, fates: map[[2]netip.Addr]*dice{}, sockets: map[netip.Addr]*socket{}}
}

// at is the network as the host with an address has it.
type at struct {
	*world
	addr netip.Addr
}

func (a at) Listen(string) (heartbeat.Conn, error) {
	s := &socket{at: a, ready: make(chan struct{}, 1)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets[a.addr] = s
	return s, nil
}

type packet struct {
	from  netip.Addr
	bytes []byte
}

type socket struct {
	at
	ready chan struct{} // one slot

	queue []packet // guarded by the lock of the world
}

func (s *socket) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ready:
		return nil
	}
}

func (s *socket) Receive(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return 0, netip.AddrPort{}, netip.Addr{}, heartbeat.ErrEmpty
	}
	p := s.queue[0]
	s.queue = s.queue[1:]
	copy(b, p.bytes)
	return len(p.bytes), netip.AddrPortFrom(p.from, 12345), s.addr, nil
}

func (s *socket) Local(peer netip.Addr) (netip.Addr, bool, error) {
	return s.addr, peer == s.addr, nil
}

func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets[s.addr] == s {
		delete(s.sockets, s.addr)
	}
	return nil
}

// Send loses, doubles and delays a datagram as the weather is.
func (s *socket) Send(b []byte, _ netip.Addr, to netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	way := [2]netip.Addr{s.addr, to.Addr()}
	w, d := s.weather, s.fates[way]
	if d == nil {
		d = s.dice.of(fmt.Sprint(way))
		s.fates[way] = d
	}
	if s.cut[way] || d.chance(w.loss) && (w.streak == 0 || s.lost[way] < w.streak) {
		s.lost[way]++
		return nil
	}
	s.lost[way] = 0
	copies := 1
	if d.chance(w.double) {
		copies = 2
	}
	p := packet{s.addr, slices.Clone(b)}
	for range copies {
		if w.delay == 0 {
			s.arrive(p, way)
			continue
		}
		time.AfterFunc(d.below(w.delay), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.arrive(p, way)
		})
	}
	return nil
}

// arrive puts a datagram into the socket that its destination has now, unless the way was
// cut meanwhile. It is called with the lock held.
func (w *world) arrive(p packet, way [2]netip.Addr) {
	if s := w.sockets[way[1]]; s != nil && !w.cut[way] {
		s.queue = append(s.queue, p)
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

// sky sets the weather, and heals all ways.
func (w *world) sky(is weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.weather = is
	clear(w.cut)
	clear(w.lost)
}

// sever cuts a way, or heals it.
func (w *world) sever(from, to netip.Addr, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]netip.Addr{from, to}] = cut
}

// cloud attaches one elastic IP to any number of servers, as Exoscale does.
type cloud struct {
	slow time.Duration // of a call, at most

	mu       sync.Mutex // guards attached
	attached map[heartbeat.ID]bool
}

// account is the cloud as one host uses it.
type account struct {
	*cloud
	dice *dice
}

// call carries out a write after a while, also when its caller does not wait any more.
func (c account) call(ctx context.Context, write func(attached map[heartbeat.ID]bool)) bool {
	done := make(chan struct{})
	time.AfterFunc(c.dice.below(c.slow), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		write(c.attached)
		close(done)
	})
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c account) attach(ctx context.Context, id heartbeat.ID) bool {
	return c.call(ctx, func(attached map[heartbeat.ID]bool) { attached[id] = true })
}

func (c account) detach(ctx context.Context, id heartbeat.ID) bool {
	return c.call(ctx, func(attached map[heartbeat.ID]bool) { delete(attached, id) })
}

// holders returns the servers that have the address now.
func (c *cloud) holders() []heartbeat.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []heartbeat.ID
	for id := range c.attached {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b heartbeat.ID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// observe returns the servers that have the address, after a while.
func (c account) observe(ctx context.Context) ([]heartbeat.ID, bool) {
	ok := c.call(ctx, func(map[heartbeat.ID]bool) {})
	return c.holders(), ok
}

package heartbeat_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"berth/guard"
	"berth/heartbeat"
	"berth/internal/condition"
	"berth/internal/fence"
	"berth/internal/run"
	"berth/internal/service"
	"berth/vrrp"
)

// host takes part, and can be killed and started.
type host interface {
	start()
	// kill ends the host as SIGKILL does: nothing is sent any more.
	kill()
	// stop ends it as SIGTERM does.
	stop()
	// master reports whether it takes itself for the owner, and whether it takes part.
	master() (is, known bool)
	addr() netip.Addr
	server() heartbeat.ID
	rank() int
}

// place is what any host has.
type place struct {
	world    *world
	cloud    account
	dice     *dice
	address  netip.Addr
	id       heartbeat.ID
	peers    []netip.Addr
	interval time.Duration
	priority int
}

func (p *place) addr() netip.Addr     { return p.address }
func (p *place) server() heartbeat.ID { return p.id }

// berth is a host with the node that runs in production. Its holding is a model of the
// loops of a provider with several attachments.
type berth struct {
	place
	able    condition.Value
	lease   *fence.Lease // nil without witness
	acting  *acting      // nil without witness
	refresh time.Duration
	node    *heartbeat.Node
	service *service.Service
	end     context.CancelCauseFunc
	running sync.WaitGroup
	changes int // of its state, guarded by the lock of the world
}

var errKilled = errors.New("killed")

func (b *berth) start() {
	b.node = heartbeat.New(heartbeat.Options{
		Listen: ":12345", Interval: b.interval, DeadRatio: 3, Priority: b.priority,
		Addresses: []netip.Addr{address}, Able: &b.able, Network: at{b.world, b.address},
	})
	b.node.Jitter(b.dice.of(fmt.Sprint("jitter ", time.Now())).float)
	_ = b.node.Open() // never fails
	var peers []heartbeat.Peer
	for _, a := range b.peers {
		peers = append(peers, heartbeat.Peer{Addr: netip.AddrPortFrom(a, 12345)})
	}
	b.node.SetPeers(peers)
	source := service.Around(b.node, func(burst []vrrp.Event, deliver func()) {
		for _, e := range burst {
			if e.Kind == vrrp.StateChange {
				b.world.mu.Lock()
				b.changes++
				b.world.mu.Unlock()
			}
		}
		deliver()
	})
	b.service = service.New(source, nil, nil)
	b.service.Hold(b.hold)
	ctx, cancel := context.WithCancelCause(context.Background())
	b.end = cancel
	b.running.Go(func() { _ = run.Together(ctx, b.service.Tasks()...) })
	b.running.Go(func() { b.giveWay(ctx) })
	// The provider tells its server a while after the start.
	node := b.node
	b.running.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(b.dice.of(fmt.Sprint("id ", time.Now())).below(2 * b.interval)):
			node.SetID(b.id)
		}
	})
}

func (b *berth) kill() {
	if b.end == nil {
		return
	}
	b.end(errKilled)
	b.running.Wait()
	_ = b.node.Close()
	b.end = nil
}

func (b *berth) stop() {
	if b.end == nil {
		return
	}
	b.end(errOver)
	b.running.Wait()
	b.node.Resign(context.Background())
	_ = b.node.Close()
	b.end = nil
}

func (b *berth) master() (is, known bool) {
	if b.end == nil {
		return false, false
	}
	return b.service.Table().IsMaster(address.String()), b.service.Table().Known(address.String())
}

func (b *berth) isAble() bool {
	holds, _ := b.able.State()
	return holds
}

func (b *berth) rank() int { return b.priority }

// hold is what runs while this host is MASTER.
func (b *berth) hold(ctx context.Context, instance string, verify <-chan struct{}) error {
	chain := b.service.LastWord()
	if b.lease != nil {
		chain = guard.Chain(b.lease, chain)
	}
	return chain.While(ctx, instance, func(ctx context.Context, p *guard.Permit) error {
		if b.acting != nil {
			b.acting.begin(b.address)
			defer b.acting.end(b.address)
		}
		settle := []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second}
		for ctx.Err() == nil {
			b.claim(ctx, p)
			next := b.refresh
			if len(settle) > 0 {
				next, settle = min(settle[0], b.refresh), settle[1:]
			}
			select {
			case <-ctx.Done():
			case <-verify:
			case <-time.After(next):
			}
		}
		return context.Cause(ctx)
	})
}

// claim attaches the address here, and nowhere else.
func (b *berth) claim(ctx context.Context, p *guard.Permit) {
	holders, ok := b.cloud.observe(ctx)
	here := false
	for _, id := range holders {
		here = here || id == b.id
	}
	if !ok || !here && (!b.may(ctx, p) || !b.cloud.attach(ctx, b.id)) {
		return
	}
	for _, id := range holders {
		if id != b.id && b.may(ctx, p) {
			b.cloud.detach(ctx, id)
		}
	}
}

// may reports whether a write is permitted now.
func (b *berth) may(ctx context.Context, p *guard.Permit) bool {
	if p.Check(ctx) != nil {
		return false
	}
	if b.acting != nil {
		b.acting.write(b.address)
	}
	return true
}

// giveWay detaches the address from this host while it is not MASTER and another has it
// beside.
func (b *berth) giveWay(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(b.interval):
		}
		if is, known := b.service.Table().IsMaster(address.String()), b.service.Table().Known(address.String()); is || !known {
			continue
		}
		holders, ok := b.cloud.observe(ctx)
		for _, id := range holders {
			if ok && id == b.id && len(holders) > 1 && !b.service.Table().IsMaster(address.String()) {
				b.cloud.detach(ctx, id)
			}
		}
	}
}

// exoip is a host with the rules of exoip: an owner unless a living peer has a strictly
// lower number, an address that is added when it becomes the owner and removed when it
// is not any more, peers that have just died detached, and a look each five minutes.
type exoip struct {
	place
	end     context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards all below
	state vrrp.State
	seen  map[netip.Addr]*exoipPeer
}

type exoipPeer struct {
	last     time.Time
	priority int
	id       heartbeat.ID
	dead     bool
}

func (e *exoip) rank() int { return e.priority }

func (e *exoip) master() (is, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == vrrp.Master, e.end != nil
}

func (e *exoip) start() {
	e.mu.Lock()
	e.state, e.seen = vrrp.Backup, map[netip.Addr]*exoipPeer{}
	for _, a := range e.peers {
		if a != e.address {
			e.seen[a] = &exoipPeer{dead: true}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.end = cancel
	e.mu.Unlock()
	conn, _ := at{e.world, e.address}.Listen("") // never fails
	e.running.Go(func() { e.receive(ctx, conn) })
	e.running.Go(func() { e.send(ctx, conn) })
	e.running.Go(func() { e.watch(ctx) })
}

func (e *exoip) kill() {
	e.mu.Lock()
	end := e.end
	e.end = nil
	e.mu.Unlock()
	if end == nil {
		return
	}
	end()
	e.running.Wait()
	e.world.mu.Lock()
	delete(e.world.sockets, e.address)
	e.world.mu.Unlock()
}

// stop removes the address if it is here.
func (e *exoip) stop() {
	is, known := e.master()
	e.kill()
	if is && known {
		e.cloud.detach(context.Background(), e.id)
	}
}

func (e *exoip) send(ctx context.Context, conn heartbeat.Conn) {
	eip := address.As4()
	b := append([]byte{2, 1, byte(e.priority), byte(e.priority)}, append(eip[:], e.id[:]...)...)
	for ctx.Err() == nil {
		for _, a := range e.peers {
			if a != e.address {
				_ = conn.Send(b, e.address, netip.AddrPortFrom(a, 12345))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(e.interval):
		}
	}
}

func (e *exoip) receive(ctx context.Context, conn heartbeat.Conn) {
	for b := make([]byte, 24); conn.Wait(ctx) == nil; {
		for {
			_, from, _, err := conn.Receive(b)
			if err != nil {
				break
			}
			e.mu.Lock()
			if p := e.seen[from.Addr()]; p != nil && b[2] == b[3] {
				p.last, p.priority, p.id = time.Now(), int(b[2]), heartbeat.ID(b[8:24])
			}
			e.mu.Unlock()
		}
	}
}

// watch decides once per interval, after the hold-off, and looks each five minutes,
// beginning at the start.
func (e *exoip) watch(ctx context.Context) {
	begun, look := time.Now(), time.Now()
	for ctx.Err() == nil {
		if !time.Now().Before(look) {
			e.check(ctx)
			look = time.Now().Add(5 * time.Minute)
		}
		if time.Since(begun) >= 3*e.interval+100*time.Millisecond {
			e.decide(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(e.interval):
		}
	}
}

func (e *exoip) decide(ctx context.Context) {
	e.mu.Lock()
	state := vrrp.Master
	var died []heartbeat.ID
	for _, a := range e.peers {
		p := e.seen[a]
		if p == nil {
			continue
		}
		dead := time.Since(p.last) > 3*e.interval
		if dead && !p.dead {
			died = append(died, p.id)
		}
		p.dead = dead
		if !dead && p.priority < e.priority {
			state = vrrp.Backup
		}
	}
	changed := state != e.state
	e.state = state
	e.mu.Unlock()
	switch {
	case changed && state == vrrp.Master:
		e.cloud.attach(ctx, e.id)
	case changed:
		e.cloud.detach(ctx, e.id)
	}
	for _, id := range died {
		e.cloud.detach(ctx, id)
	}
	if len(died) > 0 {
		e.check(ctx)
	}
}

// check compares what the provider says of this host with the state.
func (e *exoip) check(ctx context.Context) {
	holders, ok := e.cloud.observe(ctx)
	here := false
	for _, id := range holders {
		here = here || id == e.id
	}
	is, _ := e.master()
	switch {
	case !ok:
	case is && !here:
		e.cloud.attach(ctx, e.id)
	case !is && here:
		e.cloud.detach(ctx, e.id)
	}
}

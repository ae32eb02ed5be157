package netif

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// fakeKernel is an interface as data. What its methods answer is in its fields.
type fakeKernel struct {
	mu     sync.Mutex
	link   link
	addrs  map[netip.Prefix]*fakeAddress
	frames []frame
	binds  []fakeBind
	fail   error         // of bind and unbind
	stall  time.Duration // for which the process stands still before its next bind
	events chan event
	// changes has what really changed, as an observer sees it.
	changes chan change
}

type fakeAddress struct {
	address
	expires time.Time // zero for never
	timer   *time.Timer
}

type fakeBind struct {
	at      time.Time
	addrs   []netip.Prefix
	seconds int
}

// frame is one that was sent.
type frame struct {
	at   time.Time
	data []byte
}

// change is an address that came or went.
type change struct {
	at     time.Time
	prefix netip.Prefix
	added  bool
}

var fakeMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}

// fakeLate is by how much this kernel is late; the real one is by 0 to 1.2 s.
const fakeLate = 600 * time.Millisecond

func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		link:    link{index: 7, up: true, carrier: true, mac: fakeMAC},
		addrs:   map[netip.Prefix]*fakeAddress{},
		events:  make(chan event, 10000),
		changes: make(chan change, 10000),
	}
}

func (k *fakeKernel) state() (link, []address, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []address
	for _, p := range slices.SortedFunc(maps.Keys(k.addrs), netip.Prefix.Compare) {
		a := k.addrs[p].address
		if a.valid != forever {
			a.valid = max(0, time.Until(k.addrs[p].expires)).Truncate(time.Second)
		}
		list = append(list, a)
	}
	return k.link, list, nil
}

func (k *fakeKernel) bind(addrs []netip.Prefix, seconds int) error {
	k.mu.Lock()
	stall := k.stall
	k.stall = 0
	k.mu.Unlock()
	time.Sleep(stall)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.binds = append(k.binds, fakeBind{time.Now(), slices.Clone(addrs), seconds})
	for _, p := range addrs {
		k.set(address{prefix: p, valid: time.Duration(seconds) * time.Second, proto: protocol})
	}
	return nil
}

// set is called with the lock held.
func (k *fakeKernel) set(a address) {
	old := k.addrs[a.prefix]
	f := &fakeAddress{address: a}
	if a.valid != forever {
		f.expires = time.Now().Add(a.valid)
		f.timer = time.AfterFunc(a.valid+fakeLate, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.addrs[a.prefix] == f {
				k.delete(a.prefix)
			}
		})
	}
	k.addrs[a.prefix] = f
	k.events <- event{kind: added, address: a}
	if old == nil {
		k.changes <- change{time.Now(), a.prefix, true}
	} else if old.timer != nil {
		old.timer.Stop()
	}
}

// delete is called with the lock held.
func (k *fakeKernel) delete(p netip.Prefix) {
	f := k.addrs[p]
	if f == nil {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	delete(k.addrs, p)
	k.events <- event{kind: deleted, address: f.address}
	k.changes <- change{time.Now(), p, false}
}

func (k *fakeKernel) unbind(addrs []netip.Prefix) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	for _, p := range addrs {
		k.delete(p)
	}
	return nil
}

func (k *fakeKernel) send(data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frames = append(k.frames, frame{time.Now(), data})
	return nil
}

func (k *fakeKernel) watch(ctx context.Context, f func(event)) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-k.events:
			f(e)
		}
	}
}

func (k *fakeKernel) Close() error { return nil }

// sent returns the frames sent so far.
func (k *fakeKernel) sent() []frame {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.frames)
}

// setLink changes the state of the interface, which loses its IPv6 addresses when
// it goes down.
func (k *fakeKernel) setLink(l link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.link = l
	k.events <- event{kind: linkChanged, link: l}
	if !l.up {
		for p := range maps.Clone(k.addrs) {
			if p.Addr().Is6() || l.index == 0 {
				k.delete(p)
			}
		}
	}
}

// behind changes addresses behind the back of berth.
func (k *fakeKernel) behind(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

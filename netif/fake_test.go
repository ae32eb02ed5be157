package netif

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// fakeKernel is an interface as data. Its fields are the answers of its methods.
type fakeKernel struct {
	mu           sync.Mutex
	link         link
	others       []address // on other interfaces
	addrs        map[netip.Prefix]*fakeAddress
	frames       []frame
	binds        []fakeBind
	observations int           // calls of state
	fail         error         // of bind
	blind        error         // of state
	watchErrs    []error       // of the next calls of watch
	refuse       netip.Prefix  // by bind
	stuck        netip.Prefix  // not removed by unbind
	promoteErr   error         // of promotes
	promoteOf    netip.Prefix  // alone, if valid
	full         error         // of send
	slow         time.Duration // before and after anything is done
	before       func()        // called before the next bind takes effect
	late         time.Duration // by which addresses are removed after their lifetime; see removalDelay
	events       chan event
	// changes has what has changed, as another program observes it.
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
	sent    int // frames before it
}

// frame is a frame that was sent.
type frame struct {
	at   time.Time
	data []byte
}

// change tells that an address was added or deleted.
type change struct {
	at     time.Time
	prefix netip.Prefix
	added  bool
}

// errWatch ends a watch.
var errWatch = errors.New("bad file descriptor")

var fakeMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		link:    link{index: 7, name: "eth0", up: true, carrier: true, mac: fakeMAC},
		late:    600 * time.Millisecond,
		addrs:   map[netip.Prefix]*fakeAddress{},
		events:  make(chan event, 10000),
		changes: make(chan change, 10000),
	}
}

func (k *fakeKernel) state(bool) (link, []address, error) {
	defer k.pause()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.observations++
	if k.blind != nil {
		return link{}, nil, k.blind
	}
	list := slices.Clone(k.others)
	for _, p := range slices.SortedFunc(maps.Keys(k.addrs), netip.Prefix.Compare) {
		a := k.addrs[p].address
		a.on = k.link.index
		if a.valid != forever {
			a.valid = max(0, time.Until(k.addrs[p].expires)).Truncate(time.Second)
		}
		list = append(list, a)
	}
	return k.link, list, nil
}

// pause delays a system call, as a busy host does.
func (k *fakeKernel) pause() {
	k.mu.Lock()
	slow := k.slow
	k.mu.Unlock()
	time.Sleep(slow)
}

func (k *fakeKernel) promotes(_ string, p netip.Prefix) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.promoteOf.IsValid() && k.promoteOf != p {
		return nil
	}
	return k.promoteErr
}

func (k *fakeKernel) nameOf(int) string { return "lo" }

func (k *fakeKernel) bind(_ link, addrs []netip.Prefix, seconds int) []error {
	k.mu.Lock()
	before := k.before
	k.before = nil
	k.mu.Unlock()
	if before != nil {
		before()
	}
	k.pause()
	defer k.pause()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return slices.Repeat([]error{k.fail}, len(addrs))
	}
	k.binds = append(k.binds, fakeBind{time.Now(), slices.Clone(addrs), seconds, len(k.frames)})
	for _, p := range addrs {
		if p == k.refuse {
			continue
		}
		k.set(address{prefix: p, valid: time.Duration(seconds) * time.Second, proto: protocol})
	}
	answers := make([]error, len(addrs))
	if n := slices.Index(addrs, k.refuse); n >= 0 {
		answers[n] = errors.New("refused")
	}
	return answers
}

// set is called with the lock held.
func (k *fakeKernel) set(a address) {
	old := k.addrs[a.prefix]
	f := &fakeAddress{address: a}
	if a.valid != forever {
		f.expires = time.Now().Add(a.valid)
		f.timer = time.AfterFunc(a.valid+k.late, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.addrs[a.prefix] == f {
				k.remove(a.prefix, true)
			}
		})
	}
	k.addrs[a.prefix] = f
	a.on = k.link.index
	k.events <- event{kind: added, address: a}
	if old == nil {
		k.changes <- change{time.Now(), a.prefix, true}
	} else if old.timer != nil {
		old.timer.Stop()
	}
}

// elsewhere adds or deletes an address of another interface.
func (k *fakeKernel) elsewhere(a address, kind eventKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.others = slices.DeleteFunc(k.others, func(o address) bool { return o.prefix == a.prefix }); kind == added {
		k.others = append(k.others, a)
	}
	k.events <- event{kind: kind, address: a}
}

// delete is called with the lock held.
func (k *fakeKernel) delete(p netip.Prefix) { k.remove(p, false) }

// remove is called with the lock held.
func (k *fakeKernel) remove(p netip.Prefix, expired bool) {
	f := k.addrs[p]
	if f == nil {
		return
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	delete(k.addrs, p)
	gone := f.address
	gone.on = k.link.index
	k.events <- event{kind: deleted, address: gone, expired: expired}
	k.changes <- change{time.Now(), p, false}
}

func (k *fakeKernel) unbind(index int, addrs []netip.Prefix) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if index != k.link.index {
		k.others = slices.DeleteFunc(k.others, func(a address) bool { return a.on == index && slices.Contains(addrs, a.prefix) })
		return nil
	}
	for _, p := range addrs {
		if p != k.stuck {
			k.delete(p)
		}
	}
	return nil
}

func (k *fakeKernel) send(data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full != nil {
		return k.full
	}
	k.frames = append(k.frames, frame{time.Now(), data})
	return nil
}

func (k *fakeKernel) watch(ctx context.Context, f func(event)) error {
	k.mu.Lock()
	if len(k.watchErrs) > 0 {
		err := k.watchErrs[0]
		k.watchErrs = k.watchErrs[1:]
		k.mu.Unlock()
		return err
	}
	k.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-k.events:
			if e.err != nil {
				return e.err
			}
			f(e)
		}
	}
}

func (k *fakeKernel) Close() error { return nil }

// counted returns how often the addresses were read.
func (k *fakeKernel) counted() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.observations
}

// sent returns the frames sent so far.
func (k *fakeKernel) sent() []frame {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.frames)
}

// bound returns the calls of bind so far that bound something.
func (k *fakeKernel) bound() []fakeBind {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.binds)
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

// alter alters the fields, as another program or the kernel does.
func (k *fakeKernel) alter(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

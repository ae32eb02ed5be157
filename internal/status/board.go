package status

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/vrrp"
)

// Board has the facts of one process about its instances. Its methods may be called
// by several goroutines at once and do no I/O, but for Run and Flush.
type Board struct {
	dir     string
	writing *journal.Condition
	self    Instance // what all entries share

	mu          sync.Mutex
	known       map[string]*facts
	health      []healthOf
	dirty       map[string]bool            // instances whose file is to be written
	gone        map[string]bool            // instances whose file is to be removed
	stale       func(instance string) bool // of Tidy, nil after that was done
	changed     chan struct{}              // one slot: something is dirty
	state       chan struct{}              // one slot: a state is among what is dirty
	reason      chan struct{}              // one slot: something is dirty by its reason alone
	subscribers map[*func(Instance)]struct{}
}

// facts are an instance and what its entry is made from.
type facts struct {
	Instance
	withheld string    // why the holding may not act
	lapsed   string    // what withheld was before the newest State, which was as the one before
	blocked  string    // what keeps the holding from its addresses
	loops    []Address // what the loops tell
	gone     []Address // suspended: gone from the host without an event
}

// NewBoard returns a board that writes below the run directory. self carries what all
// entries share: PID, Start, Mode, Prefix and Member.
func NewBoard(runDirectory string, self Instance, j *journal.Journal) *Board {
	return &Board{dir: rundir.Dir(runDirectory).Status(), self: self, writing: j.Condition(),
		known: map[string]*facts{}, dirty: map[string]bool{}, gone: map[string]bool{}, changed: make(chan struct{}, 1), state: make(chan struct{}, 1), reason: make(chan struct{}, 1),
		subscribers: map[*func(Instance)]struct{}{}}
}

// State is the state of an instance and why.
type State struct {
	State    vrrp.State
	Since    time.Time // zero: since now, unless the state was the same before
	Priority int
	Reason   string
}

// State puts on the board the state of an instance. The facts of a holding end with
// MASTER. It is called by the table of machines, by the campaign for the instance where
// there is an election, and by the process of a notify script for its event.
func (b *Board) State(instance string, s State) {
	b.changeReason(instance, func(f *facts) bool {
		same := f.State == s.State && f.Priority == s.Priority && f.Reason != "" && s.Reason != ""
		switch {
		case !s.Since.IsZero():
			f.Since = s.Since
		case f.State != s.State:
			f.Since = time.Now()
		}
		f.Instance.State, f.Priority, f.Reason = s.State, s.Priority, s.Reason
		if f.lapsed = cmp.Or(f.withheld, f.lapsed); !same {
			f.lapsed = ""
		}
		if s.State != vrrp.Master {
			f.withheld, f.blocked, f.loops, f.gone = "", "", nil, nil
		}
		return same
	})
}

// Group puts on the board the sync group whose notify script reported for an instance.
// It is called by the process of the notify script.
func (b *Board) Group(instance, group string) {
	b.change(instance, func(f *facts) { f.Instance.Group = group })
}

// Ownership is what etcd tells about an instance.
type Ownership struct {
	Owner    string // the member that etcd names
	Token    int64  // the fencing token, where that is this one
	Lease    string // the file that has the lease
	Withheld string // why this host may not act, "" where it may
}

// Ownership puts on the board who owns an instance. Where the host may not act, the
// addresses are not told any more. It is called by the campaign for the instance.
func (b *Board) Ownership(instance string, o Ownership) {
	b.changeReason(instance, func(f *facts) bool {
		same := f.Owner == o.Owner && f.Token == o.Token && cmp.Or(f.withheld, f.lapsed) != "" && o.Withheld != ""
		f.Owner, f.Token, f.withheld, f.lapsed = o.Owner, o.Token, o.Withheld, ""
		if o.Lease != "" {
			f.Instance.Lease = o.Lease
		}
		if o.Withheld != "" {
			f.loops, f.gone = nil, nil
		}
		return same
	})
}

// Blocked puts on the board what keeps a holding from its addresses, "" for nothing.
// It is called by the holding.
func (b *Board) Blocked(instance, reason string) {
	b.change(instance, func(f *facts) { f.blocked = reason })
}

// Addresses puts on the board what is known about the addresses of a holding. It is
// called for the loops of the holding, or, without loops, by the owner that has bound
// the addresses.
func (b *Board) Addresses(instance string, addresses []Address) {
	b.change(instance, func(f *facts) { f.loops = addresses })
}

// Suspended puts on the board the addresses of a holding that have gone from the host
// without an event, and for which there is no loop until they return. It is called by
// the holding.
func (b *Board) Suspended(instance string, addresses []string) {
	b.change(instance, func(f *facts) {
		f.gone = nil
		for _, a := range addresses {
			f.gone = append(f.gone, Address{Address: a, Suspended: true})
		}
	})
}

// Corrected counts that the machine showed what no event had told. It is called by the
// part that corrects: for the state of an instance, or for one of its addresses.
func (b *Board) Corrected(instance, reason string) {
	b.change(instance, func(f *facts) {
		f.Corrections++
		f.Correction = reason
	})
}

// Deaf puts on the board why no event of keepalived can arrive, with the cure; "" where
// events can. It is called by the part that decides the states meanwhile.
func (b *Board) Deaf(instance, why string) {
	b.change(instance, func(f *facts) { f.Instance.Deaf = why })
}

// Doubled puts on the board whether another host takes part under the same name. It is
// called by the member of the election.
func (b *Board) Doubled(instance string, on bool) {
	b.change(instance, func(f *facts) { f.Instance.Doubled = on })
}

// Contested puts on the board whether an address is in dispute. It is called by the
// interface that has the address.
func (b *Board) Contested(instance, address string, on bool) {
	b.change(instance, func(f *facts) {
		f.Instance.Contested = slices.DeleteFunc(f.Instance.Contested, func(a string) bool { return a == address })
		if on {
			f.Instance.Contested = append(f.Instance.Contested, address)
		}
	})
}

// Astray puts on the board the interface of this host that has an address although
// another host owns it; "" for none. It is called by the host's interfaces.
func (b *Board) Astray(instance, address, on string) {
	b.change(instance, func(f *facts) {
		f.Instance.Astray = slices.DeleteFunc(f.Instance.Astray, func(a string) bool { return strings.HasPrefix(a, address+" ") })
		if on != "" {
			f.Instance.Astray = append(f.Instance.Astray, address+" on "+on)
		}
	})
}

// healthOf is a health check and the instances that it is about, nil for all.
type healthOf struct {
	Health
	instances map[string]bool
}

// Health puts on the board what a health check shows about some instances, or, for nil,
// about all, those to come included. It is called by the checker, and by the part that
// changes the instances.
func (b *Board) Health(instances []string, is Health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.health, func(h healthOf) bool { return h.Check == is.Check })
	if i < 0 {
		b.health = append(b.health, healthOf{})
		i = len(b.health) - 1
	}
	former, soon := b.health[i], b.changed
	if former.Reason != "" && former.Healthy == is.Healthy {
		soon = b.reason
	}
	next := healthOf{Health: is}
	if instances != nil {
		next.instances = make(map[string]bool, len(instances))
		for _, name := range instances {
			next.instances[name] = true
		}
	}
	b.health[i] = next
	for name, f := range b.known {
		if now, before := next.about(name), former.about(name); now != before || now && former.Health != is {
			b.touch(f, soon)
		}
	}
}

// DropHealth takes a health check off the board. It is called by the part that ends the
// check.
func (b *Board) DropHealth(check string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.health, func(h healthOf) bool { return h.Check == check })
	if i < 0 {
		return
	}
	former := b.health[i]
	b.health = slices.Delete(b.health, i, i+1)
	for name, f := range b.known {
		if former.about(name) {
			b.touch(f, b.changed)
		}
	}
}

// about reports whether a check is about an instance.
func (h healthOf) about(instance string) bool {
	return h.Check != "" && (h.instances == nil || h.instances[instance])
}

// Configuration puts on the board of all instances, those to come included, how
// keepalived.conf differs from what is acted on; "" where it does not. It is called by
// the book of keepalived.conf.
func (b *Board) Configuration(note string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.self.Configuration = note
	for _, f := range b.known {
		f.Instance.Configuration = note
		b.touch(f, b.changed)
	}
}

// Forget takes an instance off the board that is there no more, and has its file removed.
// It is called by the part that had the instance.
func (b *Board) Forget(instance string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, known := b.known[instance]
	if !known {
		return
	}
	f.Instance.State, f.Instance.forgotten = vrrp.Deleted, true
	b.touch(f, b.changed)
	delete(b.known, instance)
	delete(b.dirty, instance)
	b.gone[instance] = true
}

// Tidy has the files removed that a former process with the same place in the election
// has left of instances that are stale. It is called by the part that knows the instances.
func (b *Board) Tidy(stale func(instance string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stale = stale
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// change changes the facts of an instance.
func (b *Board) change(instance string, change func(*facts)) {
	b.changeReason(instance, func(f *facts) bool { change(f); return false })
}

// changeReason is change where nothing but a reason may have changed, as change reports.
func (b *Board) changeReason(instance string, change func(*facts) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.known[instance]
	if !ok {
		f = &facts{Instance: b.self}
		f.Instance.Instance = instance
		b.known[instance] = f
		delete(b.gone, instance)
	}
	former, soon := f.Instance.State, b.changed
	if change(f) {
		soon = b.reason
	}
	b.touch(f, soon)
	if f.Instance.State != former {
		select {
		case b.state <- struct{}{}:
		default:
		}
	}
}

// touch tells the subscribers of an instance and has its file written, by Run when that
// receives from soon. It is called with the lock held.
func (b *Board) touch(f *facts, soon chan struct{}) {
	f.Updated = time.Now()
	b.dirty[f.Instance.Instance] = true
	select {
	case soon <- struct{}{}:
	default:
	}
	for subscriber := range b.subscribers {
		(*subscriber)(b.entry(f))
	}
}

// entry returns the entry of an instance, which shares nothing with the facts. It is
// called with the lock held.
func (b *Board) entry(f *facts) Instance {
	in := f.Instance
	for _, h := range b.health {
		if h.about(in.Instance) {
			in.Health = append(in.Health, h.Health)
		}
	}
	in.Error = cmp.Or(f.withheld, f.blocked)
	in.Addresses = append(append([]Address{}, f.loops...), f.gone...) // [] in JSON, never null
	in.Contested, in.Astray, in.Peers = slices.Clone(in.Contested), slices.Clone(in.Astray), slices.Clone(in.Peers)
	return in
}

// Snapshot returns all entries, ordered by instance.
func (b *Board) Snapshot() []Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Instance
	for _, f := range b.known {
		all = append(all, b.entry(f))
	}
	slices.SortFunc(all, func(x, y Instance) int { return strings.Compare(x.Instance, y.Instance) })
	return all
}

// Subscribe has changed called with the entry of an instance after each change of it,
// until stop is called. changed must not block, and must not call the board.
func (b *Board) Subscribe(changed func(Instance)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers[&changed] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subscribers, &changed)
	}
}

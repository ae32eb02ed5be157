package cluster

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/status"
	"berth/vrrp"
)

// Board has the instances of this host. It is a *status.Board.
type Board interface {
	Snapshot() []status.Instance
	Subscribe(changed func(status.Instance)) (stop func())
}

// Member tells the other members of this one. It is an *election.Member, and must run.
type Member interface {
	// TellMember keeps the key of this member below members/ with the value, which is asked
	// for again after changed, until ctx ends.
	TellMember(ctx context.Context, value func() []byte, changed <-chan struct{}) error
}

// Local is what this host knows of itself. Its methods may be called by several goroutines
// at once.
type Local struct {
	LocalOptions
	since   time.Time
	changed chan struct{} // one slot: there is something to tell
	read    chan struct{} // closed by Inherit

	following sync.Mutex // of Follow
	stop      func()     // of the subscription

	mu      sync.Mutex
	entries map[string]*entry // none changes
	former  map[string]former // also of instances that are not on the board now
	moves   []Move            // newest first
	seen    []Move            // what this host saw of its own moves in etcd, newest first
	version int               // of the above
	next    chan struct{}     // closed at the next change
}

// LocalOptions are what does not change in a process.
type LocalOptions struct {
	Member  string // the name of this host's member
	Version string // of berth
	Mode    string // elect or fifo
	// Addresses returns the addresses of an instance, as the configuration names them. It
	// may be nil, and must not block.
	Addresses func(instance string) []string
}

// NewLocal returns what a process knows that begins now.
func NewLocal(o LocalOptions) *Local {
	return &Local{LocalOptions: o, since: time.Now().UTC().Truncate(time.Second), changed: make(chan struct{}, 1), read: make(chan struct{}),
		entries: map[string]*entry{}, former: map[string]former{}, next: make(chan struct{})}
}

// entry is what matters to the cluster of an entry of the board.
type entry struct {
	state     vrrp.State
	since     time.Time
	reason    string
	trouble   string // why a MASTER does not act
	owner     string
	token     int64
	addresses []string
	health    []status.Health
}

// former is the state of an instance before the next change.
type former struct {
	state   vrrp.State
	settled bool   // it was MASTER or BACKUP before
	owner   string // the last that was known
}

// Follow has this host known from a board from now on, in the place of the one before:
// that of the generation in force. Moves and what they follow from stay.
func (l *Local) Follow(b Board) {
	l.following.Lock()
	defer l.following.Unlock()
	if l.stop != nil {
		l.stop() // no call comes after that
	}
	l.mu.Lock()
	l.entries = map[string]*entry{}
	l.mu.Unlock()
	l.stop = b.Subscribe(func(in status.Instance) { l.take(in, true) })
	for _, in := range b.Snapshot() {
		l.take(in, false)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring()
}

// take takes an entry of the board, unless a newer one is there.
func (l *Local) take(in status.Instance, newer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	is := entryOf(in)
	was, known := l.entries[in.Instance]
	if known && (!newer || was.same(&is)) {
		return
	}
	l.note(in.Instance, is)
	l.entries[in.Instance] = &is
	if is.state == vrrp.Deleted {
		delete(l.entries, in.Instance)
		delete(l.former, in.Instance)
	}
	l.ring()
}

func entryOf(in status.Instance) entry {
	e := entry{state: in.State, since: moment(in.Since), reason: in.Reason, trouble: in.Error, owner: in.Owner, token: in.Token, health: in.Health}
	for _, a := range in.Addresses {
		if !a.Suspended {
			e.addresses = append(e.addresses, a.Address)
		}
	}
	return e
}

// same reports whether two entries tell the same.
func (e *entry) same(o *entry) bool {
	return e.state == o.state && e.since.Equal(o.since) && e.reason == o.reason && e.trouble == o.trouble && e.owner == o.owner && e.token == o.token &&
		slices.Equal(e.addresses, o.addresses) && slices.EqualFunc(e.health, o.health, func(a, b status.Health) bool {
		return a.Check == b.Check && a.Healthy == b.Healthy && a.Reason == b.Reason && a.Since.Equal(b.Since)
	})
}

// acts reports whether this host acts as the owner.
func (e *entry) acts() bool { return e.state == vrrp.Master && e.trouble == "" }

// note notes the move that an entry is, if it is one. A candidate is in FAULT until the
// first word of etcd: what it leaves then is no state. It is called with the lock held.
func (l *Local) note(instance string, is entry) {
	was := l.former[instance]
	now := former{state: is.state, settled: was.settled || is.state == vrrp.Master || is.state == vrrp.Backup, owner: cmp.Or(is.owner, was.owner)}
	l.former[instance] = now
	if is.state == was.state {
		if is.state == vrrp.Master && is.token != 0 { // the board learns of it after the state
			l.complete(instance, is.token)
		}
		return
	}
	ended := is.state == vrrp.Stop || is.state == vrrp.Deleted
	if is.state != vrrp.Master && !was.settled || is.state == vrrp.Unknown || ended && was.state != vrrp.Master {
		return
	}
	m := Move{At: is.since, Instance: instance, Member: l.Member, State: moveState(is.state), Reason: clean(is.reason, maxReason)}
	if m.At.IsZero() {
		m.At = moment(time.Now())
	}
	if is.state == vrrp.Master && was.owner != l.Member {
		m.From = was.owner
	}
	l.moves = slices.Insert(l.moves, 0, m)
	l.moves = l.moves[:min(len(l.moves), maxTold)]
}

// complete puts the token into the newest move of an instance.
func (l *Local) complete(instance string, token int64) {
	i := slices.IndexFunc(l.moves, func(m Move) bool { return m.Instance == instance })
	if i >= 0 && l.moves[i].State == vrrp.Master.String() {
		l.moves[i].Token = token
	}
}

// moveState is the word for a state in a move: what has ended is BACKUP.
func moveState(s vrrp.State) string {
	switch s {
	case vrrp.Master, vrrp.Fault:
		return s.String()
	}
	return vrrp.Backup.String()
}

// ring tells that something has changed. It is called with the lock held.
func (l *Local) ring() {
	l.version++
	close(l.next)
	l.next = make(chan struct{})
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Inherit takes the moves that the process before this one has told, and lets Tell begin,
// which replaces them. The first call counts.
func (l *Local) Inherit(moves []Move) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.read:
		return
	default:
	}
	close(l.read)
	l.moves = append(l.moves, moves...)
	l.moves = l.moves[:min(len(l.moves), maxTold)]
	l.ring()
}

// Explain takes what this host saw in etcd of one of its moves: from whom, and why.
func (l *Local) Explain(m Move) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = slices.Insert(l.seen, 0, m)
	l.seen = l.seen[:min(len(l.seen), maxTold)]
	l.ring()
}

// Tell tells the other members of this one until ctx ends, and returns the cause. It begins
// after Inherit was called.
func (l *Local) Tell(ctx context.Context, m Member) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.read:
	}
	return m.TellMember(ctx, func() []byte { return l.told().value() }, l.changed)
}

// state returns which change of the facts was the last, and a channel that is closed at
// the next.
func (l *Local) state() (version int, next <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version, l.next
}

// facts returns what is known, as of a version.
func (l *Local) facts() (entries map[string]*entry, moves []Move, version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries), explained(l.moves, l.seen), l.version
}

// told returns what this member tells.
func (l *Local) told() Told {
	entries, moves, _ := l.facts()
	t := Told{Version: l.Version, Since: l.since, Mode: l.Mode, State: Able, Health: []HealthView{}, Instances: []ToldInstance{}, Moves: moves}
	t.Reason, t.State = l.ability(entries)
	seen, owned, faulty := map[string]bool{}, []string{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		for _, h := range e.health {
			if !seen[h.Check] {
				seen[h.Check] = true
				t.Health = append(t.Health, HealthView{h.Check, h.Healthy, h.Reason, h.Since})
			}
		}
		switch e.state {
		case vrrp.Master:
			owned = append(owned, name)
		case vrrp.Fault:
			faulty = append(faulty, name)
		}
	}
	told := append(owned, faulty...) // others know of the addresses of an owner from here alone
	t.More = max(0, len(told)-maxInstances)
	for _, name := range told[:min(len(told), maxInstances)] {
		t.Instances = append(t.Instances, l.toldInstance(name, entries[name]))
	}
	t.tidy()
	return t
}

func (l *Local) toldInstance(name string, e *entry) ToldInstance {
	in := ToldInstance{Instance: name, State: moveState(e.state), Since: e.since, Addresses: slices.Clone(l.addressesOf(name, e)), Reason: e.trouble}
	if e.state == vrrp.Fault {
		in.Reason = cmp.Or(e.trouble, e.reason)
	}
	return in
}

// addressesOf returns the addresses of an instance: those that it has, and else those that
// it is to have.
func (l *Local) addressesOf(name string, e *entry) []string {
	if l.Addresses != nil {
		if named := l.Addresses(name); len(named) > 0 {
			return named
		}
	}
	if len(e.addresses) == 0 {
		if a, err := netip.ParseAddr(name); err == nil { // an added address is called by itself
			return []string{netip.PrefixFrom(a, a.BitLen()).String()}
		}
	}
	return e.addresses
}

// ability returns whether this host can own its instances, and why not all of them.
func (l *Local) ability(entries map[string]*entry) (reason, state string) {
	var unable []string
	for name, e := range entries {
		if e.state == vrrp.Fault {
			unable = append(unable, name)
		}
	}
	if len(unable) == 0 {
		return "", Able
	}
	first := slices.Min(unable)
	why := cmp.Or(entries[first].trouble, entries[first].reason)
	if len(unable) == len(entries) {
		return why, NotAble
	}
	return "not for " + strings.Join(abbreviate(unable, 3), ", ") + ": " + why, Able
}

// abbreviate returns the first names in order, and how many more there are.
func abbreviate(names []string, n int) []string {
	slices.Sort(names)
	if len(names) > n {
		return append(slices.Clone(names[:n]), "and "+strconv.Itoa(len(names)-n)+" more")
	}
	return names
}

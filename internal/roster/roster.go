package roster

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/heartbeat"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/record"
	"berth/internal/run"
	"berth/providers"

	"go.uber.org/zap"
)

// Host is a peer of the configuration: an address or a name, and a port.
type Host struct {
	Host string
	Port uint16
}

// Names looks host names up; *names.Resolver does.
type Names interface {
	// Former returns the last good answer for a name, empty if there was none.
	Former(name string) []netip.Addr
	// Addresses looks a name up and returns its addresses: those of the last good answer if
	// the look-up fails, and an error only if there is none.
	Addresses(ctx context.Context, name string) ([]netip.Addr, error)
}

// Node sends and takes heartbeats; *heartbeat.Node does.
type Node interface {
	SetPeers([]heartbeat.Peer)
	SetID(heartbeat.ID)
	Peers() []heartbeat.PeerState
	Watch(changed func()) (stop func())
	Unknown() <-chan struct{}
}

// Options say where the peers come from, and to whom they are told.
type Options struct {
	Hosts []Host // the peers, unless Group is set
	// Group returns the servers of the group, this one included. It is nil where the peers
	// are Hosts.
	Group func(ctx context.Context) ([]providers.Member, error)
	Port  uint16 // at which the servers of the group listen
	// Listen is the address of this host at which heartbeats arrive: peers of its family
	// count. The unspecified address takes both families.
	Listen netip.Addr
	Names  Names
	Node   Node
	// Self returns this host as the provider knows it; nil where there is no provider.
	Self func(ctx context.Context) (providers.Server, error)
	// Tell takes the ids of the other servers that may have an address beside this host.
	Tell func(ids []string)
	// Known, which may be nil, is set while each peer is known, or the group was read, by
	// this process or by the one before it; from then on it stays set. Before, this host
	// cannot tell that no peer lives. Peers that become known after the start must be heard
	// for HoldOff first.
	Known   *condition.Value
	HoldOff time.Duration
	// Memory is the file that has the group for the next process; "" for none.
	Memory  string
	Timeout time.Duration    // of a call to the provider
	Journal *journal.Journal // must not be nil
}

// Roster knows the peers. Use New.
type Roster struct {
	o        Options
	memory   *record.File
	lost     map[Host]*journal.Condition // of the names; not changed after New
	settling *time.Timer                 // until Known is set; belongs to look

	mu       sync.Mutex            // guards all below
	names    map[Host][]netip.Addr // what each of Hosts is
	absent   map[Host]bool         // the names that do not exist, as the newest answer says
	group    map[string]*member    // by id of the server
	answered bool                  // the group was read, by this process or the one before it
	told     []heartbeat.Peer      // what the node was told last
	ids      []string              // what the provider was told last
}

// member is a server of the group.
type member struct {
	heartbeat.Peer
	missed int // readings in a row that lack it
}

const (
	period  = time.Minute      // between two look-ups
	spacing = 10 * time.Second // at the least
	// forgotten is how many readings in a row must lack a server before it is no peer.
	forgotten = 3

	firstWait  = time.Second // after a look-up that failed
	multiplier = 1.5         // of these waits, up to period

	// unidentifiedAfter is how long the provider may take to tell the id of this host.
	unidentifiedAfter = 30 * time.Second
)

// New returns a roster, and tells the node the peers that need no look-up, and those that
// the process before this one knew.
func New(o Options) *Roster {
	r := &Roster{o: o, names: map[Host][]netip.Addr{}, absent: map[Host]bool{}, group: map[string]*member{}, lost: map[Host]*journal.Condition{},
		memory: record.New(o.Memory, memoryUnwritten, o.Journal)}
	for _, h := range o.Hosts {
		if a, err := netip.ParseAddr(h.Host); err == nil {
			r.names[h] = []netip.Addr{a.Unmap()}
		} else {
			r.lost[h] = o.Journal.With(zap.String("peer", h.Host)).Condition()
			if found := r.usable(o.Names.Former(h.Host)); len(found) > 0 {
				r.names[h] = found
			}
		}
	}
	if o.Group != nil {
		r.recall()
	}
	r.tellNode()
	if o.Known != nil {
		why := r.missing()
		o.Known.Set(why == "", why)
	}
	return r
}

// Run looks up the peers and the id of this host, and tells what it finds, until ctx ends.
// It returns the cause.
func (r *Roster) Run(ctx context.Context) error {
	tasks := []run.Task{{Name: "ids", Run: r.tellProvider}}
	if r.o.Self != nil {
		tasks = append(tasks, run.Task{Name: "self", Run: r.identify})
	}
	if r.o.Group != nil || len(r.lost) > 0 {
		tasks = append(tasks, run.Task{Name: "peers", Run: r.look}, run.Task{Name: "memory", Run: r.memory.Run})
	}
	_ = run.All(ctx, tasks...) // they end with ctx alone, or are done
	<-ctx.Done()
	return context.Cause(ctx)
}

// look finds the peers, again and again.
func (r *Roster) look(ctx context.Context) error {
	reading, lonely := r.o.Journal.Condition(), r.o.Journal.Condition()
	defer reading.Drop()
	defer lonely.Drop()
	defer r.drop()
	if r.o.Known != nil {
		if known, _ := r.o.Known.State(); known {
			r.settling = time.NewTimer(0) // by the process before this one
		}
	}
	defer func() {
		if r.settling != nil {
			r.settling.Stop()
		}
	}()
	wait := firstWait
	for {
		begun := time.Now()
		ok := false
		if r.o.Group != nil {
			ok = r.readGroup(ctx, reading, lonely)
		} else {
			ok = r.resolve(ctx)
		}
		r.learned()
		next := period
		if ok {
			wait = firstWait
		} else {
			next = min(wait, period)
			wait = min(time.Duration(float64(wait)*multiplier), period)
		}
		due := time.NewTimer(next)
		unknown := r.o.Node.Unknown()
	waiting:
		for {
			select {
			case <-ctx.Done():
				due.Stop()
				return context.Cause(ctx)
			case <-due.C:
				break waiting
			case <-unknown:
				unknown = nil // one look-up serves all of them
				if soon := begun.Add(spacing); time.Until(soon) < next {
					due.Reset(max(time.Until(soon), 0))
				}
			}
		}
	}
}

func (r *Roster) drop() {
	for _, c := range r.lost {
		c.Drop()
	}
}

// resolve looks up all names at the same time, and reports whether each has an address.
func (r *Roster) resolve(ctx context.Context) bool {
	var looking sync.WaitGroup
	for h, lost := range r.lost {
		looking.Go(func() {
			found, err := r.o.Names.Addresses(ctx, h.Host)
			if ctx.Err() != nil {
				return
			}
			if err == nil && len(r.usable(found)) == 0 {
				err = errFamily
			}
			r.mu.Lock()
			r.absent[h] = answeredNo(err)
			r.mu.Unlock()
			if err != nil {
				lost.Fail(unresolved, err)
				return
			}
			lost.Clear(zap.Stringers("addresses", found))
			r.named(h, found)
		})
	}
	looking.Wait()
	for h := range r.lost {
		if !r.knows(h) {
			return false
		}
	}
	return true
}

// knows reports whether a name has an address.
func (r *Roster) knows(h Host) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.names[h]) > 0
}

// errFamily says that a name has addresses, and none that can be reached from the address
// at which this host listens.
var errFamily = errors.New("the name has no address of the family of heartbeat.listen")

// named takes the addresses of a name.
func (r *Roster) named(h Host, found []netip.Addr) {
	found = r.usable(found)
	if len(found) == 0 {
		return
	}
	r.mu.Lock()
	r.names[h] = found
	r.mu.Unlock()
	r.tellNode()
}

// usable returns the addresses that this host can reach: all of IPv4, or, without one, all
// of IPv6. A host with both is one peer.
func (r *Roster) usable(all []netip.Addr) []netip.Addr {
	var four, six []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	listen := r.o.Listen.Unmap()
	either := !listen.IsValid() || listen.IsUnspecified()
	switch {
	case either && len(four) > 0, !either && listen.Is4():
		return four
	}
	return six
}

// readGroup reads the group, and reports whether that succeeded.
func (r *Roster) readGroup(ctx context.Context, reading, lonely *journal.Condition) bool {
	call, cancel := context.WithTimeout(ctx, r.o.Timeout)
	members, err := r.o.Group(call)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		reading.Fail(groupUnread, err)
		return false
	}
	reading.Clear()
	r.mu.Lock()
	for _, m := range r.group {
		m.missed++
	}
	r.answered = true
	others := 0
	for _, m := range members {
		found := r.usable(m.Addresses)
		if m.Self || len(found) == 0 {
			continue
		}
		others++
		r.group[m.ID] = &member{Peer: heartbeat.Peer{Addr: netip.AddrPortFrom(found[0], r.o.Port), Name: cmp.Or(m.Name, m.ID)}}
	}
	for id, m := range r.group {
		if m.missed >= forgotten {
			delete(r.group, id)
		}
	}
	r.mu.Unlock()
	if others == 0 {
		lonely.Fail(alone, errAlone)
	} else {
		lonely.Clear()
	}
	r.tellNode()
	r.tellIDs()
	r.remember()
	return true
}

// errAlone says that the group has no other server.
var errAlone = errors.New("the group has no other running server with an address")

// tellNode tells the node its peers, if they have changed.
func (r *Roster) tellNode() {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []heartbeat.Peer{}
	for h, found := range r.names {
		for _, a := range found {
			p := heartbeat.Peer{Addr: netip.AddrPortFrom(a, h.Port), Name: h.Host}
			if len(found) > 1 {
				p.Name += " (" + a.String() + ")"
			}
			all = append(all, p)
		}
	}
	for _, m := range r.group {
		all = append(all, m.Peer)
	}
	slices.SortFunc(all, func(a, b heartbeat.Peer) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Name, b.Name))
	})
	if r.told != nil && slices.Equal(all, r.told) {
		return
	}
	if len(all) > 0 || r.told != nil {
		var texts []string
		for _, p := range all {
			text := p.Addr.String()
			if p.Name != p.Addr.Addr().String() {
				text = p.Name + " at " + text
			}
			texts = append(texts, text)
		}
		r.o.Journal.Tell(changed, zap.Strings("peers", texts))
	}
	r.told = all
	r.o.Node.SetPeers(all)
}

// tellProvider tells the provider the ids of the other servers whenever a peer tells
// another one.
func (r *Roster) tellProvider(ctx context.Context) error {
	heard := make(chan struct{}, 1)
	defer r.o.Node.Watch(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})()
	for {
		r.tellIDs()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-heard:
		}
	}
}

// tellIDs tells the provider the ids that the peers have told, and those of the group, if
// they have changed. The id of a peer that is silent still counts: a dead server keeps the
// addresses that it had.
func (r *Roster) tellIDs() {
	var ids []string
	for _, p := range r.o.Node.Peers() {
		if !p.Heard.IsZero() && !p.Self {
			ids = append(ids, p.ID.String())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.group {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if r.o.Tell == nil || slices.Equal(ids, r.ids) {
		return
	}
	r.ids = ids
	r.o.Tell(ids)
}

// identify asks the provider which server this host is until it tells.
func (r *Roster) identify(ctx context.Context) error {
	failing := r.o.Journal.Condition()
	defer failing.Drop()
	for wait := firstWait; ; wait = min(time.Duration(float64(wait)*multiplier), period) {
		call, cancel := context.WithTimeout(ctx, r.o.Timeout)
		self, err := r.o.Self(call)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && self.ID != "":
			r.o.Node.SetID(heartbeat.IDOf(self.ID))
			failing.Clear(zap.String("server", self.ID))
			return nil
		case errors.Is(err, errors.ErrUnsupported):
			return nil // there is none to tell
		}
		failing.Fail(unidentified, cmp.Or(err, errNoID))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// errNoID says that the provider has answered without an id.
var errNoID = errors.New("the provider tells no id of this host")

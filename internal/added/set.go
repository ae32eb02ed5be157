package added

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"time"

	"berth/election"
	"berth/health"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/record"
	"berth/internal/run"
	"berth/internal/status"
	"berth/ips"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Member takes part in elections through etcd. It is an *election.Member, and must run.
type Member interface {
	// Added returns the keys of this member at one revision, whether everything was read,
	// and a channel that is closed at their next change.
	Added() (keys election.AddedKeys, known bool, changed <-chan struct{})
	// Acknowledged reports whether etcd acknowledges the lease of this member.
	Acknowledged() bool
}

// Etcd changes keys. It is an *election.Etcd.
type Etcd interface {
	Swap(ctx context.Context, key string, was int64, value []byte) (revision int64, done bool, err error)
}

// Decider has the campaigns of the member. It is an owner.Decider.
type Decider interface {
	Owner(instance string) (name string, other, ok bool)
	Campaign(ctx context.Context, c election.Campaign, holding func(ctx context.Context, token int64, g owner.Grant) error) error
}

// Status is where the set tells its states. It is a *status.Board.
type Status interface {
	owner.Status
	Addresses(instance string, addresses []status.Address)
	Health(instances []string, is status.Health)
	DropHealth(check string)
	Forget(instance string)
	Tidy(stale func(instance string) bool)
}

// Options are what a member needs to serve the addresses that are added to it.
type Options struct {
	Name    string // of this member
	Prefix  string // of the elections, ends in a slash
	Member  Member
	Etcd    Etcd
	Decider Decider
	// Interface gets the addresses.
	Interface owner.Manager
	// Able are conditions beside the interface, such as health checks of the host: this host
	// is a candidate while all of them hold.
	Able []condition.Condition
	// Alone lets this host be the owner of an address without etcd, see election.Campaign.
	Alone bool
	// Taken says for which addresses another part of the configuration is responsible, and
	// which part; this host does not serve them as added ones.
	Taken map[netip.Addr]string
	// Check returns the health check of a host and port; nil stands for a connection.
	Check func(target string) health.Check
	// Loop makes the loop that points an address here, as that of an owner. It is nil
	// without a provider.
	Loop func(instance string, ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop
	// Addresses forms what the loops report of the addresses for the status.
	Addresses func([]refresher.Report) []status.Address
	// Takeover and Release ask for hand-overs of an instance, as those of package election
	// do for this member.
	Takeover, Release func(ctx context.Context, instance string) error
	Timeout           time.Duration // of a request of the service
	Status            Status
	Lease             string           // the file with the lease, for people
	Record            string           // the path of the file of the last list, "" for none
	Metrics           *Metrics         // may be nil
	Journal           *journal.Journal // nil tells nothing
}

// Set is the addresses that are added to this member, as an ips.Service. Use it for one
// Run.
type Set struct {
	Options
	record  *record.File
	wake    chan struct{}  // one slot: look again
	rewrite chan struct{}  // one slot: etcd has not the list
	running sync.WaitGroup // campaigns and health checks

	lost, refused *journal.Condition

	// The task that follows the keys alone uses these.
	managed *owner.Managed
	told    map[stray]bool // strays about which a line was logged

	mu       sync.Mutex // guards what follows
	seen     election.AddedKeys
	known    bool // etcd has told the keys
	book     book
	all      map[netip.Addr]*address // also those that are being given up
	checks   checkers
	adding   int           // calls of Add that have not come to the list
	followed chan struct{} // closed after the set has acted on what is new
}

var _ ips.Service = (*Set)(nil)

// New returns the set. It starts nothing.
func New(o Options) *Set {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	if o.Check == nil {
		o.Check = func(target string) health.Check { return health.TCP{Address: target}.Check }
	}
	s := &Set{Options: o, record: record.New(o.Record, listUnwritable, o.Journal), wake: make(chan struct{}, 1), rewrite: make(chan struct{}, 1),
		lost: o.Journal.Condition(), refused: o.Journal.Condition(), managed: owner.NewManaged(o.Interface, addressesUnusable, o.Journal),
		told: map[stray]bool{}, all: map[netip.Addr]*address{}, followed: make(chan struct{})}
	s.checks = checkers{s: s, running: map[probe]*checker{}}
	o.Metrics.begin()
	return s
}

// Presume has the health checks with these names begin as healthy ones: the process before
// this one found them so a moment ago. It is called before Prepare.
func (s *Set) Presume(names []string) { s.checks.presume = names }

// Waiting is that of owner.Set. There is no address before the list is known.
func (s *Set) Waiting(string) {}

// Prepare makes the interface ready for the addresses, and reports which of them this
// process owns, as etcd tells.
func (s *Set) Prepare() (owns func(netip.Prefix) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book = s.readRecord()
	if keys, known, _ := s.Member.Added(); known {
		s.book.follow(keys)
	}
	s.manage()
	if s.book.known {
		listed := maps.Clone(s.book.list)
		s.Status.Tidy(func(instance string) bool {
			a, err := netip.ParseAddr(instance)
			_, there := listed[a]
			return err == nil && !there && s.Taken[a] == ""
		})
	}
	return func(p netip.Prefix) bool {
		_, other, known := s.Decider.Owner(p.Addr().String())
		return s.managed.Has(p) && known && !other
	}
}

// Run serves the addresses until ctx ends, and returns the cause after the last of them is
// given up. Prepare must have been called.
func (s *Set) Run(ctx context.Context) error {
	defer s.lost.Drop()
	defer s.refused.Drop()
	defer s.managed.Drop()
	return run.All(ctx,
		run.Task{Name: "added addresses", Run: s.serve},
		run.Task{Name: "list of added addresses", Run: s.restore},
		run.Task{Name: "record of added addresses", Run: s.record.Run})
}

// serve acts on the keys, at each change.
func (s *Set) serve(ctx context.Context) error {
	able, stop := condition.Signal(condition.All(append(s.Able, s.Interface)...))
	defer stop()
	for {
		keys, known, changed := s.Member.Added()
		s.follow(ctx, keys, known)
		var due <-chan time.Time
		if at := s.managed.Retry(); !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			s.running.Wait()
			return context.Cause(ctx)
		case <-changed:
		case <-able:
		case <-s.wake:
		case <-due:
		}
	}
}

// wakeUp has serve look again. It never blocks.
func (s *Set) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// change changes with the lock held what the lock guards, and wakes serve up.
func (s *Set) change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.wakeUp()
}

// follow takes the keys and carries out what follows from them.
func (s *Set) follow(ctx context.Context, keys election.AddedKeys, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known && (!s.known || keys.Revision != s.seen.Revision || keys.Era != s.seen.Era) {
		s.learn(keys)
	}
	if s.managed.Due() {
		s.manage()
	}
	s.steer(ctx)
	close(s.followed)
	s.followed = make(chan struct{})
}

// learn takes the keys of a revision, and tells what is new. It is called with the lock
// held.
func (s *Set) learn(keys election.AddedKeys) {
	former, stood := s.book.list, s.book.stands
	first := !s.known
	s.book.follow(keys)
	s.seen, s.known = keys, true
	gained, lost := 0, 0
	for a, e := range s.book.list {
		if f, there := former[a]; !there || !f.same(e) {
			gained++
		}
	}
	for a := range former {
		if _, there := s.book.list[a]; !there {
			lost++
		}
	}
	if gained+lost > 0 {
		s.Journal.Tell(listChanged, zap.Int("new", gained), zap.Int("removed", lost), zap.Int("addresses", len(s.book.list)))
	}
	if gained+lost > 0 || first || stood != s.book.stands {
		s.putRecord()
	}
	if s.book.stands {
		s.lost.Fail(listLost, errLost, zap.Int("addresses", len(s.book.list)))
		select {
		case s.rewrite <- struct{}{}:
		default:
		}
	} else {
		s.lost.Clear()
	}
	s.tellStrays()
	s.manage()
}

var errLost = errors.New("etcd was restored, wiped, or replaced by another cluster")

// tellStrays logs once each key and value that has no effect, and each address that is not
// served here. It is called with the lock held.
func (s *Set) tellStrays() {
	now := map[stray]bool{}
	tell := func(st stray, log func()) {
		if now[st] = true; !s.told[st] {
			log()
		}
	}
	for _, st := range s.book.odd {
		tell(st, func() { s.Journal.Tell(keyForeign, zap.String("key", st.key), zap.String("reason", st.reason)) })
	}
	for _, a := range s.book.sorted() {
		if by := s.Taken[a]; by != "" {
			tell(stray{a.String(), by}, func() {
				s.Journal.Tell(addressTaken, zap.Stringer("address", a), zap.String("reason", "it stands in "+by))
			})
		}
	}
	s.told = now
}

// manage makes the interface ready for the addresses of the list. It is called with the
// lock held.
func (s *Set) manage() {
	var all []netip.Prefix
	for _, a := range s.book.sorted() {
		if s.Taken[a] == "" {
			all = append(all, s.book.list[a].ip.Prefix)
		}
	}
	s.managed.Set(all)
}

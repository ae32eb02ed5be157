package pool

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/run"
	"berth/internal/status"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Member takes part in the pool through etcd. It is an *election.Member, and must run.
type Member interface {
	// Pool returns the keys of the pool at one revision, whether everything was read, and
	// a channel that is closed at the next change.
	Pool() (keys election.PoolKeys, known bool, changed <-chan struct{})
	// Present keeps the key of this member below nodes/ with the value, which is asked for
	// again after changed, until ctx ends.
	Present(ctx context.Context, value func() []byte, changed <-chan struct{}) error
	// Acknowledged reports whether etcd acknowledges the lease of this member.
	Acknowledged() bool
}

// Decider has the campaigns of the member. It is what owner.Elections returns for the
// member.
type Decider interface {
	// Campaign is that of an owner.Decider; c.Pool is set.
	Campaign(ctx context.Context, c election.Campaign, holding func(ctx context.Context, token int64, g owner.Grant) error) error
}

// Status is where the pool tells its state. It is a *status.Board.
type Status interface {
	State(instance string, s status.State)
	Ownership(instance string, o status.Ownership)
	Addresses(instance string, addresses []status.Address)
}

// Options are a pool and what this member needs to serve its addresses.
type Options struct {
	Instance string // the name of the pool in status and log
	Name     string // of this member
	Weight   int    // among the others, 1 at the least
	Member   Member
	Decider  Decider
	// Interface gets the addresses. It is nil where they are pointed at this host and bound
	// by other means.
	Interface owner.Manager
	// Able are conditions beside the interface, such as health checks: this host takes part
	// while all of them hold.
	Able []condition.Condition
	// Alone has this host claim every address when etcd has not answered for longer than
	// the lease.
	Alone bool
	// Taken says for which addresses another part of the configuration is responsible, and
	// which part; this host does not serve them for the pool.
	Taken map[netip.Addr]string
	// Loop makes the loop that points an address here, as that of an owner. It is nil
	// without a provider.
	Loop func(ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop
	// Addresses forms what the loops report of the addresses for the status.
	Addresses func([]refresher.Report) []status.Address
	Status    Status
	Lease     string           // the file with the lease, for people
	Record    string           // the path of the file of the last list, "" for none
	Metrics   *Metrics         // may be nil
	Journal   *journal.Journal // nil tells nothing
}

// Pool is this member in the pool. Use it for one Run.
type Pool struct {
	Options
	plain  *journal.Journal // without the name of the pool
	able   condition.Condition
	awake  *condition.Value // this member is known not to be drained
	record *recordFile

	wake    chan struct{} // one slot: look again
	revalue chan struct{} // one slot: the value of the key below nodes/ has changed

	unable, lost *journal.Condition

	// The task that carries the assignment out alone uses these.
	book    book
	told    map[string]bool // keys and addresses about which a line was logged
	managed *owner.Managed
	drained bool // as etcd told last while it had the list
	seen    situation
	shown   told

	running sync.WaitGroup // the campaigns

	mu        sync.Mutex
	own       node // the value of the key of this member below nodes/
	campaigns map[netip.Addr]*campaign
	views     views
	failed    map[netip.Addr]failure // what this member had and could not serve
	// failedAnew says that an address has failed since retryFailed was called.
	failedAnew bool
}

// failure is why and when this member could not serve an address, and until when it leaves
// the address to others.
type failure struct {
	reason    string
	at, until time.Time
}

// over returns when the failure does not count any more.
func (f failure) over() time.Time {
	if f.until.IsZero() {
		return f.at.Add(owner.ManageAgain)
	}
	return f.until
}

// New returns the pool. It starts nothing.
func New(o Options) *Pool {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	p := &Pool{Options: o, plain: o.Journal, awake: &condition.Value{}, own: node{Member: o.Name, Weight: o.Weight, Since: time.Now().UTC()},
		wake: make(chan struct{}, 1), revalue: make(chan struct{}, 1),
		told: map[string]bool{}, campaigns: map[netip.Addr]*campaign{}, views: views{next: make(chan struct{})}, failed: map[netip.Addr]failure{}}
	p.Journal = o.Journal.With(zap.String("instance", o.Instance))
	p.unable, p.lost = p.Journal.Condition(), p.Journal.Condition()
	p.managed = owner.NewManaged(o.Interface, addressesUnusable, p.Journal)
	p.record = newRecord(o.Record, p.Journal)
	p.awake.Set(false, waiting)
	able := append(slices.Clone(o.Able), p.awake)
	if o.Interface != nil {
		able = append(able, o.Interface)
	}
	p.able = condition.All(able...)
	return p
}

// waiting is the reason until the keys of the pool are known.
const waiting = "waiting for etcd"

// Waiting tells that the member has not begun, and why.
func (p *Pool) Waiting(reason string) {
	p.Status.State(p.Instance, status.State{State: vrrp.Fault, Reason: reason})
	p.Status.Ownership(p.Instance, status.Ownership{Withheld: reason, Lease: p.Lease})
}

// Prepare makes the interface ready for the addresses, and reports which of them this
// process has, as etcd tells.
func (p *Pool) Prepare() (owns func(netip.Prefix) bool) {
	var drained bool
	p.book, drained = p.record.read()
	p.drained = drained
	keys, known, _ := p.Member.Pool()
	switch {
	case known:
		p.book.follow(keys.IPs, keys.Era)
	case p.Alone: // etcd cannot be reached, and what this host knew last counts
		p.wakeMember(drained)
	}
	p.manage()
	own := map[netip.Addr]bool{}
	for text, h := range keys.Held {
		if a, err := netip.ParseAddr(text); err == nil && h.Own {
			own[a] = true
		}
	}
	return func(b netip.Prefix) bool { return own[b.Addr()] && p.managed.Has(b) }
}

// wakeMember has this member take part, unless it is drained.
func (p *Pool) wakeMember(drained bool) {
	p.awake.Set(!drained, "this member is drained (berth pool drain --undo ends that)")
}

// Run serves the addresses that are assigned to this member until ctx ends, and returns
// the cause after the last of them is given up. Prepare must have been called.
func (p *Pool) Run(ctx context.Context) error {
	defer p.unable.Drop()
	defer p.lost.Drop()
	defer p.managed.Drop()
	return run.All(ctx,
		run.Task{Name: "assignment", Run: p.assign},
		run.Task{Name: "presence", Run: p.present},
		run.Task{Name: "record", Run: p.record.Run})
}

// assign carries out the assignment, at each change of it.
func (p *Pool) assign(ctx context.Context) error {
	able, stop := condition.Signal(p.able)
	defer stop()
	for {
		keys, known, changed := p.Member.Pool()
		p.follow(ctx, keys, known)
		p.tell()
		var due <-chan time.Time
		if at := p.next(); !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			p.running.Wait() // for what the campaigns tell in the end
			p.tell()
			return context.Cause(ctx)
		case <-changed:
		case <-able:
		case <-p.wake:
		case <-due:
		}
	}
}

// wakeUp has assign look again. It never blocks.
func (p *Pool) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// present keeps the key of this member below nodes/ while this host is able.
func (p *Pool) present(ctx context.Context) error {
	changed, stop := condition.Signal(p.able)
	defer stop()
	for {
		if holds, reason := p.able.State(); holds {
			if err := p.presentWhileAble(ctx, changed); err != nil {
				return err
			}
			continue
		} else if reason != waiting {
			p.unable.Fail(memberUnable, errors.New(reason))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// presentWhileAble returns nil after the key is gone because this host is not able any
// more.
func (p *Pool) presentWhileAble(ctx context.Context, changed <-chan struct{}) error {
	p.unable.Clear()
	on, end := context.WithCancelCause(ctx)
	defer end(nil)
	done := make(chan error, 1)
	go func() { done <- p.Member.Present(on, p.value, p.revalue) }()
	for {
		select {
		case err := <-done:
			return err
		case <-changed:
		}
		if holds, reason := p.able.State(); !holds {
			end(&election.UnableError{Reason: reason})
			<-done
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil
		}
	}
}

// value is that of the key of this member below nodes/.
func (p *Pool) value() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own.encode()
}

package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/internal/journal"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Session keeps one lease alive, and gets another when that is lost. Use it for
// one Run.
type Session struct {
	Etcd *Etcd
	TTL  time.Duration // whole seconds
	// Adopt is a lease of a predecessor on this host that is taken over if it
	// still lives; 0 for none.
	Adopt clientv3.LeaseID
	// Retain lets a term go on beyond its end for as long as etcd does not answer
	// at all. It ends when etcd says that the lease is gone.
	Retain bool
	// Leased, which may be nil, is told of each lease before it is used.
	Leased func(clientv3.LeaseID)
	// Renewed, which may be nil, is told when the end of the term has moved. It
	// must not block.
	Renewed func()
	Metrics *Metrics         // may be nil
	Journal *journal.Journal // nil tells nothing

	// outage is why etcd does not acknowledge a lease.
	outage *journal.Condition
	// refused is set once etcd has refused a lease, until it acknowledges one. Only obtain
	// uses it.
	refused bool

	mu       sync.Mutex
	term     *Term              // nil while there is none
	started  time.Time          // when Run was called
	answered time.Time          // when etcd last acknowledged a lease, so that it moved the end of a term
	failure  error              // of the last attempt that etcd did not acknowledge
	past     []clientv3.LeaseID // leases that are or were this session's
	changed  chan struct{}
}

// state returns the term that stands, nil if none does, when etcd last acknowledged a
// lease, and a channel that is closed at the next change of the term or of whether it is
// retained.
func (s *Session) state() (*Term, time.Time, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.term, s.answered, s.changed
}

func (s *Session) publish(t *Term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = t
	if t != nil && !slices.Contains(s.past, t.Lease) {
		s.past = append(s.past, t.Lease)
		s.past = s.past[max(0, len(s.past)-maxPast):]
	}
	s.ring()
}

// whileRenewed returns a context that ends when etcd has acknowledged no lease for d, and
// not sooner than d from now. Call cancel, which waits for what watches over it.
func (s *Session) whileRenewed(ctx context.Context, d time.Duration) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for wait := d; wait > 0; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			_, answered, _ := s.state()
			wait = d - time.Since(answered)
		}
		end(ErrNoAnswer)
	})
	return ctx, func() {
		end(nil)
		watching.Wait()
	}
}

// ring is called with the lock held.
func (s *Session) ring() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// begin notes that the time without an answer of etcd counts from now.
func (s *Session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = time.Now()
	s.answered = s.started
}

// begun returns when begin was called.
func (s *Session) begun() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// failed notes why etcd has not acknowledged the lease.
func (s *Session) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// unserved returns the error that etcd has acknowledged no lease for that long.
func (s *Session) unserved(d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return fmt.Errorf("etcd has acknowledged no lease for %v", d)
	}
	return fmt.Errorf("etcd has acknowledged no lease for %v: %w", d, s.failure)
}

// had reports whether a lease is or was this session's.
func (s *Session) had(lease clientv3.LeaseID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lease != 0 && (lease == s.Adopt || slices.Contains(s.past, lease))
}

// maxPast bounds how many leases are remembered: a lease that is long gone is in no
// queue.
const maxPast = 100

// acknowledged notes that etcd has just acknowledged a lease.
func (s *Session) acknowledged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = time.Now()
}

// Lease returns the lease in use, 0 if there is none.
func (s *Session) Lease() clientv3.LeaseID {
	if t, _, _ := s.state(); t != nil {
		return t.Lease
	}
	return 0
}

// revokeTime bounds the revocation of the lease.
const revokeTime = time.Second

// Run keeps a lease until ctx ends; then it revokes the lease, unless the
// cause is ErrLeave, and returns the cause. Whatever the lease protects must
// have ended by then.
func (s *Session) Run(ctx context.Context) error {
	if s.Journal == nil {
		s.Journal = journal.New(nil)
	}
	s.outage = s.Journal.Condition()
	defer s.outage.Drop()
	lease := s.Adopt
	for {
		first, err := s.obtain(ctx, lease)
		if err != nil {
			break
		}
		if lease = first.lease; lease == s.Adopt && first.ttl != s.TTL {
			s.Journal.Tell(leaseDiffers, zap.Duration("ttl", first.ttl), zap.Duration("configured", s.TTL))
		}
		t := &Term{Lease: lease, era: first.era, begun: time.Now(), sent: first.sent, boot: first.boot, ttl: first.ttl, acknowledged: first.sent}
		t.ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		if s.Leased != nil {
			s.Leased(lease)
		}
		s.publish(t)
		s.Metrics.lease(true)
		s.renewed()
		err = s.maintain(ctx, t)
		s.Metrics.lease(false)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrHistory) {
			// In the present history it protects nothing, if it is there at all.
			lease = 0
			continue
		}
		s.Journal.Tell(leaseEnded, zap.NamedError("reason", err))
	}
	cause := context.Cause(ctx)
	if lease != 0 && !errors.Is(cause, ErrLeave) {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
		defer cancel()
		_, err := call(end, s.Etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
			return c.Revoke(ctx, lease)
		})
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			s.Journal.Tell(leaseUnrevoked, zap.Error(err))
		}
	}
	return cause
}

func (s *Session) renewed() {
	if s.Renewed != nil {
		s.Renewed()
	}
}

package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Session keeps one lease alive, and gets another when it is lost. Use it for
// one Run.
type Session struct {
	Etcd *Etcd
	TTL  time.Duration // whole seconds
	// Adopt is a lease of a predecessor on this host that is taken over if it
	// still lives; 0 for none.
	Adopt clientv3.LeaseID
	// Keep lets a term go on beyond its end for as long as etcd does not answer
	// at all. It ends when etcd says that the lease is gone.
	Keep bool
	// Leased, which may be nil, is told of each lease before it is used.
	Leased func(clientv3.LeaseID)
	// Renewed, which may be nil, is told when the end of the term has moved. It
	// must not block.
	Renewed func()
	Metrics *Metrics // may be nil
	Log     *zap.Logger

	mu      sync.Mutex
	term    *Term              // nil while there is none
	heard   time.Time          // when etcd last acknowledged anything
	past    []clientv3.LeaseID // leases that are or were ours
	changed chan struct{}
}

// state returns the term that stands, nil if none does, when etcd last
// answered, and a channel that is closed at the next change.
func (s *Session) state() (*Term, time.Time, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.term, s.heard, s.changed
}

func (s *Session) publish(t *Term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = t
	if t != nil && !slices.Contains(s.past, t.Lease) {
		s.past = append(s.past, t.Lease)
		s.past = s.past[max(0, len(s.past)-maxPast):]
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// had reports whether a lease is or was this session's.
func (s *Session) had(lease clientv3.LeaseID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lease != 0 && (lease == s.Adopt || slices.Contains(s.past, lease))
}

// maxPast bounds what is remembered: of a lease that is long gone, nobody asks.
const maxPast = 100

func (s *Session) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// Lease returns the lease in use, 0 if there is none.
func (s *Session) Lease() clientv3.LeaseID {
	if t, _, _ := s.state(); t != nil {
		return t.Lease
	}
	return 0
}

// revokeTime bounds the giving back of the lease.
const revokeTime = time.Second

// Run keeps a lease until ctx ends; then it gives the lease back, unless the
// cause is ErrLeave, and returns the cause. Whatever the lease protects must
// have ended by then.
func (s *Session) Run(ctx context.Context) error {
	lease := s.Adopt
	for {
		first, err := s.begin(ctx, lease)
		if err != nil {
			break
		}
		if lease = first.lease; lease == s.Adopt && first.ttl != s.TTL {
			s.Log.Warn("the lease of the process before this one has another time to live; a stop and a start gets one of the configured",
				zap.Duration("ttl", first.ttl), zap.Duration("configured", s.TTL))
		}
		t := &Term{Lease: lease, era: first.era, sent: first.sent, boot: first.boot, ttl: first.ttl, acknowledged: first.sent}
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
		s.Log.Warn("the lease no longer protects what is owned here", zap.NamedError("reason", err))
	}
	cause := context.Cause(ctx)
	if lease != 0 && !errors.Is(cause, ErrLeave) {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
		defer cancel()
		_, err := call(end, s.Etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
			return c.Revoke(ctx, lease)
		})
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			s.Log.Warn("cannot give the lease back; etcd ends it by itself", zap.Error(err))
		}
	}
	return cause
}

func (s *Session) renewed() {
	if s.Renewed != nil {
		s.Renewed()
	}
}

// refusedWait is the pause after etcd refused us: it takes its time to compare a
// password, and somebody has to set something right.
const refusedWait = 5 * time.Second

// begin returns with a lease that etcd has just acknowledged: the one given, if
// it still lives, because what it holds in etcd is still ours then; else a new
// one. It goes on trying until ctx ends.
func (s *Session) begin(ctx context.Context, lease clientv3.LeaseID) (renewal, error) {
	failed, said := false, ""
	for {
		era, _, _ := s.Etcd.history.current()
		r, err := s.try(ctx, lease)
		r.era = era
		now, _, _ := s.Etcd.history.current()
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case now != era:
			lease = 0
			continue
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			lease = 0
			continue
		case err == nil && time.Since(r.sent) < r.ttl-margin(r.ttl):
			s.hear()
			if failed {
				s.Log.Info("etcd answers again")
			}
			return r, nil
		case err == nil:
			err = fmt.Errorf("the answer took %v", time.Since(r.sent).Round(time.Millisecond))
			lease = r.lease
		}
		wait := hedge // it may fail at once
		if stubborn(err) {
			wait = refusedWait
		}
		// That etcd refuses is news to one who reads that it cannot be reached.
		if !failed || stubborn(err) && said != err.Error() {
			failed, said = true, err.Error()
			s.Log.Warn("cannot get a lease from etcd yet; trying again", zap.Strings("endpoints", s.Etcd.options.Endpoints), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// try makes one round of attempts.
func (s *Session) try(ctx context.Context, lease clientv3.LeaseID) (renewal, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, ErrNoAnswer)
	defer cancel()
	// Before a term, because the board may not have been read since the last: what it
	// shows holds if the history goes on from there.
	if s.Etcd.history.seen().Cluster != 0 {
		_, err := call(ctx, s.Etcd, func(ctx context.Context, c *clientv3.Client) (struct{}, error) {
			return struct{}{}, s.Etcd.history.check(ctx, c)
		})
		if err != nil {
			return renewal{}, err
		}
	}
	if lease != 0 {
		return call(ctx, s.Etcd, func(ctx context.Context, c *clientv3.Client) (renewal, error) { return renew(ctx, c, lease) })
	}
	// One endpoint at a time: each grant that came through is another lease.
	failures := make([]error, len(s.Etcd.endpoints))
	for n := range failures {
		i := s.Etcd.pick(n)
		r, err := s.grant(ctx, i)
		if err == nil {
			s.Etcd.prefer(i)
			return r, nil
		}
		failures[i] = s.Etcd.at(i, err)
	}
	return renewal{}, inLine(failures)
}

func (s *Session) grant(ctx context.Context, endpoint int) (renewal, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := s.Etcd.client(endpoint)
	if err != nil {
		return renewal{}, err
	}
	r := renewal{sent: time.Now(), boot: bootTime()}
	resp, err := c.Grant(ctx, int64(s.TTL/time.Second))
	if err != nil {
		return renewal{}, err
	}
	r.lease, r.ttl = resp.ID, time.Duration(resp.TTL)*time.Second
	return r, nil
}

// renew makes one attempt. The client library's own KeepAliveOnce repeats some
// failures at once and for ever.
func renew(ctx context.Context, c *clientv3.Client, lease clientv3.LeaseID) (renewal, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx, grpc.WaitForReady(true))
	if err != nil {
		return renewal{}, rpctypes.Error(err)
	}
	r := renewal{lease: lease, sent: time.Now(), boot: bootTime()}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return renewal{}, rpctypes.Error(reasonOf(ctx, err))
	}
	resp, err := stream.Recv()
	if err != nil {
		return renewal{}, rpctypes.Error(reasonOf(ctx, err))
	}
	if resp.TTL <= 0 {
		return renewal{}, rpctypes.ErrLeaseNotFound
	}
	r.ttl = time.Duration(resp.TTL) * time.Second
	return r, nil
}

// maintain renews the lease until it ends the term, and returns why. A renewal
// that is not acknowledged is not given up when the next is sent, to the next
// endpoint: whichever comes through first counts, from its own sending.
func (s *Session) maintain(ctx context.Context, t *Term) (cause error) {
	type answer struct {
		renewal
		begun    time.Time
		err      error
		endpoint int
	}
	tries, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	defer func() { // before anything is waited for
		s.publish(nil)
		t.cancel(cause)
	}()
	answers := make(chan answer)
	send := func(endpoint int, until time.Time) {
		running.Go(func() {
			ctx, cancel := context.WithDeadline(tries, until)
			defer cancel()
			a := answer{begun: time.Now(), endpoint: endpoint}
			var c *clientv3.Client
			if c, a.err = s.Etcd.client(endpoint); a.err == nil {
				a.renewal, a.err = renew(ctx, c, t.Lease)
			}
			select {
			case answers <- a:
			case <-tries.Done():
			}
		})
	}
	interval := min(t.ttl/5, time.Second)
	next := time.NewTimer(time.Until(t.sent.Add(interval)))
	defer next.Stop()
	lead := margin(t.ttl)
	if s.Keep {
		lead = keepLead
	}
	due := t.before(lead) // when overdue should fire
	overdue := time.NewTimer(time.Until(due))
	defer overdue.Stop()
	open := 0       // renewals since the last acknowledged one
	heard := t.sent // when the newest acknowledged renewal was begun
	failing, keeping := false, false
	var denied error // by which etcd refused us since it last acknowledged
	over := s.Etcd.history.ended(t.era)
	keepOn := func(now bool) {
		if keeping != now {
			keeping = now
			s.Metrics.degraded(now)
		}
	}
	defer keepOn(false)
	fail := func(err error) {
		if !failing {
			failing = true
			s.Log.Warn("etcd does not acknowledge the lease; trying the other endpoints",
				zap.Error(err), zap.Duration("left", time.Until(t.before(margin(t.ttl))).Round(time.Millisecond)))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return ErrHistory
		case <-next.C:
			// After a suspension, for which the other timer does not account.
			if err := t.Check(); err != nil {
				return err
			}
			if open > 0 {
				fail(errors.New("no answer"))
			}
			send(s.Etcd.pick(open), time.Now().Add(t.ttl))
			open++
			next.Reset(interval / 2)
			if open == 1 {
				next.Reset(interval)
			}
		case a := <-answers:
			switch {
			case errors.Is(a.err, rpctypes.ErrLeaseNotFound):
				return ErrLeaseLost
			case a.err != nil:
				s.Metrics.renewal(false)
				// What was sent before the newest acknowledged one is no news.
				if a.begun.After(heard) {
					if refused(a.err) {
						denied = a.err
					}
					fail(s.Etcd.at(a.endpoint, a.err))
				}
				continue
			}
			heard = a.begun
			s.Metrics.renewal(true)
			s.hear()
			s.Etcd.prefer(a.endpoint)
			open, denied = 0, nil
			if t.extend(a.renewal, lead) {
				keepOn(false)
				due = t.before(lead)
				overdue.Reset(time.Until(due))
				next.Reset(time.Until(a.sent.Add(interval)))
				s.renewed()
			}
			if failing && !keeping {
				failing = false
				s.Log.Info("etcd acknowledges the lease again")
			}
		case <-overdue.C:
			switch stalled := time.Since(due) > keepStall || t.Check() != nil; {
			case denied != nil: // with Keep, too: it answers, so that it can elect others
				return fmt.Errorf("%w: %w", ErrOverdue, denied)
			case !s.Keep:
				return ErrOverdue
			case stalled:
				// Others may have been elected meanwhile, and the kernel has
				// taken the addresses away.
				return fmt.Errorf("%w, and %w", ErrOverdue, errStalled)
			case !keeping:
				keepOn(true)
				s.Log.Error("etcd does not answer; going on without the lease, as on-etcd-loss says")
			}
			t.keep()
			due = time.Now().Add(keepTick)
			overdue.Reset(keepTick)
			s.renewed()
		}
	}
}

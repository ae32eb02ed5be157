package election

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/internal/boot"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// renewal is one acknowledged grant or keep-alive.
type renewal struct {
	lease clientv3.LeaseID
	sent  time.Time
	boot  time.Duration
	ttl   time.Duration
	era   int // of etcd's history
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
	r := renewal{lease: lease, sent: time.Now(), boot: boot.Clock()}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return renewal{}, rpctypes.Error(withReason(ctx, err))
	}
	resp, err := stream.Recv()
	if err != nil {
		return renewal{}, rpctypes.Error(withReason(ctx, err))
	}
	if resp.TTL <= 0 {
		return renewal{}, rpctypes.ErrLeaseNotFound
	}
	r.ttl = time.Duration(resp.TTL) * time.Second
	return r, nil
}

// answer is what came of one attempt to renew a lease.
type answer struct {
	renewal
	begun    time.Time
	err      error
	endpoint int
}

// renewer renews the lease of one term. Three decide: etcd by its answers (answered),
// the clock by the end of the term (overdue), and the caller by its context.
type renewer struct {
	s        *Session
	t        *Term
	interval time.Duration
	lead     time.Duration // before the end of the term at which it is overdue

	answers chan answer
	next    *time.Timer // until the next attempt
	end     *time.Timer // until the term is overdue
	due     time.Time   // when end fires

	open     int       // attempts since the last that etcd acknowledged
	newest   time.Time // when the newest acknowledged attempt was begun
	denied   error     // by which etcd has refused this member since it last acknowledged
	retained bool      // the term goes on without etcd
}

// maintain renews the lease until that ends the term, and returns why. A renewal
// that is not acknowledged is not given up when the next is sent, to the next
// endpoint: the first that is acknowledged counts, from its own sending.
func (s *Session) maintain(ctx context.Context, t *Term) (cause error) {
	r := &renewer{s: s, t: t, interval: min(t.ttl/5, time.Second), lead: leaseMargin(t.ttl), answers: make(chan answer), newest: t.sent}
	if s.Retain {
		r.lead = retainLead
	}
	attempts, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	defer func() { // before anything is waited for
		s.publish(nil)
		t.cancel(cause)
	}()
	r.next = time.NewTimer(time.Until(t.sent.Add(r.interval)))
	defer r.next.Stop()
	r.due = t.before(r.lead)
	r.end = time.NewTimer(time.Until(r.due))
	defer r.end.Stop()
	defer r.setRetained(false)
	over := s.Etcd.history.ended(t.era)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return ErrHistory
		case <-r.next.C:
			// After a suspension, for which the other timer does not account.
			if err := t.Check(); err != nil {
				return err
			}
			endpoint := r.begin()
			running.Go(func() { r.attempt(attempts, endpoint) })
		case a := <-r.answers:
			if err := r.answered(a); err != nil {
				return err
			}
		case <-r.end.C:
			if err := r.overdue(); err != nil {
				return err
			}
		}
	}
}

// begin notes that an attempt begins, and returns the endpoint for it.
func (r *renewer) begin() int {
	if r.open > 0 {
		r.fail(errors.New("no answer"))
	}
	endpoint := r.s.Etcd.pick(r.open)
	r.open++
	r.next.Reset(r.interval / 2)
	if r.open == 1 {
		r.next.Reset(r.interval)
	}
	return endpoint
}

// attempt asks one endpoint for a renewal, for no longer than that could serve.
func (r *renewer) attempt(attempts context.Context, endpoint int) {
	ctx, cancel := context.WithTimeout(attempts, r.t.length())
	defer cancel()
	a := answer{begun: time.Now(), endpoint: endpoint}
	var c *clientv3.Client
	if c, a.err = r.s.Etcd.client(endpoint); a.err == nil {
		a.renewal, a.err = renew(ctx, c, r.t.Lease)
	}
	select {
	case r.answers <- a:
	case <-attempts.Done():
	}
}

// answered takes what etcd said to an attempt, and returns why the term ends, nil if
// it goes on.
func (r *renewer) answered(a answer) error {
	switch {
	case errors.Is(a.err, rpctypes.ErrLeaseNotFound):
		return ErrLeaseLost
	case a.err != nil:
		r.s.Metrics.renewal(false)
		// A failure tells nothing if its attempt was begun before the newest one that was
		// acknowledged.
		if a.begun.After(r.newest) {
			if refused(a.err) {
				r.denied = a.err
			}
			r.fail(r.s.Etcd.at(a.endpoint, a.err))
		}
		return nil
	}
	r.newest = a.begun
	r.s.Metrics.renewal(true)
	r.s.Etcd.prefer(a.endpoint)
	r.open, r.denied = 0, nil
	if r.t.extend(a.renewal, r.lead) {
		r.s.acknowledged()
		r.setRetained(false)
		r.due = r.t.before(r.lead)
		r.end.Reset(time.Until(r.due))
		r.next.Reset(time.Until(a.sent.Add(r.interval)))
		r.s.renewed()
	}
	if !r.retained {
		r.s.outage.Clear()
	}
	return nil
}

// fail tells that etcd does not acknowledge the lease. While the term is retained that
// was told.
func (r *renewer) fail(err error) {
	r.s.failed(err)
	if !r.retained {
		r.s.outage.Fail(leaseUnacknowledged, err, zap.Duration("left", time.Until(r.t.before(leaseMargin(r.t.length()))).Round(time.Millisecond)))
	}
}

// overdue decides what follows when the end of the term has come: it returns why the
// term ends, or retains the term without etcd and returns nil.
func (r *renewer) overdue() error {
	stalled := time.Since(r.due) > retainStall || r.t.Check() != nil
	switch {
	case r.denied != nil:
		// This ends the term also with Retain: an etcd that answers can elect another member.
		return fmt.Errorf("%w: %w", ErrOverdue, r.denied)
	case !r.s.Retain:
		return ErrOverdue
	case stalled:
		// Another member may have been elected meanwhile, and the kernel has
		// taken the addresses away.
		return fmt.Errorf("%w, and %w", ErrOverdue, errStalled)
	}
	r.t.retain()
	if !r.retained {
		r.s.outage.Fail(leaseIgnored, ErrOverdue)
		r.setRetained(true)
	}
	r.due = time.Now().Add(retainTick)
	r.end.Reset(retainTick)
	r.s.renewed()
	return nil
}

// setRetained notes whether the term goes on without etcd.
func (r *renewer) setRetained(now bool) {
	if r.retained != now {
		r.retained = now
		r.s.Metrics.degraded(now)
		r.s.mu.Lock()
		r.s.ring()
		r.s.mu.Unlock()
	}
}

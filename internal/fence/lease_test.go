package fence_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/guard"
	"berth/internal/etcdtest"
	"berth/internal/fence"
	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errOver = errors.New("test is over")

// elections own the instance in turns: for a minute, and after a minute again.
type elections struct {
	campaign election.Campaign
	calls    int
	grant    grant
}

// grant is what the clocks say of an ownership.
type grant struct{ err error }

func (g *grant) Check() error { return g.err }

var errLost = errors.New("the lease is lost")

func (e *elections) Campaign(ctx context.Context, c election.Campaign, own func(context.Context, fence.Grant) error) error {
	e.campaign = c
	for ctx.Err() == nil {
		c.Changed(election.Status{State: vrrp.Backup, Owner: "h2", Reason: "another member is the owner"})
		select {
		case <-ctx.Done():
			continue
		case <-time.After(time.Minute):
		}
		c.Changed(election.Status{State: vrrp.Master, Owner: "h1", Token: 7, Reason: "elected"})
		e.calls++
		owned, end := context.WithCancelCause(ctx)
		time.AfterFunc(time.Minute, func() { end(errLost) })
		_ = own(owned, &e.grant)
		end(nil)
	}
	return context.Cause(ctx)
}

// board records what is told.
type board []status.Ownership

func (b *board) Ownership(instance string, o status.Ownership) {
	if instance == "VI_1" {
		*b = append(*b, o)
	}
}

func TestALeaseThatComesBackCallsActAgainAndTheStatusSaysWhoOwns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		e, b := &elections{}, &board{}
		l := &fence.Lease{Elections: e, Alone: true, Record: "/run/berth/etcd-h1.json", Status: b, Journal: journal.New(zap.New(core))}
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		time.AfterFunc(4*time.Minute+30*time.Second, func() { cancel(errOver) })
		var acted []time.Duration
		err := l.While(ctx, "VI_1", func(ctx context.Context, p *guard.Permit) error {
			acted = append(acted, time.Since(begun))
			if err := p.Check(ctx); err != nil {
				t.Errorf("got %v while it is owned", err)
			}
			<-ctx.Done()
			if err := p.Check(t.Context()); !errors.Is(err, errLost) {
				t.Errorf("got %v, want the cause", err)
			}
			return context.Cause(ctx)
		})
		if err != errOver || !slices.Equal(acted, []time.Duration{time.Minute, 3 * time.Minute}) {
			t.Errorf("got %v, acted at %v", err, acted)
		}
		if c := e.campaign; c.Instance != "VI_1" || !c.Alone {
			t.Errorf("the campaign is %+v", c)
		}
		without := status.Ownership{Owner: "h2", Lease: "/run/berth/etcd-h1.json", Withheld: "not acting: another member is the owner (h2)"}
		with := status.Ownership{Owner: "h1", Token: 7, Lease: "/run/berth/etcd-h1.json"}
		if d := cmp.Diff(board{without, with, without, with, without}, *b); d != "" {
			t.Errorf("status (-want +got):\n%s", d)
		}
		said := logs.FilterMessage("MASTER, but not acting").FilterField(zap.String("owner", "h2")).FilterField(zap.String("instance", "VI_1"))
		if said.Len() != 3 || logs.Len() != 3 {
			t.Errorf("told %v", logs.All())
		}
	})
}

// lasting is a grant that stands.
type lasting struct{}

func (lasting) Check() error { return nil }

// unanswered are elections in which etcd does not answer: a campaign with Alone acts by a
// grant without a term.
type unanswered struct{}

func (unanswered) Campaign(ctx context.Context, c election.Campaign, own func(context.Context, fence.Grant) error) error {
	if c.Alone {
		c.Changed(election.Status{State: vrrp.Master, Owner: "h1", Reason: "etcd does not serve this host; acting without it"})
		return own(ctx, lasting{})
	}
	c.Changed(election.Status{State: vrrp.Fault, Reason: "etcd does not answer"})
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestWithoutEtcdActIsCalledWithAloneOnlyAndThePermitLastsAsLongAsTheContext(t *testing.T) {
	for _, alone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, acted := &board{}, 0
			l := &fence.Lease{Elections: unanswered{}, Alone: alone, Status: b, Journal: journal.New(nil)}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Hour, func() { cancel(errOver) })
			err := l.While(ctx, "VI_1", func(ctx context.Context, p *guard.Permit) error {
				acted++
				time.Sleep(time.Hour - time.Second)
				if err := p.Check(ctx); err != nil {
					t.Errorf("got %v while etcd does not answer", err)
				}
				<-ctx.Done()
				if err := p.Check(t.Context()); !errors.Is(err, errOver) {
					t.Errorf("got %v after the end, want the cause", err)
				}
				return context.Cause(ctx)
			})
			want := board{{Owner: "h1"}}
			if !alone {
				want = board{{Withheld: "not acting: etcd does not answer"}}
			}
			if d := cmp.Diff(want, *b); err != errOver || acted == 1 != alone || d != "" {
				t.Errorf("alone %t: got %v, acted %d times; status (-want +got):\n%s", alone, err, acted, d)
			}
		})
	}
}

// A process that was stopped for longer than its lease can come to a write before the
// timer that ends the context has fired: the clocks alone forbid that write.
func TestAWriteIsForbiddenByTheClocksBeforeTheContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &elections{}
		l := &fence.Lease{Elections: e, Status: &board{}, Journal: journal.New(nil)}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		_ = l.While(ctx, "VI_1", func(ctx context.Context, p *guard.Permit) error {
			e.grant.err = election.ErrOverdue
			if err := p.Check(ctx); !errors.Is(err, election.ErrOverdue) || ctx.Err() != nil {
				t.Errorf("got %v, the context says %v; want that the lease is overdue while the context lives", err, ctx.Err())
			}
			e.grant.err = nil
			if err := p.Check(ctx); err != nil {
				t.Errorf("got %v, want the permission of a lease that was acknowledged after all", err)
			}
			cancel(errOver)
			return errOver
		})
	})
}

// Against the real etcd: the permit ends before etcd can give the lease to another host,
// however late the process notices, act is told so, and is called again when etcd is
// there again.
func TestThePermitEndsBeforeTheLeaseWhenEtcdIsCutOff(t *testing.T) {
	const (
		ttl    = 4 * time.Second
		margin = 500 * time.Millisecond // before the end of the lease
		limit  = time.Minute            // of each wait
	)
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	etcd, err := election.NewEtcd(election.Options{Endpoints: cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: "/berth/", Name: "h1", TTL: ttl}
	m.Init()
	l := &fence.Lease{Elections: fence.ElectionsOf(m), Status: &board{}, Journal: journal.New(nil)}
	ctx, cancel := context.WithCancelCause(t.Context())
	type turn struct {
		ctx    context.Context
		permit *guard.Permit
	}
	turns := make(chan turn, 100)
	var running sync.WaitGroup
	running.Go(func() {
		_ = m.Run(ctx, func(ctx context.Context) error {
			return l.While(ctx, "VI_1", func(ctx context.Context, p *guard.Permit) error {
				turns <- turn{ctx, p}
				<-ctx.Done()
				return context.Cause(ctx)
			})
		})
	})
	defer running.Wait()
	defer cancel(errOver)
	ended := func(n turn) {
		t.Helper()
		select {
		case <-n.ctx.Done():
		case <-time.After(limit):
			t.Fatal("acts without a lease")
		}
	}
	owned := func() turn {
		t.Helper()
		for end := time.After(limit); ; {
			select {
			case n := <-turns:
				if n.permit.Check(n.ctx) == nil {
					return n
				}
				ended(n) // the machine stood still for as long as the lease
			case <-end:
				t.Fatal("the instance is not owned")
			}
		}
	}
	first := owned()
	if err := cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	cut := time.Now() // the last renewal was sent before
	<-time.After(time.Until(cut.Add(ttl - margin)))
	if err := first.permit.Check(t.Context()); !errors.Is(err, election.ErrOverdue) {
		t.Errorf("got %v %v before the end of the lease, want that the lease was not acknowledged", err, margin)
	}
	ended(first)
	if err := cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	owned()
	if err := first.permit.Check(t.Context()); err == nil {
		t.Error("the permit of the first time counts again")
	}
}

package patroni_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/owner"
	"berth/internal/patroni"
)

// play is a campaign, and what it told and had done, in order.
type play struct {
	*stage
	able  condition.Value
	grant owner.Grant

	mu     sync.Mutex
	fails  error         // of the holding, at once
	unbind time.Duration // how long the holding takes to end
	log    []string
	begun  time.Time
	over   chan error
}

func (p *play) did(what string, values ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, fmt.Sprintf("%v ", time.Since(p.begun))+fmt.Sprintf(what, values...))
}

// take returns what was done since the last call.
func (p *play) take() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.Join(p.log, "\n")
	p.log = nil
	return text
}

func (p *play) holding(ctx context.Context, token int64, g owner.Grant) error {
	p.mu.Lock()
	p.grant = g
	p.mu.Unlock()
	if token != 0 {
		p.did("token %d", token)
	}
	p.mu.Lock()
	fails := p.fails
	p.mu.Unlock()
	if fails != nil {
		p.did("cannot bind")
		return fails
	}
	p.did("bind")
	<-ctx.Done()
	p.mu.Lock()
	unbind := p.unbind
	p.mu.Unlock()
	time.Sleep(unbind)
	p.did("unbind: %v", context.Cause(ctx))
	return context.Cause(ctx)
}

// campaign takes part for the instance db until the test ends.
func campaign(t *testing.T, r *rest) *play {
	p := &play{stage: follow(t, patroni.Leader, r), begun: time.Now(), over: make(chan error, 1)}
	p.able.Set(true, "")
	go func() {
		p.over <- p.Campaign(p.ctx, election.Campaign{Instance: "db", Able: &p.able, Changed: func(s election.Status) {
			p.did("%v %s: %s", s.State, s.Owner, s.Reason)
		}}, p.holding)
	}()
	return p
}

func (p *play) want(t *testing.T, want string) {
	t.Helper()
	if got := p.take(); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

func TestTheLeaderOwnsUntilPatroniSaysNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(no)
		p := campaign(t, r)
		// Whether the campaign asks before the first answer, and tells that, is open.
		if got, want := p.take(), "0s BACKUP : Patroni says that this host is not the leader"; !strings.HasSuffix(got, want) {
			t.Errorf("want %s at last, got\n%s", want, got)
		}
		r.answers(yes, 0)
		time.Sleep(5 * time.Second)
		// The former leader's host has the time of a request and two attempts more.
		p.want(t, "1s BACKUP : Patroni says that this host is the leader, and the former owner is given time to notice\n"+
			"2.5s MASTER h1: Patroni says that this host is the leader\n2.5s bind")
		if err := p.grant.Check(); err != nil {
			t.Errorf("want the permission, got %v", err)
		}
		r.answers(no, 0)
		time.Sleep(time.Second)
		p.want(t, "6s unbind: Patroni says that this host is not the leader\n6s BACKUP : Patroni says that this host is not the leader")
		if err := p.grant.Check(); err == nil {
			t.Error("want no permission")
		}
		p.stop(t)
		if err := <-p.over; err != errEnded {
			t.Errorf("want the cause, got %v", err)
		}
		if got := p.codes(); got != "patroni-role-taken patroni-owner patroni-role-ended patroni-owner-ended" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAnOwnerWhosePatroniIsFrozenEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		p := campaign(t, r)
		time.Sleep(1500 * time.Millisecond)
		r.answers(yes, -1)
		p.take()
		time.Sleep(time.Minute)
		p.want(t, "4s unbind: no answer of Patroni has confirmed the role in time\n4s FAULT : no answer of Patroni has confirmed the role in time\n4s FAULT : Patroni does not answer: no answer")
		p.stop(t)
		<-p.over
	})
}

// The next term does not begin before the addresses of the former are gone.
func TestARoleThatReturnsWaitsForTheEndOfTheHolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		p := campaign(t, r)
		p.mu.Lock()
		p.unbind = 1500 * time.Millisecond
		p.mu.Unlock()
		time.Sleep(500 * time.Millisecond)
		p.take()
		r.answers(no, 0)
		time.Sleep(time.Second)
		r.answers(yes, 0)
		time.Sleep(2 * time.Second)
		p.want(t, "2.5s unbind: Patroni says that this host is not the leader\n2.5s BACKUP : Patroni says that this host is not the leader\n"+
			"2.5s BACKUP : Patroni says that this host is the leader, and the former owner is given time to notice\n"+
			"3.5s MASTER h1: Patroni says that this host is the leader\n3.5s bind")
		p.stop(t)
		<-p.over
	})
}

func TestAHostThatIsNotAbleDoesNotOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		p := campaign(t, r)
		time.Sleep(500 * time.Millisecond)
		p.take()
		p.able.Set(false, "interface eth0 has no carrier")
		p.want(t, "500ms unbind: interface eth0 has no carrier\n500ms FAULT : interface eth0 has no carrier")
		time.Sleep(time.Minute)
		p.want(t, "")
		p.able.Set(true, "")
		p.want(t, "1m0.5s MASTER h1: Patroni says that this host is the leader\n1m0.5s bind")
		p.stop(t)
		<-p.over
	})
}

func TestAHoldingThatFailsIsTriedAgainAndThatIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		p := &play{stage: follow(t, patroni.Leader, r), begun: time.Now(), over: make(chan error, 1)}
		p.fails = errors.New("operation not permitted")
		go func() {
			p.over <- p.Campaign(p.ctx, election.Campaign{Instance: "db"}, p.holding)
		}()
		time.Sleep(5 * time.Second)
		p.want(t, "0s cannot bind\n2s cannot bind\n4s cannot bind")
		p.mu.Lock()
		p.fails = nil
		p.mu.Unlock()
		time.Sleep(5 * time.Second)
		p.want(t, "6s bind")
		p.stop(t)
		<-p.over
		if got := p.codes(); got != "patroni-role-taken patroni-owner patroni-owner-unable patroni-owner patroni-owner patroni-owner patroni-owner-unable patroni-owner-ended" {
			t.Errorf("got %s", got)
		}
	})
}

// leaving is a cause with which everything is left to a successor.
type leaving struct{}

func (leaving) Error() string        { return "upgrade" }
func (leaving) Is(target error) bool { return target == election.ErrLeave }

func TestASuccessorIsLeftEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		p := campaign(t, r)
		time.Sleep(500 * time.Millisecond)
		p.take()
		p.end(leaving{})
		if err := <-p.over; !errors.Is(err, election.ErrLeave) {
			t.Errorf("want the cause, got %v", err)
		}
		<-p.done
		p.want(t, "500ms unbind: upgrade")
	})
}

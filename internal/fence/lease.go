package fence

import (
	"context"
	"errors"

	"berth/election"
	"berth/guard"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/internal/seat"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Elections are where ownership is won; ElectionsOf returns those of a member.
type Elections interface {
	Campaign(ctx context.Context, c election.Campaign, own func(ctx context.Context, g Grant) error) error
}

// Grant is the permission to be the owner, which is an election.Grant.
type Grant interface {
	// Check returns nil while the permission stands. It asks the clocks, so that it
	// refuses also where the context of the permission has not ended yet.
	Check() error
}

// ElectionsOf returns the elections of a member.
func ElectionsOf(m *election.Member) Elections { return member{m} }

type member struct{ *election.Member }

func (m member) Campaign(ctx context.Context, c election.Campaign, own func(ctx context.Context, g Grant) error) error {
	return m.Member.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error { return own(ctx, g) })
}

// Lease is the guard that gives permission while this host owns the instance in etcd.
type Lease struct {
	// Elections must run for as long as the guard is asked.
	Elections Elections
	// Alone gives permission, too, when etcd has not answered for longer than the lease.
	Alone bool
	// Record is the file that has the lease, for people; "" where there is none.
	Record  string
	Status  Status
	Journal *journal.Journal // must not be nil
}

// Status takes what etcd tells about an instance; *status.Board does.
type Status interface {
	Ownership(instance string, o status.Ownership)
}

// While calls act whenever this host owns the instance, until ctx ends, and returns the
// cause. The permission ends, and act has returned, before this host lets another one
// own the instance; where etcd cannot be told, the permission ends before etcd can give
// the instance to another host. With Alone act is also called, without that promise, when
// etcd has not answered for longer than the lease. The check of the permit asks the clocks
// alone and takes no time.
func (l *Lease) While(ctx context.Context, instance string, act guard.Act) error {
	j := l.Journal.With(zap.String("instance", instance))
	acting := j.Condition()
	defer acting.Clear()
	c := election.Campaign{Instance: instance, Alone: l.Alone, Journal: j, Changed: func(s election.Status) {
		o := status.Ownership{Owner: s.Owner, Token: s.Token, Lease: l.Record}
		if s.State == vrrp.Master {
			acting.Clear()
		} else {
			reason := s.Reason
			if s.Owner != "" {
				reason += " (" + s.Owner + ")"
			}
			acting.Fail(withheld, errors.New(reason), zap.String("owner", s.Owner))
			o.Withheld = "not acting: " + reason
		}
		l.Status.Ownership(instance, o)
	}}
	return l.Elections.Campaign(ctx, c, func(ctx context.Context, g Grant) error {
		return act(ctx, guard.NewPermit(ctx, func(context.Context) error { return g.Check() }))
	})
}

// Run takes part in the elections of the member while work runs, which asks the guard
// and returns when ctx ends. Beside that what was seen of etcd's history is recorded
// and, with a seat, how long the lease lasts. Run returns the error of the part that
// ended first.
func Run(ctx context.Context, m *election.Member, history *seat.History, place *seat.Seat, work func(context.Context) error) error {
	tasks := []run.Task{
		{Name: "work", Run: work},
		{Name: "history", Run: func(ctx context.Context) error { return history.Run(ctx, m.Seen) }},
	}
	if place != nil {
		tasks = append(tasks, run.Task{Name: "record", Run: func(ctx context.Context) error { return place.Run(ctx, m.End, m.Unacknowledged) }})
	}
	return m.Run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
}

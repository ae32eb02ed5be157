package owner

import (
	"context"
	"time"

	"berth/election"
	"berth/internal/journal"
)

// Decider decides whether this host owns an instance. It must run while it is asked.
type Decider interface {
	// Begun waits until it is known what this host owns, and reports whether it is what
	// the process before this one owned and left, so that nothing of that moves.
	Begun(ctx context.Context) (adopted bool, err error)
	// Owner returns the name of the owner of an instance, "" if that is not known, and
	// whether it is another process than this one; ok is false while even that is unknown.
	Owner(instance string) (name string, other, ok bool)
	// Campaign calls holding whenever this host becomes the owner, until ctx ends, and
	// returns the cause. The context of holding ends when this host ceases to be the
	// owner. No other host becomes the owner before holding has returned or the end of
	// the grant has come. token is for people, 0 where there is none.
	Campaign(ctx context.Context, c election.Campaign, holding func(ctx context.Context, token int64, g Grant) error) error
}

// Grant is the permission to be the owner.
type Grant interface {
	// Check returns nil while the permission stands. It asks the clocks, and takes no time.
	Check() error
	// End returns the earliest moment at which another host can become the owner. It moves
	// on while the permission is renewed.
	End() time.Time
}

// Elections returns the decider that the elections of a member are. It tells j when the
// lease of the process before this one goes on.
func Elections(m *election.Member, j *journal.Journal) Decider { return elections{m, j} }

type elections struct {
	*election.Member
	journal *journal.Journal
}

func (e elections) Begun(ctx context.Context) (adopted bool, err error) {
	if adopted, err = e.Member.Begun(ctx); adopted {
		e.journal.Tell(leaseAdopted)
	}
	return adopted, err
}

func (e elections) Campaign(ctx context.Context, c election.Campaign, holding func(context.Context, int64, Grant) error) error {
	return e.Member.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error { return holding(ctx, g.Token, g) })
}

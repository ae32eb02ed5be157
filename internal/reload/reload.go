package reload

import (
	"context"
	"errors"
	"os"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// ErrReloaded is the cause with which a generation ends in whose place another one is in
// force, and a holding that begins anew under that one.
var ErrReloaded = errors.New("the configuration was read again")

// Generation is what follows from one reading of the configuration. Run runs its parts
// until ctx ends, and returns the cause, or why one of them cannot go on.
type Generation interface {
	Run(ctx context.Context) error
}

// Generations run one after the other.
type Generations[G Generation] struct {
	// Next reads the configuration and builds the generation that follows from it and is
	// to take over from the one in force. It starts nothing. All that belongs to the
	// generation tells what happens to j, the journal of a part that ends with it.
	Next func(ctx context.Context, j *journal.Journal) (G, error)
	// Enforce puts a generation in force, which runs already. The former one still does.
	Enforce func(G)
	// Restart has what works by the generation in force begin anew, after the former one
	// has ended.
	Restart func()
	// Reading, which may be nil, is told when the configuration begins to be read, and
	// Read when it was, whatever came of it.
	Reading, Read func()
	// File is the path of the configuration.
	File    string
	Journal *journal.Journal
}

// Run runs the first generation, which is in force already, and puts the next one in its
// place at each value from again, until ctx ends. It then returns the cause, after the
// generation in force has ended, or the error of one that cannot go on. end is what
// journal.Part returned for the first generation.
func (g *Generations[G]) Run(ctx context.Context, first G, end func(), again <-chan os.Signal) error {
	stop, ended := start(ctx, first, end)
	for {
		select {
		case <-ctx.Done():
			stop(context.Cause(ctx))
			return context.Cause(ctx)
		case err := <-ended:
			return err
		case <-again:
		}
		if g.Reading != nil {
			g.Reading()
		}
		part, end := g.Journal.Part()
		next, err := g.Next(ctx, part)
		if err != nil {
			end()
			g.Journal.Tell(Refused, zap.Error(err))
		} else {
			stopNext, nextEnded := start(ctx, next, end)
			g.Enforce(next)
			stop(ErrReloaded)
			stop, ended = stopNext, nextEnded
			g.Restart()
			g.Journal.Tell(read, zap.String("file", g.File))
		}
		if g.Read != nil {
			g.Read()
		}
	}
}

// start runs a generation, and calls end when it has ended. Call stop, which waits for
// that, or receive from ended.
func start(ctx context.Context, g Generation, end func()) (stop func(cause error), ended <-chan error) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan error, 1)
	go func() {
		defer cancel(nil)
		err := g.Run(ctx)
		end()
		done <- err
	}()
	return func(cause error) {
		cancel(cause)
		<-done
	}, done
}

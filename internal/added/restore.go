package added

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/election"

	"go.uber.org/zap"
)

// restoreAgain is the pause before etcd is asked again to take the list.
const restoreAgain = 2 * time.Second

// atOnce is how many keys are written beside each other.
const atOnce = 16

// restore writes the list again after etcd's history has broken, until ctx ends. The
// watch finds what was written, and ends the loss; until then everything that is missing is
// written anew.
func (s *Set) restore(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.rewrite:
		}
		s.mu.Lock()
		due := s.book.due
		s.mu.Unlock()
		if err := s.write(ctx, due); err == nil {
			s.refused.Clear()
			continue
		} else if ctx.Err() == nil {
			s.refused.Fail(listRefused, err, zap.Duration("wait", restoreAgain))
		}
		select {
		case <-ctx.Done():
		case <-time.After(restoreAgain):
			s.change(func() {
				if s.book.stands {
					select {
					case s.rewrite <- struct{}{}:
					default:
					}
				}
			})
		}
	}
}

// write carries out changes of the list in etcd, and returns the first error. A change that
// comes too late is not one: the watch tells what is there, and the next round is about
// that.
func (s *Set) write(ctx context.Context, due []rewriting) error {
	var writing sync.WaitGroup
	errs := make([]error, len(due))
	slots := make(chan struct{}, atOnce)
	for i, r := range due {
		slots <- struct{}{}
		writing.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, election.ErrNoAnswer)
			defer cancel()
			if _, _, err := s.Etcd.Swap(ctx, s.key(r.name), r.was, r.value); err != nil {
				errs[i] = fmt.Errorf("write %s: %w", s.key(r.name), err)
			}
		})
	}
	writing.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) key(address string) string { return election.AddedKey(s.Prefix, s.Name, address) }

package election

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A process that ends waits for a slow answer while etcd renews its lease, and not for an
// etcd that is silent.
func TestAResignationLastsWhileEtcdRenewsTheLease(t *testing.T) {
	for name, row := range map[string]struct{ renewals, want time.Duration }{
		"silent":                  {0, resignTime},
		"silent before":           {-time.Second / 2, resignTime},
		"renews for three halves": {3 * time.Second / 2, 3*time.Second/2 + resignTime},
		"renews for three":        {3 * time.Second, 3*time.Second + resignTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Session{}
				acknowledge := func(at time.Time) {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.answered = at
				}
				began := time.Now()
				acknowledge(began.Add(min(0, row.renewals)))
				ctx, cancel := s.whileRenewed(t.Context(), resignTime)
				defer cancel()
				for at := time.Second / 2; at <= row.renewals; at += time.Second / 2 {
					time.Sleep(time.Second / 2)
					acknowledge(time.Now())
				}
				<-ctx.Done()
				if got := time.Since(began); got != row.want || !errors.Is(context.Cause(ctx), ErrNoAnswer) {
					t.Errorf("want the end after %v, got %v after %v", row.want, context.Cause(ctx), got)
				}
			})
		})
	}
}

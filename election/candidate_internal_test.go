package election

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An owner that hears nothing of the election, although its lease is renewed, ends
// before the next owner could go ahead, should the key be gone.
func TestAnOwnerWithoutNewsEndsWithinATTL(t *testing.T) {
	for _, row := range []struct {
		name string
		kept bool
		want error
		at   time.Duration
	}{
		{"no news", false, ErrUnheard, 4500 * time.Millisecond},
		{"no news, and no answer, on-etcd-loss: keep", true, context.Canceled, time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &Member{TTL: 5 * time.Second, Name: "a"}
				m.Init()
				begun := time.Now()
				m.board.hear(begun)
				m.board.contest("api").queue = []entry{{token: 3}}
				term := &Term{sent: begun, boot: bootTime(), ttl: m.TTL, kept: row.kept}
				term.ctx, term.cancel = context.WithCancelCause(t.Context())
				defer term.cancel(nil)
				k := &candidate{Campaign: Campaign{Instance: "api", Able: func() (bool, string) { return true, "" },
					AbleChanged: func() <-chan struct{} { return nil }, Log: m.Log}, m: m}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, context.Canceled)
				defer cancel()
				err := k.own(ctx, term, 3, func(ctx context.Context, g Grant) error {
					<-ctx.Done()
					if got := context.Cause(ctx); !errors.Is(got, row.want) {
						t.Errorf("want the end because of %v, got %v", row.want, got)
					}
					if got := time.Since(begun); got != row.at {
						t.Errorf("want the end after %v, got %v", row.at, got)
					}
					if want := begun.Add(m.TTL); !row.kept && !g.End().Equal(want) {
						t.Errorf("want addresses to be gone by %v, got %v", want, g.End())
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

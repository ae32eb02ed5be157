package providers_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"berth/providers"
)

// audited is a cloud that wants audits.
type audited struct {
	*cloud
	due    chan struct{}
	audits chan error // the cause of each audit's end
}

func (a *audited) AuditDue() <-chan struct{} { return a.due }

func (a *audited) Audit(ctx context.Context) {
	<-ctx.Done()
	a.audits <- context.Cause(ctx)
}

func TestAuditGoesOnWhileAddressesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &audited{newCloud(), make(chan struct{}, 1), make(chan error, 1)}
		account := providers.NewAccount("test", c)
		ended := errors.New("shut down")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := account.Run(ctx); err != ended {
				t.Errorf("Run: want the cause of its context, got %v", err)
			}
		})
		running := func() bool {
			c.due <- struct{}{}
			synctest.Wait()
			return len(c.audits) == 0
		}
		first, second := account.Target(floating(a1), permit), account.Target(floating(a2), permit)
		if !running() {
			t.Error("with addresses: want an audit")
		}
		first.Close()
		synctest.Wait()
		if len(c.audits) != 0 {
			t.Error("one address is left: want the audit to go on")
		}
		second.Close()
		if err := <-c.audits; err == nil || err.Error() != "no address is wanted here any more" {
			t.Errorf("no address is left: want the audit ended for that, got %v", err)
		}

		c.due <- struct{}{}
		synctest.Wait()
		if len(c.due) != 0 {
			t.Error("want an audit that is due without an address to be forgotten")
		}

		third := account.Target(floating(a1), permit)
		defer third.Close()
		if !running() {
			t.Error("with an address again: want an audit")
		}
		cancel(ended)
		wg.Wait()
		if err := <-c.audits; err != ended {
			t.Errorf("want the audit ended by the cause of Run's context, got %v", err)
		}
	})
}

func TestProviderWithoutAuditsGetsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := errors.New("shut down")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(ended)
		if err := providers.NewAccount("test", newCloud()).Run(ctx); err != ended {
			t.Errorf("want the cause of its context, got %v", err)
		}
	})
}

// Package associate points floating IPs at this host, or away from it, once: it is what
// the commands berth associate and berth dissociate do, and the one-shot forms of other
// programs. It looks before it writes and reads back after; it holds nothing, and no
// guard of an instance: Concerns tells what speaks against a move, and the caller decides.
package associate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/providers"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

const (
	// attemptTimeout bounds one attempt: a look, a move in several steps and a look, at
	// an API that takes 10 s for each call, of which there are up to twelve.
	attemptTimeout = 5 * time.Minute
	// lastTimeout bounds the look after an attempt that failed or was broken off.
	lastTimeout = 10 * time.Second
	// maxListed bounds how many floating IPs of the account an error lists.
	maxListed = 20
)

// ErrImpossible is matched by the errors of Run for which the provider that is
// configured is the reason. Nothing was written then.
var ErrImpossible = errors.New("not possible with this provider")

// Options say what is to be done. Provider, Addresses and Out must be set.
type Options struct {
	Release bool   // point the addresses away from this host; otherwise at this host alone
	Name    string // of the provider, as in the configuration
	// Provider is asked and told. Nil stands for a provider without an account of which
	// only the calls are printed; DryRun must be set then.
	Provider  providers.Provider
	Addresses []netip.Addr // in the order of the output
	// Check is called right before each write, and forbids it by an error; nil permits
	// all.
	Check  func(context.Context) error
	DryRun bool // look, and print which calls would be made; write nothing
	// Wait is for how long an attempt that failed is repeated, whatever the reason: 0 is
	// not at all, Forever until ctx ends. Policy spaces the attempts; nothing else of it
	// counts.
	Wait    time.Duration
	Policy  refresher.Policy
	JSON    bool // one document at the end, instead of a line for each address
	Out     io.Writer
	Journal *journal.Journal // of attempts that are repeated; nil tells nothing
}

// Run moves the addresses, all at the same time, and writes to Out what was, what is and
// how long that took, in the order of Addresses: a line as soon as all before it are
// known. The error joins one for each address that is not as wanted at the end, and
// names each; it is nil if all are, also where nothing had to be done. When ctx ends, so
// does Run, soon after: a request that is on its way may still be carried out.
func Run(ctx context.Context, o Options) error {
	if err := o.Possible(); err != nil {
		return err
	}
	if o.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Wait, errWaited{o.Wait})
		defer cancel()
	}
	o.Journal = cmp.Or(o.Journal, journal.New(nil))
	if o.Check == nil {
		o.Check = func(context.Context) error { return nil }
	}
	r := &runner{Options: o}
	if o.Provider != nil {
		r.account = providers.NewAccount(o.Name, o.Provider)
		r.networks = sync.OnceValue(func() string { return r.listed(ctx) })
		for _, addr := range o.Addresses { // one observation has all of them
			defer r.account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, addr.BitLen())}, o.Check).Close()
		}
	}
	results := make([]*result, len(o.Addresses))
	done := make([]chan struct{}, len(o.Addresses))
	var wg sync.WaitGroup
	for i, addr := range o.Addresses {
		results[i], done[i] = &result{addr: addr, release: o.Release}, make(chan struct{})
		wg.Go(func() {
			defer close(done[i])
			r.move(ctx, results[i])
		})
	}
	var errs []error
	for i, res := range results {
		<-done[i]
		if !o.JSON {
			if _, err := fmt.Fprintln(o.Out, res); err != nil {
				errs = append(errs, fmt.Errorf("print outcome: %w", err))
			}
		}
		if res.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", res.addr, res.err))
		}
	}
	wg.Wait()
	if o.JSON {
		errs = append(errs, printJSON(o.Out, results))
	}
	return errors.Join(errs...)
}

// Possible returns an error that matches ErrImpossible if the provider can never do what
// is wanted. It makes no call.
func (o *Options) Possible() error {
	if !o.Release || o.Provider == nil {
		return nil
	}
	if _, ok := o.Provider.(providers.Releaser); !ok {
		return fmt.Errorf("%w: the API of %s cannot make a floating IP point nowhere; run berth associate on the host that is to have the address", ErrImpossible, o.Name)
	}
	return nil
}

// errWaited is the cause of the end of a bounded wait.
type errWaited struct{ wait time.Duration }

func (e errWaited) Error() string { return fmt.Sprintf("gave up after --wait=%v", e.wait) }

// runner is a Run.
type runner struct {
	Options
	account  *providers.Account // nil without a provider
	networks func() string      // the floating IPs of the account, for an error
}

// move makes attempts until the address is as wanted, the wait is over or ctx ends.
func (r *runner) move(ctx context.Context, res *result) {
	start := time.Now()
	defer func() { res.took = time.Since(start) }()
	if r.account == nil {
		res.outcome = would
		return
	}
	retry := refresher.NewSpacing(r.Policy)
	failing := r.Journal.With(zap.String("address", res.addr.String()), zap.String("provider", r.Name)).Condition()
	defer failing.Drop()
	var last error
	for {
		err := r.attempt(ctx, res)
		if err == nil {
			failing.Clear()
			return
		}
		if ctx.Err() != nil {
			err = cmp.Or(last, err) // what failed before tells more than the end of the wait
		}
		last = err
		if r.Wait == 0 || ctx.Err() != nil {
			r.failed(ctx, res, err)
			return
		}
		wait := retry.Next(err)
		failing.Fail(notMoved, err, zap.Duration("wait", wait))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			r.failed(ctx, res, err)
			return
		}
	}
}

// attempt looks, writes if the address is not as wanted, and reads back. It sets the
// outcome if it succeeds.
func (r *runner) attempt(ctx context.Context, res *result) error {
	ctx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, fmt.Errorf("no success within %v", attemptTimeout))
	defer cancel()
	h, err := r.observe(ctx, res)
	if err != nil {
		return err
	}
	if r.wanted(h) && !h.Assumed {
		res.outcome = unchanged
		if res.wrote { // the answer to a write before was lost
			res.outcome = moved
		}
		return nil
	}
	if r.DryRun {
		res.outcome = would
		return nil
	}
	if err := r.write(ctx, res); err != nil {
		return err
	}
	if h, err = r.observe(ctx, res); err != nil {
		return err
	}
	if !r.wanted(h) {
		return fmt.Errorf("%s: the API accepted the request, but the address %s", r.Name, where(h))
	}
	res.outcome = moved
	return nil
}

// write makes the claim or the release.
func (r *runner) write(ctx context.Context, res *result) error {
	res.wrote = true
	if !r.Release {
		return r.Provider.Claim(ctx, res.addr, r.Check)
	}
	p, ok := r.Provider.(providers.Releaser)
	if !ok {
		return ErrImpossible // which Run has refused
	}
	return p.Release(ctx, res.addr, r.Check)
}

// observe reads the holder, and notes the first one as what was.
func (r *runner) observe(ctx context.Context, res *result) (providers.Holder, error) {
	observe := r.account.ObserveAnew
	if !res.looked { // the first look of several addresses is one observation
		res.looked, observe = true, func(ctx context.Context, addr netip.Addr) (providers.Holder, error) {
			return r.account.Observe(ctx, addr, time.Time{})
		}
	}
	h, err := observe(ctx, res.addr)
	if err != nil {
		return h, err
	}
	if h.Kind == providers.NotManaged {
		e := providers.NotManagedError(r.Name, "find floating IP", res.addr)
		e.Detail += r.networks()
		return h, e
	}
	if !res.seen {
		res.was, res.seen = h, true
	}
	res.is, res.known = h, true
	return h, nil
}

// wanted tells whether a holder is the one that is wanted.
func (r *runner) wanted(h providers.Holder) bool {
	if r.Release {
		return h.Kind != providers.Mine && h.Kind != providers.Unknown && !h.Beside
	}
	return h.Kind == providers.Mine
}

// failed notes why the address is not as wanted, and looks where it is, unless ctx ended
// for another reason than the end of the wait.
func (r *runner) failed(ctx context.Context, res *result, err error) {
	res.outcome, res.err = failed, err
	if _, waited := errors.AsType[errWaited](context.Cause(ctx)); ctx.Err() != nil {
		if !errors.Is(err, context.Cause(ctx)) {
			res.err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		if !waited {
			res.known = false // a request may still be carried out
			return
		}
	}
	if !res.wrote {
		return
	}
	res.known = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
	defer cancel()
	if h, err := r.account.ObserveAnew(ctx, res.addr); err == nil {
		res.is, res.known = h, true
	}
}

// listed says which floating IPs the account has, "" if that cannot be told.
func (r *runner) listed(ctx context.Context) string {
	l, ok := r.Provider.(providers.Lister)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	networks, err := l.Networks(ctx)
	if err != nil {
		return ""
	}
	if len(networks) == 0 {
		return "; the account has none"
	}
	var texts []string
	for _, n := range networks[:min(maxListed, len(networks))] {
		if n.IsSingleIP() {
			texts = append(texts, n.Addr().String())
		} else {
			texts = append(texts, n.String())
		}
	}
	if more := len(networks) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d others", more))
	}
	return "; the account has " + strings.Join(texts, ", ")
}

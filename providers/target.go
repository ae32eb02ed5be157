package providers

import (
	"context"
	"sync"

	"berth/vrrp"
)

// Target is one floating IP of an account that is to be pointed at this host. It
// does what package refresher asks of a target.
type Target struct {
	account *Account
	ip      vrrp.FloatingIP
	check   func(context.Context) error
	once    sync.Once

	mu    sync.Mutex
	valid since // observations that still count
}

// Target returns the target for a floating IP; until its Close every observation of
// the account covers the address. check is called immediately before each write and
// forbids it by an error, which Ensure returns as it is.
func (a *Account) Target(ip vrrp.FloatingIP, check func(context.Context) error) *Target {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.targets[ip.Addr()]++
	return &Target{account: a, ip: ip, check: check}
}

// Close ends the registration of the target with its account.
func (t *Target) Close() {
	t.once.Do(func() {
		a := t.account
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.targets[t.ip.Addr()]--; a.targets[t.ip.Addr()] == 0 {
			delete(a.targets, t.ip.Addr())
		}
		if len(a.targets) == 0 && a.audit != nil {
			a.audit(errNoTargets)
		}
	})
}

// String names the provider and the address.
func (t *Target) String() string { return t.account.name + " " + t.ip.Addr().String() }

// Ensure points the floating IP at this host unless it points here already, and
// reads the holder back. With claimFirst it does not observe before. changed tells
// that a claim was made; previous names the holder before, "" if there was none or
// that was not observed. Both are set also when err says that the claim could not be
// confirmed. Ensure is idempotent, and must not be called twice at the same time.
//
// Errors are *Error, what check returned, and nothing else. An address that is not a
// floating IP of the account gives the kind NotFound.
func (t *Target) Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error) {
	addr := t.ip.Addr()
	if !claimFirst {
		h, err := t.account.observe(ctx, addr, t.counting())
		switch {
		case err != nil:
			return "", false, err
		case h.Kind == Mine:
			return "", false, nil
		case h.Kind == NotManaged:
			return "", false, NotManagedError(t.account.name, opObserve, addr)
		case h.Kind == Unknown:
			return "", false, t.unknown(h)
		}
		previous = h.Owner
	}

	err = t.account.provider.Claim(ctx, addr, t.check)
	// Observations from before this write, whether it succeeded or not, do not count any
	// more.
	t.outdate()
	if err != nil {
		return previous, false, err
	}

	h, err := t.account.observe(ctx, addr, t.counting())
	if err == nil && h.Kind != Mine {
		t.outdate() // an observation that contradicts the API's own answer counts once
	}
	switch {
	case err != nil:
		return previous, true, err
	case h.Kind == Mine:
		return previous, true, nil
	case h.Kind == NotManaged:
		return previous, true, NotManagedError(t.account.name, opObserve, addr)
	case h.Kind == Unknown:
		return previous, true, t.unknown(h)
	}
	where := "points nowhere"
	if h.Owner != "" {
		where = "is with " + h.Owner
	}
	e := &Error{Provider: t.account.name, Op: opObserve, Kind: Transient, Detail: addr.String() + " was pointed here but " + where}
	if !h.Beside {
		e.Taker = h.Owner
	}
	return previous, true, e
}

// unknown returns the error for an address of which is not known whether it points
// at other servers too.
func (t *Target) unknown(h Holder) error {
	return &Error{Provider: t.account.name, Op: opObserve, Kind: Transient,
		Detail: t.ip.Addr().String() + " points here, and perhaps at other servers too: " + h.Owner}
}

// counting says which observations still count.
func (t *Target) counting() since {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.valid
}

// outdate makes the target rely only on observations that start from now on.
func (t *Target) outdate() {
	t.account.mu.Lock()
	begun := t.account.begun
	t.account.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = since{after: begun}
}

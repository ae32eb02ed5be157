package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"berth/vrrp"
)

// candidate is a campaign that runs.
type candidate struct {
	Campaign
	m      *Member
	status Status
	failed string // what was last said of a failure
	use    use    // of the token in use
	// unsettled is a token whose giving up etcd has not confirmed; the key must
	// not be used again, because the request may still come through. settled is
	// the last one that was confirmed. Both are those of lease: another has another
	// key.
	unsettled, settled int64
	lease              clientv3.LeaseID
}

// use is what was made of a place in the queue. The next owner must know it.
type use uint8

const (
	unknown use = iota // it was taken by a process or a term before
	waited             // its turn has never come
	owned
)

// retryHold spaces the attempts of an owner that failed at once, so that others get
// their turn.
const retryHold = 2 * time.Second

// Campaign takes part in the election of an instance until ctx ends. Whenever
// this member becomes the owner it calls hold, whose context ends when it ceases
// to be; the key is given up after hold has returned, and not before. It returns
// ctx's cause. The member must run.
func (m *Member) Campaign(ctx context.Context, c Campaign, hold func(context.Context, Grant) error) error {
	if c.Able == nil {
		never := make(chan struct{})
		c.Able, c.AbleChanged = func() (bool, string) { return true, "" }, func() <-chan struct{} { return never }
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	k := &candidate{Campaign: c, m: m}
	defer m.board.follow(c.Instance)()
	for {
		err := k.round(ctx, hold)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if k.failed != err.Error() {
				k.failed = err.Error()
				k.Log.Error("cannot own the instance; others go first", zap.Error(err), zap.Duration("wait", retryHold))
			}
			k.tell(Status{State: vrrp.Fault, Reason: err.Error()})
			select {
			case <-ctx.Done():
			case <-time.After(retryHold):
			}
		}
	}
}

func (k *candidate) tell(s Status) {
	s.Instance = k.Instance
	if s == k.status {
		return
	}
	k.status = s
	if k.Changed != nil {
		k.Changed(s)
	}
}

// round waits for the lease, queues up, owns if its turn comes, and gives up. It
// returns an error only when owning failed for a reason of its own.
func (k *candidate) round(ctx context.Context, hold func(context.Context, Grant) error) error {
	term, err := k.ready(ctx)
	if errors.Is(err, errAlone) {
		return k.alone(ctx, hold)
	}
	if err != nil {
		return nil
	}
	if k.unsettled != 0 {
		k.resign(ctx, term, k.unsettled)
		return nil
	}
	token, taken, err := k.enter(ctx, term)
	if err != nil {
		k.obstructed(ctx, term, "cannot queue up", err)
		return nil
	}
	if k.use = unknown; taken {
		k.use = waited
	}
	if k.queue(ctx, term, token) {
		k.use = owned
		err = k.own(ctx, term, token, hold)
	}
	// Whatever ended it: while the lease lives, nobody else comes in before the
	// key is gone. Who comes after us may not know for whom we wait, and waits too
	// if it is told nothing.
	waiting := k.waiting()
	if k.use == waited && waiting {
		k.use = unknown
	}
	leave := errors.Is(context.Cause(ctx), ErrLeave) && (k.use == owned || !waiting)
	if term.ctx.Err() == nil && !leave {
		k.resign(ctx, term, token)
	}
	return err
}

// waiting reports whether a former owner may still be at work.
func (k *candidate) waiting() bool {
	v, _ := k.m.board.of(k.Instance)
	now := time.Now()
	return v.until.After(now) || slices.ContainsFunc(v.doubts, func(d doubt) bool { return d.until.After(now) })
}

// obstructed waits after etcd did not do what was asked, and says so if somebody
// has to set something right.
func (k *candidate) obstructed(ctx context.Context, term *Term, message string, err error) {
	wait := hedge // the lease is gone, or etcd is; the session finds out which
	if stubborn(err) && ctx.Err() == nil && term.ctx.Err() == nil {
		wait = refusedWait
		if k.failed != err.Error() {
			k.failed = err.Error()
			k.Log.Error(message+"; trying again", zap.Error(err), zap.Duration("wait", wait))
		}
		k.tell(Status{State: vrrp.Fault, Reason: message + ": " + err.Error()})
	} else {
		k.Log.Debug(message, zap.Error(err))
	}
	select {
	case <-ctx.Done():
	case <-term.ctx.Done():
	case <-time.After(wait):
	}
}

// answerTime is how long etcd may take to answer before that is said.
const answerTime = time.Second

var errAlone = errors.New("etcd has not answered for longer than the lease")

// ready waits until the member has a lease, the host is able and nobody else is
// wanted. It returns as well when there is a place to give up.
func (k *candidate) ready(ctx context.Context) (*Term, error) {
	for {
		term, heard, newTerm := k.m.session.state()
		v, news := k.m.board.of(k.Instance)
		able := k.AbleChanged()
		ok, why := k.Able()
		if term != nil && term.Lease != k.lease {
			k.lease, k.unsettled, k.settled = term.Lease, 0, 0
		}
		if term != nil && (!ok || k.aside(v)) && k.placed(v, term) {
			return term, nil
		}
		var silent <-chan time.Time
		switch {
		case !ok:
			k.tell(Status{State: vrrp.Fault, Reason: why})
		case term == nil:
			quiet := time.Since(heard)
			switch {
			case quiet >= answerTime:
				k.tell(Status{State: vrrp.Fault, Reason: ErrNoAnswer.Error()})
			case k.status.State == vrrp.Master:
				k.tell(Status{State: vrrp.Fault, Reason: "without a lease in etcd"})
			}
			switch {
			case quiet < answerTime:
				silent = time.After(answerTime - quiet)
			case k.Alone && quiet < k.m.session.TTL:
				silent = time.After(k.m.session.TTL - quiet)
			case k.Alone:
				return nil, errAlone
			}
		case k.aside(v):
			k.tell(Status{State: vrrp.Backup, Owner: owner(v), Reason: ErrHandOver.Error()})
		default:
			return term, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-newTerm:
		case <-news:
		case <-able:
		case <-silent:
		}
	}
}

// placed finds a place of ours that is from before: adopted, or taken by a request
// that came through late. It makes it the one to give up.
func (k *candidate) placed(v view, term *Term) bool {
	i := slices.IndexFunc(v.queue, func(e entry) bool { return e.lease == term.Lease && e.token > k.settled })
	if i < 0 {
		return false
	}
	if k.unsettled != v.queue[i].token {
		k.unsettled, k.use = v.queue[i].token, unknown
	}
	return true
}

func owner(v view) string {
	if len(v.queue) == 0 {
		return ""
	}
	return v.queue[0].Member
}

// aside reports whether somebody else is wanted and there.
func (k *candidate) aside(v view) bool {
	other := slices.ContainsFunc(v.queue, func(e entry) bool { return !k.m.is(e) && v.wish.favours(e.Place) })
	return other && !v.wish.favours(k.m.place())
}

// key is this member's place in the queue.
func (k *candidate) key(lease clientv3.LeaseID) string {
	return k.m.Prefix + electionsDir + url.PathEscape(k.Instance) + "/" + strconv.FormatInt(int64(lease), 16)
}

// enter takes a place in the queue, or finds the one it has already, and returns
// its token and whether it was taken now.
func (k *candidate) enter(ctx context.Context, term *Term) (token int64, taken bool, err error) {
	key := k.key(term.Lease)
	p := k.m.place()
	p.Addresses, p.Since, p.TTL = k.Addresses, time.Now().UTC(), int64(term.length()/time.Second)
	value, err := json.Marshal(p)
	if err != nil {
		return 0, false, err
	}
	ctx, stop := joined(ctx, term.ctx)
	defer stop()
	r, err := call(ctx, k.m.Etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, string(value), clientv3.WithLease(term.Lease))).
			Else(clientv3.OpGet(key)).Commit()
	})
	if err != nil {
		return 0, false, err
	}
	if r.Succeeded {
		return r.Header.Revision, true, nil
	}
	token = r.Responses[0].GetResponseRange().Kvs[0].CreateRevision
	if token <= k.settled {
		k.m.Etcd.history.breaks(term.era, fmt.Errorf("it has a place in the queue of %s again that was given up", k.Instance))
		return 0, false, ErrHistory
	}
	return token, false, nil
}

// joined returns a context that ends with either of two.
func joined(ctx, other context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() { stop(); cancel(nil) }
}

// position is where a token stands in the queue.
type position uint8

const (
	unseen position = iota // the board is not there yet
	lost
	waiting
	first
)

func stand(v view, era int, token int64) position {
	i := slices.IndexFunc(v.queue, func(e entry) bool { return e.token == token })
	switch {
	case v.era != era: // another history has other tokens
		return unseen
	case i == 0:
		return first
	case i > 0:
		return waiting
	case v.revision < token:
		return unseen
	}
	return lost
}

// queue waits for our turn and reports whether it has come.
func (k *candidate) queue(ctx context.Context, term *Term, token int64) bool {
	for {
		v, news := k.m.board.of(k.Instance)
		able := k.AbleChanged()
		if ok, _ := k.Able(); !ok || k.aside(v) {
			return false
		}
		var turn <-chan time.Time
		switch stand(v, term.era, token) {
		case lost:
			return false
		case first:
			if len(v.doubts) > 0 {
				k.m.board.settle(ctx, k.Instance, v.doubts[0])
				continue
			}
			if time.Until(v.until) <= 0 {
				return ctx.Err() == nil
			}
			reason := "waiting until the former owner must have ended"
			if v.broken {
				reason = "waiting until owners of etcd's former history must have ended"
			}
			if k.status.Reason != reason {
				k.Log.Warn(reason, zap.String("owner", v.former), zap.Duration("wait", time.Until(v.until).Round(time.Millisecond)))
			}
			k.tell(Status{State: vrrp.Backup, Reason: reason})
			turn = time.After(time.Until(v.until))
		case waiting:
			reason := "another member is the owner"
			if owner(v) == k.m.Name {
				reason = "the owner has the same name: the process before this one, until its lease ends; if it stays, another host needs another etcd.member"
			}
			k.tell(Status{State: vrrp.Backup, Owner: owner(v), Reason: reason})
		}
		select {
		case <-ctx.Done():
			return false
		case <-term.ctx.Done():
			return false
		case <-news:
		case <-able:
		case <-turn:
		}
	}
}

// own runs hold for as long as we are the owner.
func (k *candidate) own(campaign context.Context, term *Term, token int64, hold func(context.Context, Grant) error) error {
	ctx, cancel := context.WithCancelCause(campaign)
	defer cancel(nil)
	stop := context.AfterFunc(term.ctx, func() { cancel(context.Cause(term.ctx)) })
	defer stop()
	k.tell(Status{State: vrrp.Master, Owner: k.m.Name, Token: token, Reason: "elected"})
	k.Log.Info("became the owner", zap.Int64("token", token))
	done := make(chan error, 1)
	go func() { done <- hold(ctx, Grant{Token: token, term: term}) }()
	// At once, and not only when etcd has confirmed that the place is given up. To a
	// successor nothing is given up.
	ended := func(err error) error {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(context.Cause(campaign), ErrLeave) {
			s := Status{State: vrrp.Backup, Reason: cause.Error()}
			var unable *UnableError
			if term.ctx.Err() != nil || errors.As(cause, &unable) {
				s.State = vrrp.Fault
			}
			k.tell(s)
		}
		return k.ended(ctx, err)
	}
	v, _ := k.m.board.of(k.Instance)
	for newest := v.newest(); ; {
		v, news := k.m.board.of(k.Instance)
		if n := v.newest(); n > newest && k.Joined != nil {
			newest = n
			k.Joined()
		}
		able := k.AbleChanged()
		ok, why := k.Able()
		switch {
		case !ok:
			cancel(&UnableError{why})
		case k.aside(v):
			cancel(ErrHandOver)
		}
		switch stand(v, term.era, token) {
		case lost:
			cancel(ErrKeyLost)
		case waiting:
			k.m.Etcd.history.breaks(term.era, fmt.Errorf("the owner of %s is not the first in the queue any more", k.Instance))
		}
		select {
		case err := <-done:
			return ended(err)
		case <-ctx.Done():
			return ended(<-done)
		case <-news:
		case <-able:
		}
	}
}

// ended says why ownership ended. What hold returns counts only if nobody ended it.
func (k *candidate) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		k.Log.Info("no longer the owner", zap.NamedError("reason", cause))
		return nil
	}
	if err == nil {
		err = errors.New("holding ended by itself")
	}
	return err
}

// alone acts without etcd until that answers.
func (k *candidate) alone(ctx context.Context, hold func(context.Context, Grant) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k.tell(Status{State: vrrp.Master, Owner: k.m.Name, Reason: "etcd does not answer; acting without it"})
	k.Log.Error("etcd does not answer; acting without it, as on-etcd-loss says")
	k.m.Metrics.degraded(true)
	defer k.m.Metrics.degraded(false)
	done := make(chan error, 1)
	go func() { done <- hold(ctx, Grant{}) }()
	for {
		term, _, newTerm := k.m.session.state()
		if term != nil {
			cancel(ErrReachable)
		}
		select {
		case err := <-done:
			return k.ended(ctx, err)
		case <-ctx.Done():
			return k.ended(ctx, <-done)
		case <-newTerm:
		}
	}
}

package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// candidate is a campaign that runs.
type candidate struct {
	Campaign
	m           *Member
	ableChanged <-chan struct{}
	holding     func(context.Context, Grant) error // what an owner does
	status      Status
	owning      *journal.Condition // why the holding ended by itself
	writing     *journal.Condition // why etcd refuses to put or delete the key
	tenure      tenure             // of the token in use
	// unsettled is a token whose giving up etcd has not confirmed; the key must
	// not be used again, because the request may still come through. settled is
	// the last one that was confirmed. Both tokens belong to lease; under another lease
	// the member has another key.
	unsettled, settled int64
	lease              clientv3.LeaseID
	// obstructed is the revision of the key of another member that was found in the place
	// of this one's, in the era obstructedEra.
	obstructed    int64
	obstructedEra int
	// unwritable is since when etcd has not taken or deleted a key of this member, under
	// this lease and while the host is able: of before nothing is known.
	unwritable time.Time
}

// retryHolding spaces the attempts of an owner whose holding failed at once, so that
// other members are elected meanwhile.
const retryHolding = 2 * time.Second

// Campaign takes part in the election of an instance until ctx ends. Whenever
// this member becomes the owner it calls holding, whose context ends when it ceases
// to be; the key is given up after holding has returned, and not before. It returns
// ctx's cause. The member must run.
func (m *Member) Campaign(ctx context.Context, c Campaign, holding func(context.Context, Grant) error) error {
	if c.Able == nil {
		c.Able = condition.All()
	}
	if c.Journal == nil {
		c.Journal = m.Journal.With(zap.String("instance", c.Instance))
	}
	k := &candidate{Campaign: c, m: m, holding: holding, owning: c.Journal.Condition(), writing: c.Journal.Condition()}
	defer k.owning.Drop()
	defer k.writing.Drop()
	var stop func()
	k.ableChanged, stop = condition.Signal(c.Able)
	defer stop()
	end := m.observer.begin(c.ref())
	k.takeOver(m.left.take(c.ref())) // after that, resignLeft leaves them to the campaign
	defer func() {
		// A key that is left to a successor must not be taken for one without a campaign.
		if !errors.Is(context.Cause(ctx), ErrLeave) {
			end()
		}
	}()
	for {
		err := k.round(ctx)
		if ctx.Err() != nil {
			if k.unsettled != 0 {
				m.left.add(leftKey{k.ref(), k.key(k.lease), k.unsettled, k.tenure, k.lease})
			}
			return context.Cause(ctx)
		}
		if err != nil {
			k.owning.Fail(instanceUnholdable, err, zap.Duration("wait", retryHolding))
			k.tell(Status{State: vrrp.Fault, Reason: err.Error()})
			select {
			case <-ctx.Done():
			case <-time.After(retryHolding):
			}
		}
	}
}

// takeOver makes the key that a former campaign of this process has left the one to give
// up: a request to delete it may be under way, so that it must not be used again.
func (k *candidate) takeOver(l leftKey) {
	k.unsettled, k.tenure, k.lease = l.token, l.tenure, l.lease
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
// returns an error only when the holding failed for a reason of its own.
func (k *candidate) round(ctx context.Context) error {
	term, err := k.ready(ctx)
	if errors.Is(err, errAlone) {
		return k.alone(ctx)
	}
	if err != nil {
		return nil
	}
	if k.unsettled != 0 {
		k.resign(ctx, term, k.unsettled)
		return nil
	}
	if !k.vacant(ctx, term) {
		return nil
	}
	asked := time.Now()
	token, put, err := k.enter(ctx, term)
	if errors.Is(err, errObstructed) {
		k.written()
		return nil
	}
	if err != nil {
		k.backOff(ctx, term, asked, keyRefused, "cannot put this member's key into the queue of the election", err)
		return nil
	}
	k.written()
	if k.tenure = unknown; put {
		k.tenure = neverOwned
	}
	if k.await(ctx, term, token) {
		k.tenure = hasOwned
		err = k.own(ctx, term, token)
	} else if v, _ := k.m.observer.view(k.ref()); k.mayActAlone(v) {
		return nil
	}
	// While the lease lives, no other member becomes the owner before the key is gone.
	// The next owner may not know the former owner for which this member waited; it
	// waits too if nothing is written.
	if k.tenure == neverOwned {
		k.resolve(ctx, term)
	}
	waiting := k.mustWait()
	if k.tenure == neverOwned && waiting {
		k.tenure = unknown
	}
	leave := errors.Is(context.Cause(ctx), ErrLeave) && (k.tenure == hasOwned || !waiting)
	if term.ctx.Err() == nil && !leave {
		k.resign(ctx, term, token)
	}
	return err
}

// resolve asks etcd what is not known of former owners, which the next owner would have
// to wait for otherwise. A campaign that ends asks too, within the time of a resignation.
func (k *candidate) resolve(ctx context.Context, term *Term) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTime)
	defer cancel()
	asking, stop := joined(asking, term.ctx)
	defer stop()
	for asking.Err() == nil {
		switch v, _ := k.m.observer.view(k.ref()); {
		case len(v.unrecorded) > 0:
			k.m.observer.readRecords(asking, k.ref(), v.unrecorded)
		case len(v.unconfirmed) > 0:
			k.m.observer.confirm(asking, v.unconfirmed[0].lease)
		default:
			return
		}
	}
}

// mustWait reports whether a former owner may still act.
func (k *candidate) mustWait() bool {
	v, _ := k.m.observer.view(k.ref())
	now := time.Now()
	return v.until.After(now) || slices.ContainsFunc(v.unconfirmed, func(e expiry) bool { return e.until.After(now) }) ||
		slices.ContainsFunc(v.unrecorded, func(u unrecorded) bool { return u.expiry.until.After(now) })
}

// backOff waits after etcd did not do what was asked, and tells it if a person has to
// set something right.
func (k *candidate) backOff(ctx context.Context, term *Term, asked time.Time, refusal journal.Kind, what string, err error) {
	if ctx.Err() == nil && term.ctx.Err() == nil {
		k.unwritten(asked)
	}
	wait := hedge // the lease is gone, or etcd is; the session finds out which
	if stubborn(err) && ctx.Err() == nil && term.ctx.Err() == nil {
		wait = refusedWait
		k.writing.Fail(refusal, err, zap.Duration("wait", wait))
		k.tell(Status{State: vrrp.Fault, Reason: what + ": " + err.Error()})
	} else {
		k.Journal.Debug(what, zap.Error(err))
	}
	v, _ := k.m.observer.view(k.ref())
	select {
	case <-ctx.Done():
	case <-term.ctx.Done():
	case <-k.untilAlone(v):
	case <-time.After(wait):
	}
}

// answerTime is how long etcd may take to answer before that is told.
const answerTime = time.Second

var errAlone = errors.New("etcd has not served this member for longer than the lease")

// ready waits until the member has a lease, the host is able and no other member is
// wanted. It returns as well when there is a key to give up.
func (k *candidate) ready(ctx context.Context) (*Term, error) {
	for {
		term, acknowledged, newTerm := k.m.session.state()
		v, changed := k.m.observer.view(k.ref())
		ok, why := k.Able.State()
		if term != nil && term.Lease != k.lease {
			k.lease, k.unsettled, k.settled = term.Lease, 0, 0
			k.unwritable = time.Time{}
		}
		if !ok {
			k.unwritable = time.Time{}
		}
		if fresh(term) && (!ok || k.yields(v)) && k.findLeftover(v, term) {
			return term, nil
		}
		var silent <-chan time.Time
		switch {
		case !ok:
			k.tell(Status{State: vrrp.Fault, Reason: why})
		case k.mayActAlone(v):
			return nil, errAlone
		case !fresh(term):
			silent = k.withoutLease(time.Since(acknowledged), v)
		case k.yields(v):
			k.tell(Status{State: vrrp.Backup, Owner: v.owner(), Reason: ErrHandOver.Error()})
		default:
			return term, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-newTerm:
		case <-changed:
		case <-k.ableChanged:
		case <-silent:
		}
	}
}

// withoutLease tells that there is no lease, and returns a channel that tells when the
// silence of etcd, which has lasted for quiet, means more; nil for never.
func (k *candidate) withoutLease(quiet time.Duration, v view) <-chan time.Time {
	switch {
	case quiet >= answerTime:
		k.tell(Status{State: vrrp.Fault, Reason: ErrNoAnswer.Error()})
	case k.status.State == vrrp.Master:
		k.tell(Status{State: vrrp.Fault, Reason: "without a lease in etcd"})
	}
	if quiet < answerTime {
		return time.After(answerTime - quiet)
	}
	return k.untilAlone(v)
}

// findLeftover finds a key of this member from before: adopted, or put by a request
// that came through late. It makes it the one to give up.
func (k *candidate) findLeftover(v view, term *Term) bool {
	i := slices.IndexFunc(v.entries, func(e entry) bool { return e.lease == term.Lease && e.token > k.settled })
	if i < 0 {
		return false
	}
	if k.unsettled != v.entries[i].token {
		k.unsettled, k.tenure = v.entries[i].token, unknown
	}
	return true
}

// yields reports whether another member that is in the queue was asked to take over.
func (k *candidate) yields(v view) bool {
	other := slices.ContainsFunc(v.entries, func(e entry) bool { return !k.m.is(e) && v.wanted.admits(e.candidacy) })
	return other && !v.wanted.admits(k.m.candidacy())
}

// key is this member's key in the queue.
func (k *candidate) key(lease clientv3.LeaseID) string {
	return k.m.observer.keys.candidate(k.ref(), lease)
}

// errObstructed says that the key of another member is in the place of this one's.
var errObstructed = errors.New("another member has the key")

// enter puts this member's key into the queue, or finds the one that is there already,
// and returns its token and whether it was put now.
func (k *candidate) enter(ctx context.Context, term *Term) (token int64, put bool, err error) {
	key := k.key(term.Lease)
	c := k.m.candidacy()
	c.Addresses, c.Since, c.TTL = k.Addresses, time.Now().UTC(), int64(term.length()/time.Second)
	value, err := json.Marshal(c)
	if err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, term.length(), ErrNoAnswer)
	defer cancel()
	ctx, stop := joined(ctx, term.ctx)
	defer stop()
	r, err := k.m.writer.commit(ctx, key, transaction{
		when: clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
		then: []clientv3.Op{clientv3.OpPut(key, string(value), clientv3.WithLease(term.Lease))},
		not:  []clientv3.Op{clientv3.OpGet(key)},
	})
	if err != nil {
		return 0, false, err
	}
	if r.succeeded {
		return r.revision, true, nil
	}
	found := r.responses[0].GetResponseRange().Kvs[0]
	if clientv3.LeaseID(found.Lease) != term.Lease && k.Pool {
		k.obstructed, k.obstructedEra = found.ModRevision, term.era
		return 0, false, errObstructed
	}
	token = found.CreateRevision
	if token <= k.settled {
		k.m.Etcd.history.breaks(term.era, fmt.Errorf("it has a key in the queue of %s again that was given up", k.Instance))
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
	unseen position = iota // the observer has not come to it yet
	lost
	waiting
	first
)

func (v view) position(era int, token int64) position {
	i := slices.IndexFunc(v.entries, func(e entry) bool { return e.token == token })
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

// await waits for this member's turn and reports whether it has come.
func (k *candidate) await(ctx context.Context, term *Term, token int64) bool {
	for {
		_, _, newTerm := k.m.session.state()
		v, changed := k.m.observer.view(k.ref())
		if ok, _ := k.Able.State(); !ok || k.yields(v) || k.mayActAlone(v) || ctx.Err() != nil || term.ctx.Err() != nil {
			return false
		}
		var turn <-chan time.Time
		switch v.position(term.era, token) {
		case lost:
			return false
		case first:
			if len(v.unrecorded) > 0 {
				k.m.observer.readRecords(ctx, k.ref(), v.unrecorded)
				continue
			}
			if len(v.unconfirmed) > 0 {
				k.m.observer.confirm(ctx, v.unconfirmed[0].lease)
				continue
			}
			if time.Until(v.until) <= 0 {
				return ctx.Err() == nil
			}
			k.tellWait(v)
			turn = time.After(time.Until(v.until))
		case waiting:
			k.tellOwner(v)
		}
		if !k.pause(ctx, term, v, changed, newTerm, turn) {
			return false
		}
	}
}

// pause waits until something on which the candidate's place depends may have changed, and
// reports whether campaign and term go on. changed and newTerm are the signals of the view
// and of the session; turn may be nil.
func (k *candidate) pause(ctx context.Context, term *Term, v view, changed, newTerm <-chan struct{}, turn <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-term.ctx.Done():
		return false
	case <-changed:
	case <-k.ableChanged:
	case <-newTerm:
	case <-turn:
	case <-k.untilAlone(v):
	}
	return true
}

// tellWait tells that this member is the first and has to wait.
func (k *candidate) tellWait(v view) {
	wait := instanceWaits
	if v.broken {
		wait = instanceWaitsHistory
	}
	if k.status.Reason != wait.Text {
		k.Journal.Tell(wait, zap.String("owner", v.former), zap.Duration("wait", time.Until(v.until).Round(time.Millisecond)))
	}
	k.tell(Status{State: vrrp.Backup, Reason: wait.Text})
}

package election

import (
	"context"
	"slices"

	"berth/vrrp"
)

// An address of the pool has one key, which at most one member can have: a candidate does
// not stand in a queue, but waits until the key is gone. All else is that of an election.

// vacant waits, for an address of the pool, until another member's key is gone, and
// reports whether it is.
func (k *candidate) vacant(ctx context.Context, term *Term) bool {
	if !k.Pool {
		return true
	}
	for {
		_, _, newTerm := k.m.session.state()
		v, changed := k.m.observer.view(k.ref())
		if ok, _ := k.Able.State(); !ok || k.mayActAlone(v) {
			return false
		}
		// The watch may not have told yet of the key that was in the way.
		seen := k.obstructedEra != term.era || v.era == term.era && v.revision >= k.obstructed
		if seen && !slices.ContainsFunc(v.entries, func(e entry) bool { return e.lease != term.Lease }) {
			return true
		}
		if len(v.entries) > 0 {
			k.tellOwner(v)
		}
		if !k.pause(ctx, term, v, changed, newTerm, nil) {
			return false
		}
	}
}

// tellOwner tells that another member is the owner.
func (k *candidate) tellOwner(v view) {
	reason := "another member is the owner"
	switch owner := v.owner(); {
	case owner != "" && v.entries[0].foreign:
		reason = "a program other than berth is the owner"
	case owner == k.m.Name:
		reason = "the owner has the same name: the process before this one, until its lease ends; if it stays, another host needs another etcd.member"
	case owner == "":
		reason = "a key in etcd that berth did not write is in the place of the owner's"
	}
	k.tell(Status{State: vrrp.Backup, Owner: v.owner(), Reason: reason})
}

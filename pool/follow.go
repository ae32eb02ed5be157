package pool

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"berth/election"

	"go.uber.org/zap"
)

// follow takes the keys of the pool and carries out what follows from them.
func (p *Pool) follow(ctx context.Context, keys election.PoolKeys, known bool) {
	news := p.retryFailed()
	switch {
	case !known:
		p.seen = situation{list: p.book.list}
	case !p.seen.known || keys.Revision != p.seen.revision || keys.Era != p.book.era:
		p.learn(keys)
		news = true
	}
	if p.managed.Due() {
		p.manage()
		news = true
	}
	if known && news {
		p.revise()
	}
	p.steer(ctx)
}

// learn derives the situation from the keys, and tells what is new.
func (p *Pool) learn(keys election.PoolKeys) {
	former := p.seen
	p.book.follow(keys.IPs, keys.Era)
	p.seen = assess(p.Name, keys, &p.book)
	if p.seen.stands { // the keys of drained members are lost with the list
		p.seen.drained = p.seen.drained || p.drained
	}
	p.drained = p.seen.drained
	if !former.known || !slices.Equal(former.list, p.seen.list) || former.stands != p.seen.stands || former.drained != p.seen.drained {
		p.record.put(p.seen.list, p.seen.stands, p.seen.drained)
	}
	if p.seen.stands {
		p.lost.Fail(listLost, errListLost, zap.Int("addresses", len(p.seen.list)))
	} else {
		p.lost.Clear()
	}
	if former.known && p.Interface != nil && p.seen.joined(former) {
		p.Interface.Announce() // a network that was cut may be whole again
	}
	p.tellStrays()
	p.wakeMember(p.seen.drained)
	p.manage()
	p.tellAssignment(former)
}

// revise has the key of this member tell which list it follows, and which addresses of the
// list it cannot serve: the others serve them.
func (p *Pool) revise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, refuses := p.book.sum(), []netip.Addr(nil)
	for _, ip := range p.seen.list {
		if a := ip.Addr(); p.Taken[a] != "" || p.refusal(a) != "" {
			refuses = append(refuses, a)
		}
	}
	if list == p.own.List && slices.Equal(refuses, p.own.Refuses) {
		return
	}
	p.own.List, p.own.Refuses = list, refuses
	select {
	case p.revalue <- struct{}{}:
	default:
	}
}

// refusal returns why this member cannot serve an address of the list now, "" if it can. It
// is called with the lock held.
func (p *Pool) refusal(a netip.Addr) string {
	if why := p.managed.Refusal(a); why != "" {
		return why
	}
	if f := p.failed[a]; !f.until.IsZero() {
		return f.reason
	}
	return ""
}

// retryFailed has addresses tried again whose time has come, and reports whether the
// failures are others than at the call before.
func (p *Pool) retryFailed() (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, before := time.Now(), len(p.failed)
	maps.DeleteFunc(p.failed, func(_ netip.Addr, f failure) bool { return !now.Before(f.over()) })
	changed = p.failedAnew || len(p.failed) < before
	p.failedAnew = false
	return changed
}

var errListLost = errors.New("the keys below ips/ are gone since etcd was restored, wiped, or replaced by another cluster")

// tellStrays logs once each key that has no effect, and each address that is not served
// here.
func (p *Pool) tellStrays() {
	now := map[string]bool{}
	for _, st := range p.seen.strays {
		if now[st.key] = true; !p.told[st.key] {
			p.Journal.Tell(keyForeign, zap.String("key", st.key), zap.String("reason", st.reason))
		}
	}
	for _, ip := range p.seen.list {
		a := ip.Addr()
		if by := p.Taken[a]; by != "" {
			if now[a.String()] = true; !p.told[a.String()] {
				p.Journal.Tell(addressTaken, zap.Stringer("address", a), zap.String("reason", "it stands in "+by))
			}
		}
	}
	p.told = now
}

// tellAssignment logs how many addresses this member gets and gives away.
func (p *Pool) tellAssignment(former situation) {
	gained, lost := 0, 0
	for a, m := range p.seen.assigned {
		if m == p.Name && former.assigned[a] != p.Name {
			gained++
		}
	}
	for a, m := range former.assigned {
		if m == p.Name && p.seen.assigned[a] != p.Name {
			lost++
		}
	}
	if gained+lost > 0 {
		p.Journal.Tell(assignmentChanged, zap.Int("gained", gained), zap.Int("lost", lost),
			zap.Int("assigned", len(p.seen.mine(p.Name))), zap.Int("addresses", len(p.seen.list)), zap.Int("members", len(p.seen.members)))
	}
}

// manage makes the interface ready for the addresses of the list.
func (p *Pool) manage() {
	var all []netip.Prefix
	for _, ip := range p.book.list {
		if p.Taken[ip.Addr()] == "" {
			all = append(all, ip.Prefix)
		}
	}
	p.managed.Set(all)
}

package netif

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// lookAgain is when the kernel is asked again that could not be asked, and when
	// an address is looked at again that is here and may not be removed yet.
	lookAgain = time.Second
	// expiring is how long before its time the kernel may take an address away: it
	// rounds to the nearest of its ticks and a fiftieth of a second.
	expiring = 100 * time.Millisecond
)

// reason says why an address was defended.
type reason string

const (
	wasDeleted reason = "deleted"
	wasAdded   reason = "added"
	wasClaimed reason = "claimed"
)

var reasons = []reason{wasDeleted, wasAdded, wasClaimed}

// Run watches the interface, renews lifetimes and announces until ctx ends, and
// returns its cause.
func (i *Interface) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { cancel(i.kernel.watch(ctx, i.handle)) })
	for {
		timer := time.NewTimer(time.Until(i.review()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-i.wake:
			timer.Stop()
		}
	}
}

// handle asks for a review after an event, unless that is what this process did
// itself. What is true then is asked of the kernel, because an event may be older
// than what was done since.
func (i *Interface) handle(e event) {
	switch e.kind {
	case linkChanged:
		i.setReady(e.link)
		if !e.link.up { // perhaps up again before the review
			i.mu.Lock()
			i.excuse()
			i.mu.Unlock()
		}
	case added:
		if i.expected(e.address) {
			return
		}
	case deleted:
		if _, managed := i.managed[e.address.prefix.Addr()]; !managed {
			return
		}
	case claimed:
		if !i.disputed(e.claimed, e.mac) {
			return
		}
	}
	i.wakeUp()
}

// expected reports whether an address is of no interest, or as it was bound.
func (i *Interface) expected(a address) bool {
	if _, managed := i.managed[a.prefix.Addr()]; !managed {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.held[a.prefix.Addr()]
	return b != nil && b.bound && b.fits(a, time.Now())
}

// fits reports whether what is on the interface is what was bound there.
func (b *binding) fits(a address, now time.Time) bool {
	return a.prefix == b.prefix && !a.duplicate && !now.Add(a.valid).After(b.until.Add(time.Second))
}

// disputed notes that a machine claims an address that is held here, and reports
// whether that is news.
func (i *Interface) disputed(a netip.Addr, mac net.HardwareAddr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.held[a]
	if b == nil || b.claimant != nil || bytes.Equal(mac, i.link.mac) {
		return false
	}
	b.claimant = mac
	return true
}

// look takes what the kernel says.
func (i *Interface) look() error {
	l, all, err := i.kernel.state()
	if err != nil {
		return fmt.Errorf("look at %s: %w", i.o.Name, err)
	}
	i.see(l, all)
	return nil
}

func (i *Interface) see(l link, all []address) {
	i.setReady(l)
	returned := l.ready() && (!i.link.ready() || l.index != i.link.index || !bytes.Equal(l.mac, i.link.mac))
	i.link = l
	i.present = make(map[netip.Addr][]address, len(i.held))
	for _, a := range all {
		if _, managed := i.managed[a.prefix.Addr()]; managed {
			i.present[a.prefix.Addr()] = append(i.present[a.prefix.Addr()], a)
		}
	}
	if !l.up {
		i.excuse()
	}
	now := time.Now()
	for _, b := range i.held {
		if returned {
			b.announceAgain(now)
		}
	}
}

// excuse says that addresses may be missing: the kernel drops those of IPv6 with
// the link, and all with the interface.
func (i *Interface) excuse() {
	for _, b := range i.held {
		b.excused = true
	}
}

// review compares what is there with what should be, corrects it, and returns
// when to do so again.
func (i *Interface) review() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	renewed, healed := i.renewed.Swap(false), i.healed.Swap(false)
	err := i.look()
	if err != nil && !i.failing {
		i.log.Warn("cannot look at the addresses of the interface; trying again", zap.Error(err))
	}
	i.failing = err != nil
	now := time.Now()
	if err != nil {
		return now.Add(lookAgain)
	}
	at := earliest(now.Add(time.Hour))
	i.renew(now, renewed, &at)
	i.announceAll(healed, &at)
	i.removeForeign(now, &at)
	i.age(now, &at)
	return time.Time(at)
}

// earliest is the earliest of some moments.
type earliest time.Time

func (e *earliest) by(t time.Time) {
	if t.Before(time.Time(*e)) {
		*e = earliest(t)
	}
}

// verdict is what becomes of a held address.
type verdict int

const (
	stays    verdict = iota // as it is, renewed when the others are
	shorten                 // renewed now: the end has come nearer
	restored                // put back, after an absence that was to be expected
	defended                // put back, because somebody else changed it
	expires                 // removed now
	absent                  // not there, and may not be put back for now
)

// judge says what becomes of a held address, from what is there under it.
func (b *binding) judge(there []address, up bool, end, now time.Time) verdict {
	seconds, _ := lifetime(end, now)
	fits := len(there) == 1 && b.fits(there[0], now)
	switch {
	case seconds < 1 && len(there) == 0:
		return absent
	case seconds < 1 && (!now.Before(end) || !fits || tooLong(b.until, end)):
		return expires
	case seconds < 1:
		return stays // until the kernel takes it, or the end comes
	case fits && tooLong(b.until, end):
		return shorten
	case fits:
		return stays
	case !up:
		return absent
	case len(there) == 0 && (b.excused || !now.Before(b.until.Add(-expiring))):
		return restored
	default:
		return defended
	}
}

// renew puts held addresses back, renews them all if that makes one of them last
// longer, or removes them when their time has come.
func (i *Interface) renew(now time.Time, moved bool, at *earliest) {
	end := i.o.End()
	seconds, again := lifetime(end, now)
	due := moved || !i.again.IsZero() && !now.Before(i.again)
	if due {
		i.again = again
	}
	var there, back []*binding
	var over []netip.Prefix
	longer := false
	for a, b := range i.held {
		if !b.bound || b.ended() {
			continue // its Hold is about to remove it
		}
		i.o.Metrics.setBound(a, len(i.present[a]) > 0)
		switch b.judge(i.present[a], i.link.up, end, now) {
		case stays:
			there = append(there, b)
			longer = longer || due && now.Add(time.Duration(seconds)*time.Second-early).After(b.until)
			at.by(end)
		case shorten:
			there, longer = append(there, b), true
			at.by(end)
		case restored:
			back = append(back, b)
		case defended:
			if i.defend(a, &i.fights[a].local, wasDeleted, now, at) {
				back = append(back, b)
			}
		case expires:
			over = append(over, b.prefix)
			b.excused = true
		}
	}
	if longer && seconds >= 1 {
		back = append(back, there...)
	}
	for _, b := range back {
		if len(i.present[b.prefix.Addr()]) == 0 {
			b.announceAgain(now)
		}
	}
	if len(over) > 0 {
		i.log.Warn("the lease ends; removing its addresses", zap.Stringers("address", over))
		if err := i.remove(over); err != nil {
			i.log.Error("cannot remove the addresses; trying again", zap.Error(err))
			at.by(now.Add(slack))
		}
	}
	if len(back) > 0 {
		if err := i.bind(back); err != nil {
			i.log.Warn("cannot bind the addresses; trying again", zap.Error(err))
			at.by(now.Add(lookAgain))
		}
	}
	if i.again.After(now) {
		at.by(i.again)
	}
}

// announceAll sends the announcements that are due.
func (i *Interface) announceAll(healed bool, at *earliest) {
	if !i.link.ready() {
		return // coming up begins anew
	}
	if now := time.Now(); healed && now.Before(i.told.Add(fightGap)) {
		i.healed.Store(true)
		at.by(i.told.Add(fightGap))
		healed = false
	} else if healed {
		i.told = now
	}
	for a, b := range i.held {
		if !b.bound || len(i.present[a]) == 0 {
			continue
		}
		now := time.Now()
		if healed {
			b.announceAgain(now)
		}
		if b.claimant != nil && i.defend(a, &i.fights[a].wire, wasClaimed, now, at, zap.String("mac", b.claimant.String())) {
			b.claimant = nil
			i.send(b)
		}
		if !b.next.IsZero() && !now.Before(b.next) {
			i.announce(b, now)
		}
		if !b.next.IsZero() {
			at.by(b.next)
		}
	}
}

// removeForeign removes managed addresses that are not held here and belong
// elsewhere.
func (i *Interface) removeForeign(now time.Time, at *earliest) {
	for a := range i.present {
		p := i.managed[a]
		if i.held[a] != nil || i.left[a] {
			continue
		}
		if !i.o.Elsewhere(p) {
			at.by(now.Add(lookAgain))
			continue
		}
		if !i.defend(a, &i.fights[a].local, wasAdded, now, at) {
			continue
		}
		if err := i.remove(i.seen(p)); err != nil {
			i.log.Warn("cannot remove an address that belongs elsewhere; trying again", zap.Error(err))
			at.by(now.Add(lookAgain))
		}
	}
}

// defend reports whether the limits allow to act against somebody else now, and
// records that.
func (i *Interface) defend(a netip.Addr, f *fight, why reason, now time.Time, at *earliest, fields ...zap.Field) bool {
	if next := f.next(); now.Before(next) {
		at.by(next)
		return false
	}
	before := f.contested
	f.defend(now)
	i.o.Metrics.defended(a, why)
	fields = append(fields, zap.Stringer("address", i.managed[a]))
	switch {
	case before:
		i.log.Debug(why.text(), fields...)
	case f.contested:
		i.contest(a, true)
		i.log.Warn("the address is contested: from now on it is defended every ten seconds", append(fields, zap.String("reason", string(why)))...)
	default:
		i.log.Warn(why.text(), fields...)
	}
	return true
}

func (i *Interface) contest(a netip.Addr, on bool) {
	i.o.Metrics.setContested(a, on)
	i.o.Contested(i.managed[a], on)
}

func (r reason) text() string {
	switch r {
	case wasDeleted:
		return "somebody took the address from the interface or changed it; putting it back"
	case wasAdded:
		return "somebody put the address on the interface although it belongs elsewhere; removing it"
	default:
		return "another machine claims the address; announcing it again"
	}
}

// age lets fights end.
func (i *Interface) age(now time.Time, at *earliest) {
	for a, f := range i.fights {
		before := f.contested()
		f.local.age(now)
		f.wire.age(now)
		if before && !f.contested() {
			i.contest(a, false)
			i.log.Info("the address is no longer contested", zap.Stringer("address", i.managed[a]))
		}
		if f.contested() {
			at.by(now.Add(fightWindow / 2))
		}
	}
}

package netif

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// observeAgain is the time after which the kernel is asked again if it could not be
	// asked, or if an address is here that may not be removed yet.
	observeAgain = time.Second
	// removalLead is how long before the end of its lifetime the kernel may remove an
	// address: it rounds to the nearest of its ticks and a fiftieth of a second.
	removalLead = 100 * time.Millisecond
)

// reconcile compares the addresses on the interface with those that should be there,
// corrects the difference, and returns when to do so again.
func (i *Interface) reconcile() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	renewed, reannounce := i.renewed.Swap(false), i.reannounce.Swap(false)
	moved := i.moved.Swap(false) && i.foreign()
	if news := i.takeEvents(now); !news && !renewed && !reannounce && !moved && now.Before(i.reconcileAt) {
		// Announcements alone need nothing of the kernel: those of hundreds of addresses that
		// were bound one after the other are due at as many times.
		if !now.Before(i.announceAt) {
			i.announceAll(false)
		}
		return i.due()
	}
	err := i.observe(len(i.bindings) == 0)
	if err != nil {
		i.observing.Fail(unobservable, err)
	} else {
		i.observing.Clear()
	}
	now = time.Now()
	at := earliest(now.Add(time.Hour))
	// Events tell why an address is missing that was there a moment ago. One that came
	// after the kernel had been asked is about what was not seen yet.
	if i.takeEvents(now) {
		at.by(now)
	}
	// The addresses that were observed last are renewed even if the kernel did not answer:
	// a missing answer is not a reason to let an address expire.
	i.renew(now, renewed, &at)
	i.announceAll(reannounce)
	if err != nil {
		at.by(now.Add(observeAgain))
	} else {
		i.removeForeign(now, &at)
		i.removeLeaving(&at)
		i.tellAstray(&at)
	}
	i.endDisputes(now, &at)
	i.reconcileAt = time.Time(at)
	return i.due()
}

// due returns when reconcile is to be called even if nothing happens.
func (i *Interface) due() time.Time {
	at := earliest(i.reconcileAt)
	at.by(i.announceAt)
	return time.Time(at)
}

// foreign reports whether a managed address without a binding is here, so that its
// owner matters.
func (i *Interface) foreign() bool {
	for a := range i.present {
		if i.bindings[a] == nil {
			return true
		}
	}
	return len(i.onOthers) > 0
}

// earliest is the earliest of several times.
type earliest time.Time

func (e *earliest) by(t time.Time) {
	if t.Before(time.Time(*e)) {
		*e = earliest(t)
	}
}

// decision is what becomes of the address of a binding.
type decision int

const (
	stays    decision = iota // as it is, renewed when the others are
	shorten                  // renewed now: the end has come nearer
	restored                 // bound again, after an absence that was to be expected
	defended                 // bound again, because another program changed it
	expires                  // removed now
	absent                   // not there, and may not be bound again for now
)

// fits reports whether what is on the interface is what was bound there.
func (b *binding) fits(a address) bool {
	return a.prefix == b.prefix && !a.duplicate && !a.seen.Add(a.valid).After(b.latest.Add(time.Second))
}

// decide decides what becomes of the address of a binding, by what is there under it.
func (b *binding) decide(there []address, up bool, end, now time.Time) decision {
	seconds, _ := lifetime(end, now)
	fits := len(there) == 1 && b.fits(there[0])
	switch {
	case seconds < 1 && len(there) == 0:
		return absent
	case seconds < 1 && (!now.Before(end) || !fits || tooLong(b.until, end)):
		return expires
	case seconds < 1:
		return stays // until the kernel removes it, or the end comes
	case fits && tooLong(b.until, end):
		return shorten
	case fits:
		return stays
	case !up:
		return absent
	case len(there) == 0 && (b.absenceExpected || !now.Before(b.until.Add(-removalLead))):
		return restored
	default:
		return defended
	}
}

// renew binds missing addresses again, renews all if that makes one of them last
// longer, and removes those whose time has come.
func (i *Interface) renew(now time.Time, moved bool, at *earliest) {
	end := i.o.End()
	seconds, renewAt := lifetime(end, now)
	due := moved || !i.renewAt.IsZero() && !now.Before(i.renewAt)
	if due {
		i.renewAt = renewAt
	}
	var there, back []*binding
	var over []netip.Prefix
	longer := false
	for a, b := range i.bindings {
		if !b.bound || b.ended() {
			continue // its call of Bind is about to remove it
		}
		i.o.Metrics.setBound(a, len(i.present[a]) > 0)
		switch b.decide(i.present[a], i.link.up, end, now) {
		case stays:
			there = append(there, b)
			longer = longer || due && now.Add(time.Duration(seconds)*time.Second-renewBefore).After(b.until)
			at.by(end)
		case shorten:
			there, longer = append(there, b), true
			at.by(end)
		case restored:
			back = append(back, b)
		case defended:
			if i.defend(a, &i.disputes[a].local, wasDeleted, now, at) {
				back = append(back, b)
			}
		case expires:
			over = append(over, b.prefix)
			b.absenceExpected = true
		}
	}
	if longer && seconds >= 1 {
		back = append(back, there...)
	}
	for _, b := range back {
		if len(i.present[b.prefix.Addr()]) == 0 {
			b.announceAnew(now)
		}
	}
	if !i.expire(over) {
		at.by(now.Add(overshoot))
	}
	failed := i.bindOrRenew(back)
	for _, b := range back {
		b.failed = failed[b] != nil
	}
	switch {
	case len(failed) > 0:
		i.binding.Fail(unbound, first(failed), zap.Int("addresses", len(failed)))
		at.by(now.Add(observeAgain))
	case !i.anyFailed():
		i.binding.Clear()
	}
	if i.renewAt.After(now) {
		at.by(i.renewAt)
	}
}

// anyFailed reports whether the last attempt to bind or renew an address failed. The
// address may not have been tried again since: its defence is limited, or its renewal is
// not due.
func (i *Interface) anyFailed() bool {
	for _, b := range i.bindings {
		if b.failed {
			return true
		}
	}
	return false
}

// expire removes addresses whose time has come, and reports whether they are gone.
func (i *Interface) expire(over []netip.Prefix) bool {
	if len(over) > 0 && !i.removing.Holds() {
		i.journal.Tell(leaseEnds, zap.Stringers("address", over))
	}
	remaining, err := i.remove(over)
	if err != nil {
		i.removing.Fail(unremoved, err)
		i.unremoved = remaining
		return false
	}
	i.unremoved = slices.DeleteFunc(i.unremoved, func(p netip.Prefix) bool { return !i.overstays(p.Addr()) })
	if len(i.unremoved) == 0 {
		i.removing.Clear()
	}
	return true
}

// overstays reports whether an address that could not be removed is still here although
// no call of Bind wants it: its own call has ended, or is about to remove it.
func (i *Interface) overstays(a netip.Addr) bool {
	b := i.bindings[a]
	return len(i.present[a]) > 0 && !i.handedOver[a] && (b == nil || b.ended())
}

// first returns the failure of the lowest address: those of the others have the same
// cause, or are told when this one has ended.
func first(failed map[*binding]error) error {
	lowest := slices.MinFunc(slices.Collect(maps.Keys(failed)), func(a, b *binding) int { return a.prefix.Compare(b.prefix) })
	return fmt.Errorf("bind %v: %w", lowest.prefix, failed[lowest])
}

// removeForeign removes managed addresses that have no binding here and belong to
// another host.
func (i *Interface) removeForeign(now time.Time, at *earliest) {
	failed := false
	for a := range i.present {
		p := i.allManaged()[a]
		if i.bindings[a] != nil || i.handedOver[a] {
			continue
		}
		if !i.o.Elsewhere(p) {
			at.by(now.Add(observeAgain))
			continue
		}
		if !i.defend(a, &i.disputes[a].local, wasAdded, now, at) {
			failed = failed || i.removingForeign.Holds() // it may be the one
			continue
		}
		if _, err := i.remove(i.found(p)); err != nil {
			failed = true
			i.removingForeign.Fail(foreignUnremoved, err, zap.Stringer("address", p))
			at.by(now.Add(observeAgain))
		}
	}
	if !failed {
		i.removingForeign.Clear()
	}
}

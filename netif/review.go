package netif

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
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

// look takes what the kernel says. With follow the configured name counts for more
// than the interface that had it.
func (i *Interface) look(follow bool) error {
	asked := time.Now()
	l, all, err := i.kernel.state(follow)
	if err != nil {
		return fmt.Errorf("look at %s: %w", i.o.Name, err)
	}
	i.see(l, all, asked)
	return nil
}

// see takes what the kernel said to a question that was asked at some time: what is left
// of a life counts from then, however long the answer took.
func (i *Interface) see(l link, all []address, asked time.Time) {
	i.recognize(l)
	i.setReady(l)
	another := l.index != i.link.index
	returned := l.ready() && (!i.link.ready() || another || !bytes.Equal(l.mac, i.link.mac))
	i.link = l
	i.present = make(map[netip.Addr][]address, len(i.held))
	i.strays = map[netip.Addr][]address{}
	now := time.Now()
	for _, a := range all {
		if _, managed := i.managed[a.prefix.Addr()]; !managed {
			continue
		}
		a.seen = asked
		if a.on == l.index {
			i.present[a.prefix.Addr()] = append(i.present[a.prefix.Addr()], a)
		} else {
			i.strays[a.prefix.Addr()] = append(i.strays[a.prefix.Addr()], a)
		}
	}
	if !l.up || another {
		i.excuse()
	}
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
	now := time.Now()
	renewed, healed := i.renewed.Swap(false), i.healed.Swap(false)
	moved := i.moved.Swap(false) && i.foreign()
	if news := i.hear(now); !news && !renewed && !healed && !moved && now.Before(i.due) {
		return i.due
	}
	err := i.look(len(i.held) == 0)
	if err != nil && !i.failing {
		i.log.Warn("cannot look at the addresses of the interface; trying again", zap.Error(err))
	} else if err == nil && i.failing {
		i.log.Info("looking at the addresses of the interface again")
	}
	i.failing = err != nil
	now = time.Now()
	i.hear(now) // why something is missing that was there a moment ago
	at := earliest(now.Add(time.Hour))
	// What was seen last is renewed all the same: not to be able to look is no reason
	// to let it go.
	i.renew(now, renewed, &at)
	i.announceAll(healed, &at)
	if err != nil {
		at.by(now.Add(lookAgain))
	} else {
		i.removeForeign(now, &at)
		i.tellStrays(&at)
	}
	i.age(now, &at)
	i.due = time.Time(at)
	return i.due
}

// foreign reports whether there is an address whose owner matters: one that is here and
// not held.
func (i *Interface) foreign() bool {
	for a := range i.present {
		if i.held[a] == nil {
			return true
		}
	}
	return len(i.strays) > 0
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

// fits reports whether what is on the interface is what was bound there.
func (b *binding) fits(a address) bool {
	return a.prefix == b.prefix && !a.duplicate && !a.seen.Add(a.valid).After(b.latest.Add(time.Second))
}

// judge says what becomes of a held address, from what is there under it.
func (b *binding) judge(there []address, up bool, end, now time.Time) verdict {
	seconds, _ := lifetime(end, now)
	fits := len(there) == 1 && b.fits(there[0])
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
		if _, err := i.remove(over); err != nil {
			i.log.Error("cannot remove the addresses; trying again", zap.Error(err))
			at.by(now.Add(slack))
		}
	}
	if len(back) > 0 {
		if failed := i.bind(back); len(failed) > 0 {
			i.log.Warn("cannot bind the addresses; trying again", zap.Error(first(failed)), zap.Int("addresses", len(failed)))
			at.by(now.Add(lookAgain))
		}
	}
	if i.again.After(now) {
		at.by(i.again)
	}
}

// first returns what failed for the lowest address: the others' reason is the same, or
// is told when this one is mended.
func first(failed map[*binding]error) error {
	lowest := slices.MinFunc(slices.Collect(maps.Keys(failed)), func(a, b *binding) int { return a.prefix.Compare(b.prefix) })
	return fmt.Errorf("bind %v: %w", lowest.prefix, failed[lowest])
}

// announceAll sends the announcements that are due.
func (i *Interface) announceAll(healed bool, at *earliest) {
	if !i.link.ready() {
		return // coming up begins anew
	}
	if now := time.Now(); healed && now.Before(i.anew.Add(fightGap)) {
		i.healed.Store(true)
		at.by(i.anew.Add(fightGap))
		healed = false
	} else if healed {
		i.anew = now
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
			if i.send(b) != nil {
				b.announceAgain(now.Add(repeat))
			}
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
		if _, err := i.remove(i.seen(p)); err != nil {
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

package netif

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Announce is how often an address is announced to the neighbours: three times
// in the first half second, then Count times every Interval, then every Refresh
// for as long as it is bound. 0 is never.
type Announce struct {
	Count    int
	Interval time.Duration
	Refresh  time.Duration
}

// burst is when the first announcements are sent, from the moment at which the
// address was bound: some switches and hosts lose the first frames after a
// change.
var burst = []time.Duration{0, 200 * time.Millisecond, 500 * time.Millisecond}

// gap returns the time between announcement n, counted from 0, and the one
// before it, and false where announcement n is not sent.
func (a Announce) gap(n int) (time.Duration, bool) {
	switch {
	case n == 0:
		return burst[0], true
	case n < len(burst):
		return burst[n] - burst[n-1], true
	case n < len(burst)+a.Count && a.Interval > 0:
		return a.Interval, true
	default:
		return a.Refresh, a.Refresh > 0
	}
}

// announceAnew begins a new series.
func (b *binding) announceAnew(now time.Time) { b.sent, b.next = 0, now }

// sendAgain is the time after which an announcement that the kernel refused is sent
// again.
const sendAgain = 200 * time.Millisecond

// announceAll sends the announcements that are due, and defends addresses that other
// hosts claim.
func (i *Interface) announceAll(reannounce bool) {
	at := earliest(time.Now().Add(time.Hour))
	defer func() { i.announceAt = time.Time(at) }()
	if !i.link.ready() {
		return // a new series begins when it is ready
	}
	if now := time.Now(); reannounce && now.Before(i.reannounced.Add(defenceGap)) {
		i.reannounce.Store(true)
		at.by(i.reannounced.Add(defenceGap))
		reannounce = false
	} else if reannounce {
		i.reannounced = now
	}
	for a, b := range i.bindings {
		if !b.bound || len(i.present[a]) == 0 {
			continue
		}
		now := time.Now()
		if reannounce {
			b.announceAnew(now)
		}
		if b.claimant != nil && i.defend(a, &i.disputes[a].wire, wasClaimed, now, &at, zap.String("mac", b.claimant.String())) {
			b.claimant = nil
			if i.send(b) != nil {
				b.announceAnew(now.Add(sendAgain))
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

// announce sends the announcement that is due.
func (i *Interface) announce(b *binding, now time.Time) {
	if err := i.send(b); err != nil {
		b.next = now.Add(sendAgain)
		return
	}
	b.sent++
	b.next = time.Time{}
	if gap, ok := i.o.Announce.gap(b.sent); ok {
		b.next = now.Add(gap)
	}
}

// send sends an announcement, if this host is still entitled to the address.
func (i *Interface) send(b *binding) error {
	if b.ended() || !time.Now().Before(i.o.End()) || i.link.mac == nil || !i.link.ready() {
		return nil
	}
	a := b.prefix.Addr()
	frames, err := announcement(a, i.link.mac)
	for _, f := range frames {
		err = errors.Join(err, i.kernel.send(f))
	}
	if err != nil {
		i.announcing.Fail(unannounced, err, zap.Stringer("address", b.prefix))
		return err
	}
	i.announcing.Clear(zap.Stringer("address", b.prefix))
	i.o.Metrics.announced(a)
	return nil
}

func announcement(a netip.Addr, mac net.HardwareAddr) ([][]byte, error) {
	if a.Is4() {
		return gratuitous(a, mac), nil
	}
	na, err := unsolicited(a, mac)
	return [][]byte{na}, err
}

package netif

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Announce says how often neighbours are told where an address is: three times
// in the first half second, then Count times every Interval, then every Refresh
// for as long as it is held. 0 is never.
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
// before it, and false where none is left.
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

// announceAgain begins a new series.
func (b *binding) announceAgain(now time.Time) { b.sent, b.next = 0, now }

// repeat is when an announcement is tried again that the system did not take.
const repeat = 200 * time.Millisecond

// announce sends the announcement that is due.
func (i *Interface) announce(b *binding, now time.Time) {
	if err := i.send(b); err != nil {
		b.next = now.Add(repeat)
		return
	}
	b.sent++
	b.next = time.Time{}
	if gap, ok := i.o.Announce.gap(b.sent); ok {
		b.next = now.Add(gap)
	}
}

// send tells the neighbours where an address is, if it still is. It says once that it
// cannot, and once that it can again.
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
		if !i.mute {
			i.mute = true
			i.log.Warn("cannot announce the address: neighbours look for it where it was; trying again", zap.Stringer("address", b.prefix), zap.Error(err))
		}
		return err
	}
	if i.mute {
		i.mute = false
		i.log.Info("announcing addresses again", zap.Stringer("address", b.prefix))
	}
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

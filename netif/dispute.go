package netif

import (
	"errors"
	"net/netip"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// The number of defences in a dispute over an address (an address conflict in RFC 5227)
// is bounded, so that two programs that both insist on an address do not keep the host
// and the network busy. RFC 5227, section 2.4 allows one defence in ten seconds; here the first ones follow sooner, because
// clients wait.
const (
	defenceGap     = time.Second
	disputeWindow  = time.Minute
	contestedLimit = 10 // defences in disputeWindow from which on an address is contested
	contestedGap   = 10 * time.Second
)

// reason tells against what an address was defended. It is a label of the metrics.
type reason string

const (
	wasDeleted reason = "deleted"
	wasAdded   reason = "added"
	wasClaimed reason = "claimed"
)

var reasons = []reason{wasDeleted, wasAdded, wasClaimed}

func (r reason) kind() journal.Kind {
	switch r {
	case wasDeleted:
		return addressDeleted
	case wasAdded:
		return addressAdded
	default:
		return addressClaimed
	}
}

// dispute has the defences of one address against one kind of opponent.
type dispute struct {
	defences  []time.Time // of the last minute
	contested bool
}

// disputes are those over one address: with programs on this host, and with other
// hosts.
type disputes struct {
	local, wire dispute
	contested   *journal.Condition
}

// next returns when the next defence is allowed; a time that has passed means now.
func (d *dispute) next() time.Time {
	if len(d.defences) == 0 {
		return time.Time{}
	}
	gap := defenceGap
	if d.contested {
		gap = contestedGap
	}
	return d.defences[len(d.defences)-1].Add(gap)
}

// defend retains a defence.
func (d *dispute) defend(now time.Time) {
	d.forget(now)
	d.defences = append(d.defences, now)
	d.contested = d.contested || len(d.defences) >= contestedLimit
}

// forget forgets the defences of more than a minute ago. A dispute ends with a minute
// without a defence.
func (d *dispute) forget(now time.Time) {
	for len(d.defences) > 0 && now.Sub(d.defences[0]) >= disputeWindow {
		d.defences = d.defences[1:]
	}
	d.contested = d.contested && len(d.defences) > 0
}

func (d *disputes) anyContested() bool { return d.local.contested || d.wire.contested }

// defend reports whether the limits allow a defence now, and retains it.
func (i *Interface) defend(a netip.Addr, d *dispute, why reason, now time.Time, at *earliest, fields ...zap.Field) bool {
	if next := d.next(); now.Before(next) {
		at.by(next)
		return false
	}
	before := d.contested
	d.defend(now)
	i.o.Metrics.defended(a, why)
	fields = append(fields, zap.Stringer("address", i.allManaged()[a]))
	switch {
	case before:
		i.journal.Debug(why.kind().Text, fields...)
	case d.contested:
		i.setContested(a, true)
		i.disputes[a].contested.Fail(contested, errors.New("it was "+string(why)+" by another program or host"),
			append(fields, zap.String("reason", string(why)))...)
	default:
		i.journal.Tell(why.kind(), fields...)
	}
	return true
}

// endDisputes ends the disputes in which the last defence was a minute ago.
func (i *Interface) endDisputes(now time.Time, at *earliest) {
	for a, d := range i.disputes {
		before := d.anyContested()
		d.local.forget(now)
		d.wire.forget(now)
		if before && !d.anyContested() {
			i.setContested(a, false)
			d.contested.Clear(zap.Stringer("address", i.allManaged()[a]))
		}
		if d.anyContested() {
			at.by(now.Add(disputeWindow / 2))
		}
	}
}

func (i *Interface) setContested(a netip.Addr, on bool) {
	i.o.Metrics.setContested(a, on)
	i.o.Contested(i.allManaged()[a], on)
}

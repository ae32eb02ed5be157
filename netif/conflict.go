package netif

import (
	"errors"
	"net/netip"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// The number of defences in an address conflict is bounded, so that two programs that
// both insist on an address do not keep the host and the network busy. RFC 5227, section
// 2.4 allows one defence in ten seconds; here the first ones follow sooner, because
// clients wait.
const (
	defenceGap     = time.Second
	conflictWindow = time.Minute
	contestedLimit = 10 // defences in conflictWindow from which on an address is contested
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

// conflict has the defences of one address against one kind of opponent.
type conflict struct {
	defences  []time.Time // of the last minute
	contested bool
}

// conflicts are those over one address: with programs on this host, and with other
// hosts.
type conflicts struct {
	local, wire conflict
	contested   *journal.Condition
}

// next returns when the next defence is allowed; a time that has passed means now.
func (c *conflict) next() time.Time {
	if len(c.defences) == 0 {
		return time.Time{}
	}
	gap := defenceGap
	if c.contested {
		gap = contestedGap
	}
	return c.defences[len(c.defences)-1].Add(gap)
}

// defend retains a defence.
func (c *conflict) defend(now time.Time) {
	c.forget(now)
	c.defences = append(c.defences, now)
	c.contested = c.contested || len(c.defences) >= contestedLimit
}

// forget forgets the defences of more than a minute ago. A conflict ends with a minute
// without a defence.
func (c *conflict) forget(now time.Time) {
	for len(c.defences) > 0 && now.Sub(c.defences[0]) >= conflictWindow {
		c.defences = c.defences[1:]
	}
	c.contested = c.contested && len(c.defences) > 0
}

func (c *conflicts) anyContested() bool { return c.local.contested || c.wire.contested }

// defend reports whether the limits allow a defence now, and retains it.
func (i *Interface) defend(a netip.Addr, c *conflict, why reason, now time.Time, at *earliest, fields ...zap.Field) bool {
	if next := c.next(); now.Before(next) {
		at.by(next)
		return false
	}
	before := c.contested
	c.defend(now)
	i.o.Metrics.defended(a, why)
	fields = append(fields, zap.Stringer("address", i.managed[a]))
	switch {
	case before:
		i.journal.Debug(why.kind().Text, fields...)
	case c.contested:
		i.setContested(a, true)
		i.conflicts[a].contested.Fail(contested, errors.New("it was "+string(why)+" by another program or host"),
			append(fields, zap.String("reason", string(why)))...)
	default:
		i.journal.Tell(why.kind(), fields...)
	}
	return true
}

// endConflicts ends the conflicts in which the last defence was a minute ago.
func (i *Interface) endConflicts(now time.Time, at *earliest) {
	for a, c := range i.conflicts {
		before := c.anyContested()
		c.local.forget(now)
		c.wire.forget(now)
		if before && !c.anyContested() {
			i.setContested(a, false)
			c.contested.Clear(zap.Stringer("address", i.managed[a]))
		}
		if c.anyContested() {
			at.by(now.Add(conflictWindow / 2))
		}
	}
}

func (i *Interface) setContested(a netip.Addr, on bool) {
	i.o.Metrics.setContested(a, on)
	i.o.Contested(i.managed[a], on)
}

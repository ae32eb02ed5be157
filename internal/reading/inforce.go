package reading

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// decide puts in force what follows from what is known now, and tells of it. It is
// called with the lock held.
func (b *Book) decide() {
	f := Facts{Newest: b.newest, Runs: b.runs, Good: b.good, Before: b.now.Config, Bound: b.bound()}
	d := Decide(f)
	b.tell(d)
	switch {
	case b.runs != nil:
		b.good = b.runs
	case b.newest != nil:
		if _, isDoubtful := Doubt(b.newest, b.good); !isDoubtful {
			b.good = b.newest
		}
	}
	same := b.now.Config == d.Config || b.now.Config != nil && d.Config != nil &&
		reflect.DeepEqual(b.now.Config.Instances, d.Config.Instances) && reflect.DeepEqual(b.now.Config.Groups, d.Config.Groups)
	b.now = d
	b.own = map[string][]vrrp.FloatingIP{}
	if d.Config != nil {
		for i := range d.Config.Instances {
			b.own[d.Config.Instances[i].Name] = d.Config.Instances[i].Managed()
		}
	}
	if !same {
		close(b.channel())
		b.change = nil
	}
}

// bound reads the addresses of this host where the decision may need them.
func (b *Book) bound() func(netip.Addr) bool {
	file := b.runs
	if file == nil {
		file = b.newest
	}
	if b.Bound == nil || file == nil {
		return nil
	}
	has := addressesOf(file)
	for _, former := range []*keepalivedconf.Config{b.good, b.now.Config} {
		if former == nil {
			continue
		}
		for addr := range addressesOf(former) {
			if !has[addr] {
				is, err := b.Bound()
				if err != nil {
					b.Journal.Debug("cannot read the addresses of this host", zap.Error(err))
					return nil
				}
				return is
			}
		}
	}
	return nil
}

// Notes, for people.
const (
	changedNote = "keepalived.conf was changed and keepalived has not loaded it: reload keepalived"
	cure        = "mend it, then reload keepalived"
)

// The log names one of these as in force while the file is not.
const (
	loadedInForce = "what keepalived has loaded"
	goodInForce   = "the last good reading"
	fileInForce   = "what could be read"
)

// tell tells the operators of the host what a decision means, and sets the note. It is
// called with the lock held, before the decision is in force.
func (b *Book) tell(d Decision) {
	waits := b.runs != nil && b.runs != b.newest
	var place keepalivedconf.Message
	isDoubtful := false
	if b.newest != nil {
		place, isDoubtful = Doubt(b.newest, b.good)
	}
	stays := slices.ContainsFunc(d.Differences, func(d Difference) bool { return d.InForce && d.Reason != StillBound })
	loud := b.err != nil || isDoubtful && b.runs != b.newest && (stays || b.newest.Refused || len(b.newest.Unclosed) > 0)
	note := ""
	switch {
	case b.err != nil && d.Config != nil:
		note = fmt.Sprintf("keepalived.conf cannot be read: %v", b.err)
	case isDoubtful && (loud || waits):
		note = fmt.Sprintf("keepalived.conf is unfinished or would be refused: %s:%d: %s; %s", place.File, place.Line, place.Message, cure)
	case waits:
		note = changedNote
	}
	if note != b.note {
		b.note = note
		if b.Noted != nil {
			b.Noted(note)
		}
	}
	inForce := "nothing"
	switch {
	case b.runs != nil:
		inForce = loadedInForce
	case b.good != nil:
		inForce = goodInForce
	case b.newest != nil:
		inForce = fileInForce
	}
	switch {
	case b.err != nil:
		b.file.Fail(unreadable, b.err, zap.String("file", b.Path), zap.String("in_force", inForce))
	case loud:
		b.file.Fail(doubtful, fmt.Errorf("%s:%d: %s", place.File, place.Line, place.Message),
			zap.String("file", place.File), zap.Int("line", place.Line), zap.String("in_force", inForce))
	case waits:
		b.file.Fail(notLoaded, errors.New(note), zap.String("file", b.Path))
	default:
		about := []zap.Field{zap.String("file", b.Path), zap.Int("instances", len(b.newest.Instances)), zap.Int("warnings", len(b.newest.Warnings))}
		again := b.file.Holds()
		b.file.Clear(about...)
		if !again && b.newest != b.told {
			b.Journal.Tell(read, about...)
		}
	}
	b.told = b.newest
}

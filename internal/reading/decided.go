package reading

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// decide puts in force what follows from what is known now, and says what there
// is to say. It is called with the lock held.
func (b *Book) decide() {
	f := Facts{Newest: b.newest, Runs: b.runs, Good: b.good, Before: b.now.Config, Bound: b.bound()}
	d := Decide(f)
	b.speak(d)
	switch {
	case b.runs != nil:
		b.good = b.runs
	case b.newest != nil:
		if _, doubtful := Doubt(b.newest, b.good); !doubtful {
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

// bound looks at the addresses of this host where the decision may need it.
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
					b.Log.Debug("cannot look at the addresses of this host", zap.Error(err))
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

// speak logs what a decision means for those who run this host, each thing once,
// and sets the note. It is called with the lock held, before the decision is in
// force.
func (b *Book) speak(d Decision) {
	notLoaded := b.runs != nil && b.runs != b.newest
	var place keepalivedconf.Message
	doubtful := false
	if b.newest != nil {
		place, doubtful = Doubt(b.newest, b.good)
	}
	kept := slices.ContainsFunc(d.Differences, func(d Difference) bool { return d.InForce && d.Reason != StillBound })
	loud := b.err != nil || doubtful && b.runs != b.newest && (kept || b.newest.Refused || len(b.newest.Unclosed) > 0)
	note := ""
	switch {
	case b.err != nil && d.Config != nil:
		note = fmt.Sprintf("keepalived.conf cannot be read: %v", b.err)
	case doubtful && (loud || notLoaded):
		note = fmt.Sprintf("keepalived.conf is unfinished or would be refused: %s:%d: %s; %s", place.File, place.Line, place.Message, cure)
	case notLoaded:
		note = changedNote
	}
	if note != b.note {
		b.note = note
		if b.Noted != nil {
			b.Noted(note)
		}
	}
	what := note
	if b.err != nil {
		what = b.err.Error()
	} else if loud {
		what = fmt.Sprint(place)
	}
	if what != "" && what == b.said {
		return
	}
	log := b.Log.With(zap.String("file", b.Path))
	switch {
	case b.err != nil && b.runs != nil:
		log.Error("cannot read keepalived's configuration; what keepalived has loaded stays in force", zap.Error(b.err))
	case b.err != nil && b.good != nil:
		log.Error("cannot read keepalived's configuration; the last good reading stays in force", zap.Error(b.err))
	case b.err != nil:
		log.Error("cannot read keepalived's configuration", zap.Error(b.err))
	case loud && b.runs != nil:
		b.doubtful(place, "keepalived's configuration is unfinished or would be refused; what keepalived has loaded stays in force")
	case loud && b.good != nil:
		b.doubtful(place, "keepalived's configuration is unfinished or would be refused; the last good reading stays in force")
	case loud && b.newest.Refused:
		b.doubtful(place, "keepalived would refuse this configuration; acting on what could be read")
	case loud:
		b.doubtful(place, "keepalived's configuration is unfinished; acting on what could be read")
	case notLoaded:
		log.Info("keepalived's configuration was changed, and keepalived has not loaded it; what it has loaded stays in force")
	case b.newest != b.spoken:
		log.Info("keepalived's configuration was read; `berth show` lists its warnings",
			zap.Int("instances", len(b.newest.Instances)), zap.Int("warnings", len(b.newest.Warnings)))
	}
	b.said, b.spoken = what, b.newest
}

// doubtful logs where a file is doubtful.
func (b *Book) doubtful(at keepalivedconf.Message, message string) {
	b.Log.Error(message, zap.String("file", at.File), zap.Int("line", at.Line), zap.String("reason", at.Message))
}

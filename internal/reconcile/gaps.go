package reconcile

import (
	"context"
	"maps"
	"slices"
	"time"

	"berth/internal/keepalived"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// confirmAfter is how long the addresses must stay where they are before they
// make an instance MASTER that keepalived could not be asked about: one that is
// only starting takes away what its dead predecessor has left.
const confirmAfter = time.Second

// fill reviews what it is asked to, and reports whether it has to do so again.
func (r *Reconciler) fill(ctx context.Context) (again bool) {
	r.Flush(ctx) // lines that wait come first
	r.mu.Lock()
	all, lost, at := r.all, r.lost, r.lostAt
	r.all, r.lost = false, nil
	r.mu.Unlock()
	conf, err := r.Book.Reading()
	if conf == nil {
		r.Journal.Debug("there is no configuration of keepalived to compare this host with", zap.Error(err))
		conf = &keepalivedconf.Config{}
	}
	var wanted []configured
	for i := range conf.Instances {
		in := &conf.Instances[i]
		if _, isLost := lost[in.Name]; all && !r.Table.Known(in.Name) || isLost {
			wanted = append(wanted, configuredOf(in))
		}
	}
	var strays []string // renamed, perhaps
	if all && err == nil {
		for _, name := range r.Table.Masters() {
			if _, ok := conf.Instance(name); !ok {
				strays = append(strays, name)
			}
		}
	}
	if len(wanted) == 0 && len(lost) == 0 && len(strays) == 0 {
		return false
	}
	begun := time.Now()
	findings, dump := r.examineAll(ctx, wanted, len(lost) > 0 || len(strays) > 0)
	r.Flush(ctx)
	renamed := false
	for _, in := range wanted {
		if _, isLost := lost[in.name]; isLost {
			continue
		}
		if found := findings[in.name]; found.evidence == master {
			renamed = true
			r.correct(vrrp.Event{Instance: in.name, State: vrrp.Master, Reason: "found-bound: " + found.reason}, time.Time{})
		} else {
			r.Journal.Debug("this host shows nothing to correct", zap.String("instance", in.name), zap.String("reason", found.reason))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		r.correct(afterLoss(lost[name], findings[name], dump), at)
	}
	for _, name := range strays {
		switch {
		case dump.Denies(name):
			r.correct(vrrp.Event{Instance: name, State: vrrp.Deleted, Reason: "neither keepalived's configuration nor its state dump has the instance"}, begun)
		case dump == nil && renamed:
			r.correct(vrrp.Event{Instance: name, State: vrrp.Deleted, Reason: "keepalived's configuration does not have the instance, and another one has turned up as MASTER"}, begun)
		default:
			again = true
		}
	}
	return again
}

// finding is what the machine shows of an instance, and why.
type finding struct {
	evidence
	reason string
}

// afterLoss decides the state of an instance of which lines were lost. last is
// the last line that was not.
func afterLoss(last vrrp.Event, found finding, dump keepalived.Dump) vrrp.Event {
	ev := vrrp.Event{Instance: last.Instance, State: last.State, Priority: last.Priority}
	switch found.evidence {
	case master:
		ev.State, ev.Reason = vrrp.Master, "lines were lost: "+found.reason
	case notMaster:
		ev.Reason = "lines were lost: " + found.reason
		if state := dump[last.Instance]; state != vrrp.Unknown {
			ev.State = state // keepalived's own word, whatever became of an address
		} else if last.State == vrrp.Master {
			ev.State = vrrp.Backup // in doubt it is not MASTER
		}
	default:
		ev.Reason = "lines were lost, this is the last that was not: " + found.reason
	}
	return ev
}

// examineAll examines each of the instances. The dump is nil where keepalived could
// not be asked, or need not be.
func (r *Reconciler) examineAll(ctx context.Context, instances []configured, insist bool) (map[string]finding, keepalived.Dump) {
	findings := map[string]finding{}
	every := func(result finding) map[string]finding {
		for _, in := range instances {
			findings[in.name] = result
		}
		return findings
	}
	switch r.Keepalived.Verdict() {
	case keepalived.Dead:
		return every(finding{notMaster, "keepalived does not run"}), nil
	case keepalived.Unknown:
		return every(finding{nothing, "keepalived was not found, which does not prove that it does not run"}), nil
	}
	k, err := r.Keepalived.Current()
	if err != nil || k.VRRP == 0 {
		return every(finding{nothing, "keepalived's VRRP process was not found"}), nil
	}
	examineWith := func(dump keepalived.Dump) (masters int) {
		bound, known, err := r.Bound()
		if err != nil {
			every(finding{nothing, err.Error()})
			return 0
		}
		for _, in := range instances {
			result, reason := examine(in, bound, known, dump)
			findings[in.name] = finding{result, reason}
			if result == master {
				masters++
			}
		}
		return masters
	}
	if examineWith(nil) == 0 && !insist {
		return findings, nil // there is nothing to ask keepalived about
	}
	dump, err := r.Keepalived.Dump(ctx)
	if err == nil {
		examineWith(dump)
		return findings, dump
	}
	r.Journal.Debug("keepalived could not be asked; examining the addresses twice", zap.Error(err))
	first := maps.Clone(findings)
	select {
	case <-ctx.Done():
		return map[string]finding{}, nil
	case <-time.After(confirmAfter):
	}
	examineWith(nil)
	for name, was := range first {
		switch {
		case was.evidence == notMaster:
			findings[name] = was // in doubt it is not MASTER
		case findings[name].evidence == master && !r.evident(k):
			findings[name] = finding{nothing, noEvidence}
		}
	}
	return findings, nil
}

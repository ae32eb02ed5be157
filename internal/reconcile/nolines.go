package reconcile

import (
	"context"
	"slices"
	"time"

	"berth/internal/keepalived"
	"berth/vrrp"

	"go.uber.org/zap"
)

// askDeaf is how often keepalived is asked for its states while no line can
// arrive. A change of addresses is a reason to ask at once.
const askDeaf = 2 * time.Second

// decideWithoutLines decides the states from keepalived's state dump and the addresses
// while no line can arrive, and once more when lines can again, as what happened in the
// last moment is not known then. It reports whether no line can arrive.
func (r *Reconciler) decideWithoutLines(ctx context.Context) bool {
	why, ended := r.Deaf(), false
	ended, r.deaf = r.deaf && why == "", why != ""
	if why == "" && !ended {
		return false
	}
	r.Flush(ctx)
	conf, _ := r.Book.Reading()
	var instances []configured
	if conf != nil {
		for i := range conf.Instances {
			instances = append(instances, configuredOf(&conf.Instances[i]))
		}
	}
	masters := r.Table.Masters()
	for _, name := range masters {
		if !slices.ContainsFunc(instances, func(in configured) bool { return in.name == name }) {
			instances = append(instances, configured{name: name})
		}
	}
	r.note(instances, why)
	begun := time.Now()
	states := r.decideAll(ctx, instances)
	r.Flush(ctx)
	for _, in := range instances {
		found, isMaster := states[in.name], slices.Contains(masters, in.name)
		switch {
		case found.state == vrrp.Unknown, found.state == vrrp.Deleted && !isMaster:
			r.Journal.Debug("this host does not show the state", zap.String("instance", in.name), zap.String("reason", found.reason))
		case found.state == vrrp.Master && isMaster:
		default:
			r.correct(vrrp.Event{Instance: in.name, State: found.state, Reason: "found without events: " + found.reason}, begun)
		}
	}
	return why != ""
}

type decision struct {
	state  vrrp.State
	reason string
}

// decideAll asks keepalived, or reads its addresses twice where it does not answer.
func (r *Reconciler) decideAll(ctx context.Context, instances []configured) map[string]decision {
	k, err := r.Keepalived.Current()
	if err != nil || k.VRRP == 0 || r.Keepalived.Verdict() != keepalived.Alive {
		return nil
	}
	bound, known, unreadable := r.Bound()
	dump, err := r.Keepalived.Dump(ctx)
	states := map[string]decision{}
	decideOnce := func() {
		for _, in := range instances {
			state, reason := decide(in, bound, known, dump)
			if state == vrrp.Master && dump == nil && !r.evident(k) {
				state, reason = vrrp.Unknown, noEvidence
			}
			if former, ok := states[in.name]; ok && former.state != state {
				state, reason = vrrp.Unknown, "its addresses come or go"
			}
			states[in.name] = decision{state, reason}
		}
	}
	if err == nil {
		decideOnce()
		return states
	}
	r.Journal.Debug("keepalived could not be asked; reading the addresses twice", zap.Error(err))
	if unreadable != nil {
		return nil
	}
	decideOnce()
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(confirmAfter):
	}
	if bound, known, unreadable = r.Bound(); unreadable != nil {
		return nil
	}
	decideOnce()
	return states
}

// note puts into the status of each instance why no line can arrive.
func (r *Reconciler) note(instances []configured, why string) {
	if why == "" {
		for name := range r.noted {
			r.Board.Deaf(name, "")
		}
		r.noted = nil
		return
	}
	if r.noted == nil {
		r.noted = map[string]bool{}
	}
	for _, in := range instances {
		if !r.noted[in.name] {
			r.noted[in.name] = true
			r.Board.Deaf(in.name, why)
		}
	}
}

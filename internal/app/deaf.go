package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/vrrp"

	"go.uber.org/zap"
)

// askDeaf is how often keepalived is asked for its states while no line can
// arrive. A change of addresses is a reason to ask at once.
const askDeaf = 2 * time.Second

// setDeaf tells why no line can arrive from now on, with the cure; empty, that
// lines can again.
func (f *finder) setDeaf(why string) {
	f.mu.Lock()
	if f.deaf != "" && why == "" {
		f.closed = true // what happened in the last moment is not known yet
	}
	f.deaf = why
	f.mu.Unlock()
	f.poke()
}

// moved is told that addresses have changed.
func (f *finder) moved() {
	f.mu.Lock()
	deaf := f.deaf != ""
	f.mu.Unlock()
	if deaf {
		f.poke()
	}
}

// findDeaf decides the states from the machine while no line can arrive, and
// once more when lines can again. It reports whether that was so.
func (f *finder) findDeaf(ctx context.Context) bool {
	f.mu.Lock()
	why, closed := f.deaf, f.closed
	f.closed = false
	f.mu.Unlock()
	if why == "" && !closed {
		return false
	}
	f.flush(ctx)
	conf, _ := f.book.Reading()
	var instances []truth.Instance
	if conf != nil {
		for i := range conf.Instances {
			instances = append(instances, examinee(&conf.Instances[i]))
		}
	}
	masters := f.masters()
	for _, name := range masters {
		if !slices.ContainsFunc(instances, func(in truth.Instance) bool { return in.Name == name }) {
			instances = append(instances, truth.Instance{Name: name})
		}
	}
	f.note(instances, why)
	begun := time.Now()
	states := f.decide(ctx, instances)
	f.flush(ctx)
	for _, in := range instances {
		found, master := states[in.Name], slices.Contains(masters, in.Name)
		switch {
		case found.state == vrrp.Unknown, found.state == vrrp.Deleted && !master:
			f.log.Debug("the machine does not tell the state", zap.String("instance", in.Name), zap.String("reason", found.reason))
		case found.state == vrrp.Master && master:
		default:
			f.correct(vrrp.Event{Instance: in.Name, State: found.state, Reason: "found without events: " + found.reason}, begun)
		}
	}
	return why != ""
}

type decision struct {
	state  vrrp.State
	reason string
}

// decide asks keepalived, or looks at its addresses twice where it does not
// answer.
func (f *finder) decide(ctx context.Context, instances []truth.Instance) map[string]decision {
	k, ok := f.keepalived()
	if !ok || k.VRRP == 0 || f.verdict() != supervise.Alive {
		return nil
	}
	bound, known, seen := f.bound()
	dump, err := f.ask(ctx, k.Parent, k.VRRP)
	states := map[string]decision{}
	look := func() {
		for _, in := range instances {
			state, reason := truth.Decide(in, bound, known, dump)
			if state == vrrp.Master && dump == nil && !f.evident(k) {
				state, reason = vrrp.Unknown, noEvidence
			}
			if former, ok := states[in.Name]; ok && former.state != state {
				state, reason = vrrp.Unknown, "its addresses come or go"
			}
			states[in.Name] = decision{state, reason}
		}
	}
	if err == nil {
		look()
		return states
	}
	f.log.Debug("keepalived could not be asked; looking twice", zap.Error(err))
	if seen != nil {
		return nil
	}
	look()
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(confirmFound):
	}
	if bound, known, seen = f.bound(); seen != nil {
		return nil
	}
	look()
	return states
}

// note puts into the status of each instance why no line can arrive.
func (f *finder) note(instances []truth.Instance, why string) {
	if why == "" {
		for name := range f.noted {
			f.status.Deaf(name, "")
		}
		f.noted = nil
		return
	}
	if f.noted == nil {
		f.noted = map[string]bool{}
	}
	for _, in := range instances {
		if !f.noted[in.Name] {
			f.noted[in.Name] = true
			f.status.Deaf(in.Name, why)
		}
	}
}

// heard takes whether what keepalived writes can reach berth.
func (s *service) heard(h supervise.Hearing, k supervise.Keepalived, why error) {
	former := ""
	if p := s.deaf.Load(); p != nil {
		former = *p
	}
	now := ""
	log := s.log.With(zap.String("fifo", s.reader.Path), zap.Int("pid", k.Parent))
	switch {
	case h == supervise.Deaf:
		cure := s.hearAgain(k)
		now = "keepalived does not have " + s.reader.Path + " open, which it opens only at its start and reload; cure: " + cure
		message := "keepalived does not have the FIFO open and no event of it can arrive; the addresses and keepalived's state dump decide until it has"
		if !k.Proven {
			message = "keepalived does not have the FIFO open and no event of it can arrive; berth may not ask keepalived, which takes root, and the states stay as they are until it has"
		}
		log.Error(message, zap.String("cure", cure))
	case former != "" && h == supervise.Hears:
		log.Info("keepalived has the FIFO open again; its events count again")
	case former != "":
		log.Info("keepalived without the FIFO open is not seen any more", zap.Error(why))
	case why != nil:
		log.Warn("cannot see whether keepalived has the FIFO open: a FIFO that was replaced under it is noticed only if no process has it open to write; run berth as root, or with CAP_SYS_PTRACE",
			zap.Error(why))
	}
	s.meters.heard(h)
	s.deaf.Store(&now)
	s.current.Load().finder.setDeaf(now)
}

// hearAgain returns what makes keepalived open the FIFO.
func (s *service) hearAgain(k supervise.Keepalived) string {
	gen := s.current.Load()
	cure := reopen(gen.cfg.KeepalivedConfig, k.Parent)
	if conf, _ := gen.book.Reading(); conf != nil && !slices.Contains(conf.FIFOs, s.reader.Path) {
		cure = fmt.Sprintf("add vrrp_notify_fifo %s to global_defs in %s, and then %s", s.reader.Path, gen.cfg.KeepalivedConfig, cure)
	}
	return cure
}

// reopen returns the command that makes keepalived open its FIFOs anew. keepalived
// ends where it is told to reload what it refuses, and so the file is tested
// first.
func reopen(conf string, pid int) string {
	return fmt.Sprintf("keepalived -t -f %s && kill -HUP %d", conf, pid)
}

// silent takes that the FIFO of a keepalived that cannot be watched has had no
// writer for long.
func (s *service) silent(ctx context.Context, since time.Time) {
	flushCtx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	s.reader.Flush(flushCtx)
	if n := s.table.End(fmt.Errorf("%w: it has closed the FIFO", supervise.ErrGone), time.Now()); n > 0 {
		s.log.Warn("keepalived has closed the FIFO and not opened it again; ending what it began",
			zap.Time("since", since), zap.Int("instances", n))
	}
}

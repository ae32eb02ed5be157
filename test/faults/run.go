package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Run is one fault, or more, in a lab.
type Run struct {
	*Lab
	Ctx    context.Context
	Victim *Host
	Idle   *Host // next to it
	// Since is the beginning of the time that is judged.
	Since time.Time
	undo  []func() error
}

// NewRun begins a run, with an owner as victim if none is named.
func NewRun(ctx context.Context, l *Lab, victim *Host) (*Run, error) {
	if victim == nil {
		if victim = l.Victim(); victim == nil {
			return nil, errors.New("begin run: there is no owner")
		}
	}
	return &Run{Lab: l, Ctx: ctx, Victim: victim, Idle: l.Hosts[victim.number%len(l.Hosts)], Since: time.Now()}, nil
}

// Begin injects a fault.
func (r *Run) Begin(f Fault) error {
	r.record.act(Act{What: f.Name + " of " + r.Victim.Name(), Fault: true, Allow: f.Limits.TwoOwners, Deaf: f.Deaf, Shared: f.Limits.Shared})
	if err := f.Inject(r); err != nil {
		return fmt.Errorf("inject %s: %w", f.Name, err)
	}
	return nil
}

// Do is one run: it waits for one owner and service, injects the fault, heals it, and
// lets the lab run on for a while, in which a mistake of berth would show. The error
// is that of a lab that failed, or that did not come back to one owner and service;
// the history is nil only if there was no owner at first. phase, from 0 to 1, shifts
// the fault between two renewals of the lease, on which it depends how long the
// lease of a dead owner lives.
func Do(ctx context.Context, l *Lab, f Fault, phase float64) (*History, error) {
	if err := l.Settle(ctx); err != nil {
		return nil, err
	}
	r, err := NewRun(ctx, l, nil)
	if err != nil {
		return nil, err
	}
	err = errors.Join(r.Pass(calm+time.Duration(phase*float64(renewal))), r.Begin(f))
	if err == nil {
		err = r.Pass(f.Lasts)
	}
	err = errors.Join(err, r.Heal(f.Name, f.Limits))
	healed := time.Now()
	if err == nil {
		err = l.Until(ctx, "one owner and service after "+f.Name, func() bool { return l.Served(healed) })
	}
	err = errors.Join(err, r.Pass(max(after, f.Limits.Reunited+calm)))
	return l.History(r.Since), err
}

// Heal ends all that was injected, the last first.
func (r *Run) Heal(what string, l Limits) error {
	if len(r.undo) == 0 {
		return nil
	}
	// Two owners may come of the end of a fault as of its beginning.
	r.record.act(Act{What: "heal " + what, Healing: true, Allow: l.TwoOwners})
	var errs []error
	for _, u := range slices.Backward(r.undo) {
		errs = append(errs, u())
	}
	r.undo = nil
	r.record.act(Act{What: "healed " + what, Heal: true, Allow: l.TwoOwners, Reunited: l.Reunited})
	return errors.Join(errs...)
}

// Pass lets a fault last. It is the only thing in the lab that takes time for
// its own sake.
func (r *Run) Pass(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.Ctx.Done():
		return context.Cause(r.Ctx)
	}
}

// bar says that from now to the heal a host may not own an address.
func (r *Run) bar(h *Host) {
	r.record.act(Act{What: h.Name() + " may not own an address", Barred: h.Name()})
}

func (r *Run) heal(f func() error) { r.undo = append(r.undo, f) }

package app

import (
	"context"

	"berth/config"
	"berth/election"
	"berth/guard"
	"berth/internal/run"
	"berth/internal/seat"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
)

// fence is what a MASTER needs beside keepalived's word: to own its instance in
// etcd. Two hosts that are both MASTER, cut off from each other, both ask; one
// of them gets it.
type fence struct {
	member  *election.Member
	history *seat.History
	alone   bool
	seat    *seat.Seat // nil: of no use to a successor
	status  *status.Board
	log     *zap.Logger
}

// fenced reports whether there is a fence. A dry run has none: to own an instance
// in etcd is a change, and would keep the real owner out.
func (o *Options) fenced(cfg *config.Config) bool { return cfg.Fencing.Enabled && !o.DryRun }

// newFence returns nil if fencing is off. With a seat, the lease is adopted from
// a predecessor and left to a successor.
func (o *Options) newFence(cfg *config.Config, place *seat.Seat, b *status.Board, metrics *election.Metrics, log *zap.Logger) (*fence, error) {
	if !o.fenced(cfg) {
		return nil, nil
	}
	m, history, err := o.newMember(cfg, place, metrics, log)
	if err != nil {
		return nil, err
	}
	f := &fence{member: m, history: history, alone: cfg.Fencing.OnEtcdLoss == config.Allow, seat: place, status: b, log: log}
	m.Doubled = b.Doubled
	m.Init()
	return f, nil
}

// run keeps the lease while work runs, which returns when all holdings have
// ended; without fencing it just calls it.
func (f *fence) run(ctx context.Context, work func(context.Context) error) error {
	if f == nil {
		return work(ctx)
	}
	err := f.member.Run(ctx, func(ctx context.Context) error {
		tasks := []run.Task{
			{Name: "work", Run: work},
			{Name: "history", Run: func(ctx context.Context) error { return f.history.Run(ctx, f.member.Seen) }},
		}
		if f.seat != nil {
			tasks = append(tasks, run.Task{Name: "record", Run: func(ctx context.Context) error { return f.seat.Run(ctx, f.member.End, f.member.Unacknowledged) }})
		}
		return run.Together(ctx, tasks...)
	})
	if cerr := f.member.Etcd.Close(); cerr != nil {
		f.log.Debug("cannot close the connections to etcd", zap.Error(cerr))
	}
	return err
}

// whileOpen calls act with a permit whenever this host owns the instance, until
// ctx ends. The permit ends before another host can own it.
func (f *fence) whileOpen(ctx context.Context, name string, permit *guard.Permit, act func(context.Context, *guard.Permit) error) error {
	log := f.log.With(zap.String("instance", name))
	c := election.Campaign{Instance: name, Alone: f.alone, Log: log, Changed: func(s election.Status) {
		if s.State != vrrp.Master {
			log.Warn("MASTER, but not acting", zap.String("reason", s.Reason), zap.String("owner", s.Owner))
		}
		o := status.Ownership{Owner: s.Owner, Token: s.Token}
		if f.seat != nil {
			o.Lease = f.seat.Path()
		}
		if s.State != vrrp.Master {
			o.Withheld = "not acting: " + s.Reason
			if s.Owner != "" {
				o.Withheld += " (" + s.Owner + ")"
			}
		}
		f.status.Ownership(name, o)
	}}
	return f.member.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error {
		return act(ctx, permit.Fenced(ctx, g.Check))
	})
}

package app

import (
	"context"

	"berth/config"
	"berth/election"
	"berth/guard"
	"berth/internal/fence"
	"berth/internal/journal"
	"berth/internal/seat"
	"berth/internal/status"

	"go.uber.org/zap"
)

// fencing is the part of this host in the elections of instances that keepalived makes
// MASTER, one for the life of the process. Without fencing it is empty.
type fencing struct {
	member    *election.Member // nil without fencing
	elections fence.Elections  // those of the member
	history   *seat.History
	seat      *seat.Seat // nil: there is no successor to leave the lease to
	alone     bool
	journal   *journal.Journal
}

// fenced reports whether instances are fenced. In a dry run they are not: to own an
// instance in etcd is a change, and would keep the real owner out.
func (o *Options) fenced(cfg *config.Config) bool { return cfg.Fencing.Enabled && !o.DryRun }

// newFencing makes no connection. With a seat, the lease is adopted from a predecessor
// and left to a successor. doubled is told when another host takes part under the name
// of this one.
func (o *Options) newFencing(cfg *config.Config, place *seat.Seat, doubled func(instance string, on bool), metrics *election.Metrics, j *journal.Journal) (*fencing, error) {
	if !o.fenced(cfg) {
		return &fencing{}, nil
	}
	m, history, err := o.newMember(cfg, place, metrics)
	if err != nil {
		return nil, err
	}
	m.Doubled = doubled
	m.Init()
	return &fencing{member: m, elections: fence.ElectionsOf(m), history: history, seat: place, alone: cfg.Fencing.OnEtcdLoss == config.Allow, journal: j}, nil
}

// guards returns the guard of a holding that has this status, none without fencing.
func (f *fencing) guards(b *status.Board) []guard.Guard {
	if f.elections == nil {
		return nil
	}
	l := &fence.Lease{Elections: f.elections, Alone: f.alone, Status: b, Journal: f.journal}
	if f.seat != nil {
		l.Record = f.seat.Path()
	}
	return []guard.Guard{l}
}

// run has the lease for as long as work runs, which returns when all holdings have
// ended.
func (f *fencing) run(ctx context.Context, work func(context.Context) error) error {
	if f.member == nil {
		return work(ctx)
	}
	err := fence.Run(ctx, f.member, f.history, f.seat, work)
	if cerr := f.member.Etcd.Close(); cerr != nil {
		f.journal.Debug("cannot close the connections to etcd", zap.Error(cerr))
	}
	return err
}

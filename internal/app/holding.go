package app

import (
	"context"
	"errors"
	"time"

	"berth/guard"
	"berth/internal/holding"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/notify"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// recordAfter is when the claims of a burst are out. The record of a service serves only
// a notify script that finds the lock held, because the events of a service come in
// order; so the record can wait.
const recordAfter = 200 * time.Millisecond

// lock returns the guard that the lock files are. It ends the process of the former
// state, and this process is found by the next one as record says.
func (g *graph) lock(recordAfter time.Duration, record func(ctx context.Context, instance string, locked []string) (leave func() error, err error)) *guard.FileLock {
	return &guard.FileLock{
		Path:         g.cfg.LockFile,
		Former:       g.cfg.FormerLockFile,
		OwnDirectory: g.cfg.OwnLockDirectory,
		Timeout:      g.cfg.LockTimeout,
		Busy: func(ctx context.Context, instance, path string) error {
			return notify.Supersede(ctx, path, g.self, g.journal.With(zap.String("instance", instance)))
		},
		Record:      record,
		RecordAfter: recordAfter,
		Journal:     g.journal,
	}
}

// register puts this process on record, as guard.FileLock has it done.
func (g *graph) register(ctx context.Context, instance string, locked []string) (leave func() error, err error) {
	return notify.Register(ctx, g.cfg.LockFile(instance), locked, g.self, g.cfg.LockTimeout, g.journal.With(zap.String("instance", instance)))
}

// holding returns what instances that are MASTER are held by. The guards stand between
// the lock and the loops, the outermost first.
func (g *graph) holding(lock guard.Guard, o *presence.Observer, guards ...guard.Guard) *holding.Holding {
	return &holding.Holding{
		Lock:      lock,
		Guard:     guard.Chain(guards...),
		Addresses: g.book.Addresses,
		Changed:   g.book.Watch,
		Passing:   func(err error) bool { return errors.Is(err, reading.ErrDoubtful) },
		Observe:   func(instance string) holding.Observation { return o.Watch(instance) },
		Loops: holding.Loops{
			New: func(instance string, ip vrrp.FloatingIP, check func(context.Context) error) *refresher.Loop {
				return g.cloud.Loop(instance, ip, check, g.journal.With(zap.String("instance", instance)))
			},
			Report: func(instance string, r []refresher.Report) { g.status.Addresses(instance, addresses(r)) },
		},
		Retry:     g.cloud.Policy(),
		Impatient: !g.self.Service,
		Status:    g.status,
		Journal:   g.journal,
	}
}

// addresses returns what loops know, in the form of the status.
func addresses(reports []refresher.Report) []status.Address {
	var list []status.Address
	for _, r := range reports {
		list = append(list, status.Address{
			Address: r.Address, Owner: r.Owner, Since: r.Since, LastCall: r.LastCall,
			LastError: r.LastError, Claims: r.Claims, Thefts: r.Thefts, Contested: r.Contested,
		})
	}
	return list
}

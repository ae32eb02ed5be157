package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"berth/guard"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/run"
	"berth/internal/status"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Notify is the notify script: args are what keepalived adds, after the path
// of the configuration. For MASTER, Notify returns when the holding has ended, for
// every other event at once.
func (o *Options) Notify(ctx context.Context, configPath string, args []string) error {
	signal.Ignore(unix.SIGHUP) // there is nothing to read again
	ev, err := notify.ParseArgs(args)
	if err != nil {
		return &UsageError{err}
	}
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	o.Logs.File(cfg.LogFile)
	j := o.Journal()
	// The processes are opened before anything else: from here on the death of
	// keepalived cannot be missed.
	origin := keepalived.OriginOf(os.Getpid())
	defer origin.Close()
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile, Origin: origin, Script: true, Journal: j})
	network := presence.NewNetwork(k.VRRP)
	defer network.Close()
	self, err := notify.Self(false)
	if err != nil {
		return err
	}
	self.State, self.Script = ev.State, notify.Script{PID: origin.Script.PID, Start: origin.Script.Start}
	g, err := o.newGraph(cfg, self, k, network, newMeters(nil), j)
	if err != nil {
		return err
	}
	defer g.status.Flush()
	if ev.State != vrrp.Master {
		g.book.Noted = nil // no process would remain to withdraw the note
	}
	names, group := []string{ev.Instance}, ""
	var unknown error // of a group that is not configured
	if ev.Group {
		group = ev.Instance
		if names, unknown = g.book.Members(group); ev.State != vrrp.Master {
			// keepalived.conf may be unreadable by now, or no longer have the group, and
			// its MASTER must end all the same.
			names = slices.Compact(slices.Sorted(slices.Values(append(names, status.MastersOf(cfg.RunDirectory, group)...))))
		}
		if len(names) == 0 {
			return unknown
		}
	}
	if ev.Kind == vrrp.PriorityChange {
		j.Debug("priority changed", zap.String("instance", ev.Instance), zap.Int("priority", ev.Priority))
		return nil
	}
	if ev.Kind == vrrp.VerifyNow {
		return g.askActing(ctx, names)
	}
	// The status tells of an event only under the lock, when no newer one is on record.
	lock := g.lock(0, func(ctx context.Context, name string, locked []string) (func() error, error) {
		leave, err := g.register(ctx, name, locked)
		if err == nil {
			g.status.State(name, status.State{State: ev.State, Since: ev.Received, Priority: ev.Priority, Reason: ev.State.String() + " reported"})
			g.status.Group(name, group)
		}
		return leave, err
	})
	if ev.State == vrrp.Master {
		protect(j)
		// A lease of its own: there is no successor to leave it to.
		fencing, err := o.newFencing(cfg, nil, g.status.Doubled, nil, j)
		if err != nil {
			return err
		}
		return g.notifyMaster(ctx, names, lock, fencing, network)
	}
	defer g.book.Retain()
	return errors.Join(unknown, g.notifyOther(ctx, names, lock))
}

// dropSuperseded tells that an event came too late, which is not an error.
func (g *graph) dropSuperseded(err error, instance string) error {
	if !errors.Is(err, notify.ErrSuperseded) {
		return err
	}
	g.journal.Tell(eventSuperseded, zap.String("instance", instance), zap.NamedError("reason", err))
	return nil
}

// notifyMaster holds the instances until keepalived dies or ctx ends, which
// is how a later invocation ends this one.
func (g *graph) notifyMaster(ctx context.Context, names []string, lock guard.Guard, fencing *fencing, network *presence.Network) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if !g.keepalived.Attach(ctx) {
		return nil
	}
	observer := presence.NewObserver(presence.Options{Host: network, Corrected: g.status.Corrected, Journal: g.journal})
	holding := g.holding(lock, observer, fencing.guards(g.status)...)
	tasks := []run.Task{
		{Name: "status", Run: g.status.Run},
		{Name: "keepalived.conf", Run: g.book.Run},
		{Name: "audit", Run: g.cloud.Audit},
		{Name: "authorities", Run: g.cloud.Trust}, // beside the way to the first handshake
		{Name: "supervision", Run: func(ctx context.Context) error {
			return g.keepalived.Run(ctx, nil, func(pid int, _ time.Time) { stop(fmt.Errorf("%w (pid %d)", keepalived.ErrDied, pid)) })
		}},
		{Name: "addresses", Run: func(ctx context.Context) error { return later(ctx, observer.Run) }},
		{Name: "health", Run: func(ctx context.Context) error { return later(ctx, g.health.Run) }},
	}
	var asks []chan<- struct{}
	var holdings []run.Task
	for _, name := range names {
		ask := make(chan struct{}, 1)
		asks = append(asks, ask)
		holdings = append(holdings, run.Task{Name: name, Run: func(ctx context.Context) error {
			return g.dropSuperseded(holding.Run(ctx, name, ask), name)
		}})
	}
	// The holdings are last, and so the first to run: the claim waits for them.
	tasks = append(tasks,
		// With it a later invocation passes on keepalived's MASTER_RX_LOWER_PRI.
		run.OnSignal("verification", unix.SIGUSR1, func(context.Context) {
			for _, ask := range asks {
				select {
				case ask <- struct{}{}:
				default: // asked for already
				}
			}
		}),
		run.Task{Name: "holdings", Run: func(ctx context.Context) error { return run.All(ctx, holdings...) }})
	err := fencing.run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	g.journal.Tell(ending, zap.NamedError("reason", cause))
	if errors.Is(cause, keepalived.ErrDied) {
		// After a signal the successor writes the status; now there is no successor.
		for _, name := range names {
			g.status.State(name, status.State{State: vrrp.Unknown, Reason: cause.Error()})
		}
	}
	return nil
}

// later begins to observe after the first claim, which nothing may delay.
func later(ctx context.Context, observe func(context.Context) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Second):
		return observe(ctx)
	}
}

// notifyOther ends the processes that hold the instances, by taking their
// locks, and says when keepalived's configuration does not know an instance.
func (g *graph) notifyOther(ctx context.Context, names []string, lock guard.Guard) error {
	var errs []error
	for _, name := range names {
		locked := false
		err := lock.While(ctx, name, func(context.Context, *guard.Permit) error {
			locked = true
			g.status.Flush() // under the lock, so that a successor writes later
			return nil
		})
		errs = append(errs, g.dropSuperseded(err, name))
		if !locked {
			continue
		}
		if _, err := g.book.Addresses(name); errors.Is(err, reading.ErrUnknown) {
			errs = append(errs, err)
		}
		g.journal.Debug("nothing is held for the instance", zap.String("instance", name))
	}
	return errors.Join(errs...)
}

// askActing has the processes that act for the instances check who owns the addresses. A
// service reads the event in the FIFO.
func (g *graph) askActing(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, notify.Ask(ctx, g.cfg.LockFile(name), g.self))
		if former := g.cfg.FormerLockFile(name); former != "" {
			errs = append(errs, notify.Ask(ctx, former, g.self))
		}
	}
	return errors.Join(errs...)
}

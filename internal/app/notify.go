package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"berth/internal/journal"
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
// of the configuration. For MASTER it returns when the holding has ended, for
// everything else at once.
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
	log := o.Logger()
	// Opened before anything else: from here on the death of keepalived
	// cannot be missed.
	origin := keepalived.OriginOf(os.Getpid())
	defer origin.Close()
	j := journal.New(log)
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile, Origin: origin, Script: true, Journal: j})
	network := presence.NewNetwork(k.VRRP)
	defer network.Close()
	g, err := o.newGraph(cfg, false, k, network, newMeters(nil), j)
	if err != nil {
		return err
	}
	defer g.status.Flush()
	g.holder.self.State = ev.State
	g.holder.self.Script = notify.Script{PID: origin.Script.PID, Start: origin.Script.Start}
	if ev.State != vrrp.Master {
		g.book.Noted = nil // nobody would be there to take the note back
	}
	names, group := []string{ev.Instance}, ""
	var unknown error // of a group that cannot be looked up
	if ev.Group {
		group = ev.Instance
		if names, unknown = g.book.Members(group); ev.State != vrrp.Master {
			names = withHeld(names, group, cfg.RunDirectory)
		}
		if len(names) == 0 {
			return unknown
		}
	}
	if ev.Kind == vrrp.PriorityChange {
		log.Debug("priority changed", zap.String("instance", ev.Instance), zap.Int("priority", ev.Priority))
		return nil
	}
	if ev.Kind == vrrp.VerifyNow {
		return g.askHolders(ctx, names)
	}
	// Under the lock and not before: what a superseded event says is no news.
	g.holder.entered = func(name string) {
		g.status.State(name, status.State{State: ev.State, Since: ev.Received, Priority: ev.Priority, Reason: ev.State.String() + " reported"})
		g.status.Group(name, group)
	}
	if ev.State == vrrp.Master {
		protect(log)
		// A lease of its own: there is no successor to leave it to.
		if g.holder.fence, err = o.newFence(cfg, nil, g.status, nil, log); err != nil {
			return err
		}
		return g.notifyMaster(ctx, names, k, network, j)
	}
	defer g.book.Retain()
	return errors.Join(unknown, g.notifyOther(ctx, names))
}

// withHeld adds what a process still holds for a sync group: keepalived.conf may
// be unreadable by now, or have lost the group, and its MASTER must end all the
// same.
func withHeld(names []string, group, runDirectory string) []string {
	all, _ := status.Read(runDirectory) // what can be read of it
	for _, in := range all {
		if in.Group == group && in.State == vrrp.Master && !slices.Contains(names, in.Instance) {
			names = append(names, in.Instance)
		}
	}
	return names
}

// dropSuperseded says that an event came too late and makes that no error.
func dropSuperseded(err error, log *zap.Logger) error {
	if !errors.Is(err, notify.ErrSuperseded) {
		return err
	}
	log.Info("nothing to do", zap.NamedError("reason", err))
	return nil
}

// notifyMaster holds the instances until keepalived dies or ctx ends, which
// is how a later invocation ends this one.
func (g *graph) notifyMaster(ctx context.Context, names []string, k *keepalived.Daemon, network *presence.Network, j *journal.Journal) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if !k.Attach(ctx) {
		return nil
	}
	g.holder.presence = presence.NewObserver(presence.Options{Host: network, Corrected: g.status.Corrected, Journal: j})
	tasks := []run.Task{
		{Name: "status", Run: g.status.Run},
		{Name: "keepalived.conf", Run: g.book.Run},
		{Name: "audit", Run: g.audit},
		{Name: "authorities", Run: func(ctx context.Context) error {
			g.trust() // beside the way to the first handshake
			<-ctx.Done()
			return context.Cause(ctx)
		}},
		{Name: "supervision", Run: func(ctx context.Context) error {
			return k.Run(ctx, nil, func(pid int, _ time.Time) { stop(fmt.Errorf("%w (pid %d)", keepalived.ErrDied, pid)) })
		}},
		{Name: "addresses", Run: func(ctx context.Context) error { return observeLater(ctx, g.holder.presence) }},
	}
	var asks []chan<- struct{}
	var holdings []run.Task
	for _, name := range names {
		ask := make(chan struct{}, 1)
		asks = append(asks, ask)
		holdings = append(holdings, run.Task{Name: name, Run: func(ctx context.Context) error {
			return dropSuperseded(g.holder.hold(ctx, name, ask), g.log.With(zap.String("instance", name)))
		}})
	}
	// Last, and so the first to run: it is what the claim waits for.
	tasks = append(tasks,
		run.Task{Name: "verification", Run: func(ctx context.Context) error { return relayAsks(ctx, asks) }},
		run.Task{Name: "holdings", Run: func(ctx context.Context) error { return run.All(ctx, holdings...) }})
	err := g.holder.fence.run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	g.log.Info("ending; floating IPs stay where they are", zap.NamedError("reason", cause))
	if errors.Is(cause, keepalived.ErrDied) {
		// After a signal the successor writes; now there is none.
		for _, name := range names {
			g.status.State(name, status.State{State: vrrp.Unknown, Reason: cause.Error()})
		}
	}
	return nil
}

// observeLater begins to observe the addresses when the first claim is through:
// nothing may delay that.
func observeLater(ctx context.Context, o *presence.Observer) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Second):
		return o.Run(ctx)
	}
}

// relayAsks turns SIGUSR1, with which a later invocation passes on keepalived's
// MASTER_RX_LOWER_PRI, into asks for a look at the owner.
func relayAsks(ctx context.Context, asks []chan<- struct{}) error {
	return onSignal(ctx, unix.SIGUSR1, func() {
		for _, ask := range asks {
			select {
			case ask <- struct{}{}:
			default: // asked for already
			}
		}
	})
}

// notifyOther ends the processes that hold the instances, by taking their
// locks, and says when keepalived's configuration does not know an instance.
func (g *graph) notifyOther(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		log := g.log.With(zap.String("instance", name))
		permit, err := g.holder.acquire(ctx, name, log)
		if err != nil {
			errs = append(errs, dropSuperseded(err, log))
			continue
		}
		g.status.Flush() // under the lock, so that a successor writes later
		errs = append(errs, permit.Release(errReleased))
		if _, err := g.book.Addresses(name); errors.Is(err, reading.ErrUnknown) {
			errs = append(errs, err)
		}
		log.Debug("nothing is held for the instance")
	}
	return errors.Join(errs...)
}

// askHolders makes the processes that hold the instances look at the owner. A
// service hears of it through the FIFO.
func (g *graph) askHolders(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, notify.Ask(ctx, g.cfg.LockFile(name), g.holder.self))
		if former := g.cfg.FormerLockFile(name); former != "" {
			errs = append(errs, notify.Ask(ctx, former, g.holder.self))
		}
	}
	return errors.Join(errs...)
}

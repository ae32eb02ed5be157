package app

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"reflect"
	"sync/atomic"
	"time"

	"berth/fifo"
	"berth/guard"
	"berth/instance"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/metrics"
	"berth/internal/presence"
	"berth/internal/reconcile"
	"berth/internal/run"
	"berth/internal/status"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// service is berth --fifo: one reader and one table of instances for the life
// of the process, and what a configuration says for as long as it is in force.
type service struct {
	options    *Options
	configPath string
	origin     keepalived.Origin
	journal    *journal.Journal
	log        *zap.Logger

	// What was seen of the addresses, and counted, outlives a configuration.
	presence *presence.Observer
	network  *presence.Network
	deafness *reconcile.Deafness
	meters   *meters
	metrics  *exporter
	fence    *fence // nil without fencing; a change needs a restart
	reader   *fifo.Reader
	table    *instance.Table
	current  atomic.Pointer[generation]
}

// generation is what follows from one reading of berth's configuration.
type generation struct {
	*graph
	board      board
	keepalived *keepalived.Daemon
	reconciler *reconcile.Reconciler
	died       func(pid int, at time.Time)
}

// FIFO reads keepalived's notify FIFO until ctx ends.
func (o *Options) FIFO(ctx context.Context, configPath, fifoPath string) error {
	s := &service{options: o, configPath: configPath, origin: keepalived.OriginOf(os.Getpid()), log: o.Logger()}
	s.journal = journal.New(s.log)
	registry := &metrics.Registry{}
	s.meters, s.metrics = newMeters(registry), newExporter(registry, s.log)
	s.network = presence.NewNetwork(func() (int, bool) { return s.current.Load().keepalived.VRRP() })
	defer s.network.Close()
	s.presence = presence.NewObserver(presence.Options{
		Host:    s.network,
		Changed: func() { s.current.Load().reconciler.AddressesChanged() },
		Corrected: func(instance, reason string) {
			s.current.Load().board.Corrected(instance, reason)
		},
		Journal: s.journal,
	})
	s.deafness = reconcile.NewDeafness(fifoPath, func() (string, *keepalivedconf.Config) {
		gen := s.current.Load()
		conf, _ := gen.book.Reading() // without it the cure is shorter
		return gen.cfg.KeepalivedConfig, conf
	}, func() { s.current.Load().reconciler.DeafnessChanged() }, s.meters.reconcile, s.journal)
	s.table = instance.NewTable(func(ctx context.Context, name string, verify <-chan struct{}) error {
		return s.current.Load().holder.hold(ctx, name, verify)
	}, s.changed, s.log)
	s.reader = fifo.NewReader(fifoPath, func(burst []vrrp.Event) { s.current.Load().reconciler.Deliver(burst) }, s.journal)
	s.reader.Overflow = func(rest []vrrp.Event) { s.current.Load().reconciler.Lost(rest) }
	s.reader.Replaced = func() { s.current.Load().reconciler.Review() }
	s.reader.Owner = func() (uid, gid int, known bool) { return s.current.Load().keepalived.User() }
	defer s.origin.Close()
	first, err := s.generation(ctx)
	if err != nil {
		return err
	}
	o.Logs.Count(s.meters.dropped)
	unlock, err := fifo.Lock(ctx, fifoPath)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, fifo.ErrBusy):
		return err
	case err != nil:
		// Started as another user than root it may not be able to, and the
		// FIFO is keepalived's.
		s.log.Warn("cannot make sure that nobody else reads the FIFO", zap.Error(err))
	default:
		// After everything else: a successor begins when this one has let go.
		defer func() {
			if err := unlock(); err != nil {
				s.log.Warn("cannot unlock the FIFO", zap.Error(err))
			}
		}()
	}
	protect(s.log)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var upgrade error // set when a successor is to take over
	if o.fenced(first.cfg) {
		place, err := takeSeat(ctx, first.cfg, s.log)
		if err != nil {
			return err
		}
		defer func() {
			if err := place.Leave(upgrade != nil); err != nil {
				s.log.Warn("cannot leave the lease's record in order", zap.Error(err))
			}
		}()
		if s.fence, err = o.newFence(first.cfg, place, first.status, s.meters.election, s.log); err != nil {
			return err
		}
		first.holder.fence = s.fence
	}
	s.current.Store(first)
	s.metrics.show(first.cfg.Metrics)
	fifoMonitor := &keepalived.FIFOMonitor{
		Current: func() (keepalived.Processes, error) { return s.current.Load().keepalived.Current() },
		OpenIn:  s.reader.OpenIn,
		Writing: func() (bool, time.Time) {
			w := s.reader.Writing()
			return w.Stayed, w.None
		},
		Changed: s.deafness.Tell,
		Ended:   func(since time.Time) { s.current.Load().reconciler.Silent(ctx, since) },
	}
	tasks := []run.Task{
		{Name: "configuration", Run: func(ctx context.Context) error { return s.serve(ctx, first) }},
		{Name: "instances", Run: s.table.Run},
		{Name: "fifo", Run: s.reader.Run},
		{Name: "addresses", Run: s.presence.Run},
		{Name: "FIFO of keepalived", Run: fifoMonitor.Run},
		{Name: "metrics", Run: s.metrics.Run},
		{Name: "systemd", Run: func(ctx context.Context) error { return tellSystemd(ctx, s.reader.Flush, s.log) }},
		{Name: "upgrade", Run: func(ctx context.Context) error {
			return o.awaitUpgrade(ctx, configPath, func() error { return nil }, stop, s.log)
		}},
	}
	// Started by keepalived as its vrrp_notify_fifo_script: when keepalived
	// ends there is nobody left to write.
	if len(s.origin.Keepalived) > 0 {
		tasks = append(tasks, run.Task{Name: "ancestors", Run: func(ctx context.Context) error {
			return s.origin.Watch(ctx, func(int) { stop(keepalived.ErrDied) })
		}})
	}
	err = s.fence.run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, errUpgrade) {
		upgrade = cause
	}
	s.log.Info("ending; floating IPs stay where they are", zap.NamedError("reason", context.Cause(ctx)))
	return nil
}

// generation reads the configuration and builds what follows from it. It starts
// nothing.
func (s *service) generation(ctx context.Context) (*generation, error) {
	cfg, err := s.options.load(s.configPath)
	if err != nil {
		return nil, err
	}
	former := s.current.Load()
	if former == nil {
		s.options.Logs.File(cfg.LogFile) // of a later one when it is in force
	}
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile, Origin: s.origin, Journal: s.journal,
		Belongs: func(pid int) bool {
			open, _ := s.reader.OpenIn(pid) // a process whose descriptors cannot be read may be another's
			return open
		}})
	g, err := s.options.newGraph(cfg, true, k, s.network, s.meters, s.journal)
	if err != nil {
		return nil, err
	}
	if former != nil &&
		(!reflect.DeepEqual(former.cfg.Etcd, cfg.Etcd) || former.cfg.Fencing != cfg.Fencing || former.cfg.RunDirectory != cfg.RunDirectory && cfg.Fencing.Enabled) {
		return nil, errors.New("etcd, fencing, and with fencing run-directory, change with a restart of berth only; it moves nothing")
	}
	gen := &generation{graph: g, keepalived: k, board: board{g.status, s.meters}}
	g.holder.presence, g.holder.newest, g.holder.fence = s.presence, s.newest, s.fence
	gen.reconciler = reconcile.New(reconcile.Options{
		Table: s.table, Keepalived: k, Book: g.book, Board: gen.board,
		Bound:   s.presence.Bound,
		Flush:   s.reader.Flush,
		Written: func() bool { return s.reader.Writing().None.IsZero() },
		Deaf:    s.deafness.Why,
		Journal: s.journal,
	})
	gen.died = func(pid int, at time.Time) { gen.reconciler.Died(ctx, pid, at) }
	return gen, nil
}

// run runs what a generation needs until ctx ends.
func (g *generation) run(ctx context.Context) error {
	g.reconciler.Review()
	return run.Together(ctx,
		run.Task{Name: "status", Run: g.status.Run},
		run.Task{Name: "keepalived.conf", Run: g.book.Run},
		run.Task{Name: "supervision", Run: func(ctx context.Context) error { return g.keepalived.Run(ctx, g.reconciler.Review, g.died) }},
		run.Task{Name: "provider", Run: g.prepare},
		run.Task{Name: "audit", Run: g.audit},
		run.Task{Name: "reconciliation", Run: g.reconciler.Run},
	)
}

// errReloaded is the cause with which a holding ends that begins anew under
// another configuration.
var errReloaded = errors.New("the configuration was read again")

// serve runs the generation in force, and on SIGHUP puts another in its place:
// checked first, then swapped. A file that is no good changes nothing.
func (s *service) serve(ctx context.Context, gen *generation) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	start := func(gen *generation) (stop func(), ended <-chan error) {
		genCtx, cancel := context.WithCancelCause(ctx)
		done := make(chan error, 1)
		go func() { done <- gen.run(genCtx) }()
		return func() {
			cancel(errReloaded)
			<-done
		}, done
	}
	stop, ended := start(gen)
	for {
		select {
		case <-ctx.Done():
			stop()
			return context.Cause(ctx)
		case err := <-ended:
			return err // a part cannot go on
		case <-hangup:
		}
		notifySystemd(s.log, reloading())
		next, err := s.generation(ctx)
		if err != nil {
			s.log.Error("the configuration was not read again; the former stays in force", zap.Error(err))
		} else {
			next.book.Inherit(s.current.Load().book)
			next.keepalived.Search() // so that keepalived is known all the time
			stopNext, nextEnded := start(next)
			s.current.Store(next)
			s.metrics.show(next.cfg.Metrics)
			s.options.Logs.File(next.cfg.LogFile) // opened anew, as after a rotation
			stop()
			stop, ended = stopNext, nextEnded
			s.table.Restart(errReloaded)
			s.log.Info("the configuration was read again", zap.String("file", s.configPath))
		}
		notifySystemd(s.log, ready)
	}
}

// newest is asked before each write. A berth that was stopped, or that a busy
// machine has not run for a while, may wake to a claim before it wakes to the
// line that forbids it.
func (s *service) newest(ctx context.Context, name string) error {
	s.reader.CatchUp(ctx)
	if s.table.IsMaster(name) {
		return nil
	}
	<-ctx.Done() // the end of the holding is on its way
	return &guard.FencedError{Cause: context.Cause(ctx)}
}

// changed takes what is new about an instance.
func (s *service) changed(is instance.Status) {
	if is.State != vrrp.Master {
		s.presence.Forget(is.Instance)
	}
	s.meters.changed(is.Instance, is.State)
	s.current.Load().status.State(is.Instance, status.State{State: is.State, Since: is.Since, Priority: is.Priority, Reason: is.Reason})
}

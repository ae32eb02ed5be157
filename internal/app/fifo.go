package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/fifo"
	"berth/guard"
	"berth/instance"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/run"
	"berth/internal/status"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// service is berth --fifo: one reader and one table of instances for the life
// of the process, and what a configuration says for as long as it is in force.
type service struct {
	options    *Options
	configPath string
	origin     supervise.Origin
	log        *zap.Logger

	// What was seen of the addresses, and counted, outlives a configuration.
	truth   *truth.Watcher
	network *truth.Network
	meters  *meters
	metrics *exporter
	fence   *fence // nil without fencing; a change needs a restart
	reader  *fifo.Reader
	table   *instance.Table
	current atomic.Pointer[generation]
	deaf    atomic.Pointer[string] // why no line can arrive, empty if lines can
	dying   atomic.Int32           // deaths of keepalived whose last lines are being read
}

// generation is what follows from one reading of berth's configuration.
type generation struct {
	*graph
	watcher   *supervise.Watcher
	finder    *finder
	unwatched sync.Once
}

// FIFO reads keepalived's notify FIFO until ctx ends.
func (o *Options) FIFO(ctx context.Context, configPath, fifoPath string) error {
	s := &service{options: o, configPath: configPath, origin: supervise.OriginOf(os.Getpid()), log: o.Logger()}
	s.network = truth.NewNetwork(func() (int, bool) {
		k, ok := s.keepalived()
		return k.VRRP, ok && k.VRRP != 0
	})
	defer s.network.Close()
	s.truth = truth.NewWatcher(truth.Host{Addresses: s.network.Addresses, Subscribe: func(ctx context.Context, changed func()) error {
		return s.network.Subscribe(ctx, func() {
			changed()
			s.current.Load().finder.moved()
		})
	}}, s.log)
	registry := &metrics.Registry{}
	s.meters, s.metrics = newMeters(registry), newExporter(registry, s.log)
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
	s.table = instance.NewTable(func(ctx context.Context, name string, verify <-chan struct{}) error {
		return s.current.Load().holder.hold(ctx, name, verify)
	}, s.changed, s.log)
	s.reader = fifo.NewReader(fifoPath, s.deliver, journal.New(s.log))
	s.reader.Overflow = func(rest []vrrp.Event) { s.current.Load().finder.lines(rest) }
	s.reader.Replaced = func() { s.current.Load().finder.look() }
	s.reader.Owner = s.keepalivedUser
	ear := &supervise.Ear{
		Keepalived: s.keepalived,
		OpenIn:     s.reader.OpenIn,
		Writing: func() (bool, time.Time) {
			w := s.reader.Writing()
			return w.Stayed, w.None
		},
		Heard: s.heard,
		Ended: func(since time.Time) { s.silent(ctx, since) },
	}
	tasks := []run.Task{
		{Name: "configuration", Run: func(ctx context.Context) error { return s.serve(ctx, first) }},
		{Name: "instances", Run: s.table.Run},
		{Name: "fifo", Run: s.reader.Run},
		{Name: "addresses", Run: s.truth.Run},
		{Name: "hearing", Run: ear.Run},
		{Name: "metrics", Run: s.metrics.Run},
		{Name: "systemd", Run: func(ctx context.Context) error { return tellSystemd(ctx, s.reader.Flush, s.log) }},
		{Name: "upgrade", Run: func(ctx context.Context) error {
			return o.awaitUpgrade(ctx, configPath, func() error { return nil }, stop, s.log)
		}},
	}
	// Started by keepalived as its vrrp_notify_fifo_script: when keepalived
	// ends there is nobody left to write.
	if len(s.origin.Keepalived) > 0 {
		s.origin.WarnPolled(s.log)
		tasks = append(tasks, run.Task{Name: "ancestors", Run: func(ctx context.Context) error {
			return superviseAncestors(ctx, s.origin.Keepalived, func(int) { stop(supervise.ErrGone) })
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
	g, err := s.options.newGraph(cfg, true, s.meters, s.log)
	if err != nil {
		return nil, err
	}
	if former != nil &&
		(!reflect.DeepEqual(former.cfg.Etcd, cfg.Etcd) || former.cfg.Fencing != cfg.Fencing || former.cfg.RunDirectory != cfg.RunDirectory && cfg.Fencing.Enabled) {
		return nil, errors.New("etcd, fencing, and with fencing run-directory, change with a restart of berth only; it moves nothing")
	}
	gen := &generation{graph: g}
	g.book.Process = func() (int, bool) {
		k, ok := s.keepalived()
		return k.Parent, ok
	}
	g.book.Bound = boundIn(s.network)
	g.book.Ask = askAddresses(s.keepalived)
	g.holder.truth, g.holder.newest, g.holder.fence = s.truth, s.newest, s.fence
	gen.watcher = supervise.NewWatcher(cfg.KeepalivedPIDFile, func(pid int, at time.Time) { s.died(ctx, gen, pid, at) }, s.log)
	gen.watcher.Holds = func(pid int) bool {
		open, _ := s.reader.OpenIn(pid) // not to be told is not to hold it
		return open
	}
	gen.finder = &finder{
		book: g.book, status: g.status, corrections: s.meters.corrections, log: s.log, wake: make(chan struct{}, 1),
		suppose:    func(ev vrrp.Event, since time.Time) bool { return s.table.Suppose(ev, since) },
		known:      func(name string) bool { return s.table.Known(name) },
		masters:    func() []string { return s.table.Masters() },
		flush:      func(ctx context.Context) { s.reader.Flush(ctx) },
		verdict:    func() supervise.Verdict { return s.verdict(gen) },
		keepalived: s.keepalived,
		written:    func() bool { return s.reader.Writing().None.IsZero() },
		addresses:  s.network.Addresses,
		located:    s.network.Known,
		ask:        truth.AskKeepalived,
	}
	if why := s.deaf.Load(); why != nil && *why != "" {
		gen.finder.setDeaf(*why)
	}
	gen.watcher.Born = gen.finder.look
	return gen, nil
}

// run runs what a generation needs until ctx ends.
func (g *generation) run(ctx context.Context) error {
	g.finder.look()
	return run.Together(ctx,
		run.Task{Name: "status", Run: g.status.Run},
		run.Task{Name: "keepalived.conf", Run: g.book.Run},
		run.Task{Name: "supervision", Run: g.watcher.Run},
		run.Task{Name: "provider", Run: g.prepare},
		run.Task{Name: "audit", Run: g.audit},
		run.Task{Name: "truth", Run: g.finder.Run},
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
			next.watcher.Search() // so that keepalived is known all the time
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

// deliver takes a burst of events from the reader.
func (s *service) deliver(burst []vrrp.Event) {
	gen := s.current.Load()
	verdict := supervise.Alive
	if slices.ContainsFunc(burst, func(ev vrrp.Event) bool { return ev.State == vrrp.Master }) {
		verdict = s.verdict(gen)
	}
	// The first line of a name may be that of a renamed instance.
	news := slices.ContainsFunc(burst, func(ev vrrp.Event) bool { return !s.table.Known(ev.Instance) })
	s.table.Deliver(burst)
	if news {
		gen.finder.look()
	}
	switch {
	case verdict == supervise.Alive:
	case verdict == supervise.Dead && s.dying.Load() > 0:
		// Lines that it left in the FIFO, or wrote with its last breath. Any
		// that are read later are those of another keepalived, which lives.
		s.log.Warn("MASTER was reported by a keepalived that has died meanwhile")
		s.table.End(supervise.ErrGone, time.Now())
	case gen.watcher.Search() == supervise.Alive: // it takes longer than a look
	default:
		gen.unwatched.Do(func() {
			s.log.Warn("no keepalived found; its death is noticed only when nobody has had the FIFO open to write for two seconds; correct keepalived-pid-file, or run berth in keepalived's PID namespace",
				zap.NamedError("reason", gen.watcher.Why()))
		})
	}
}

// verdict tells whether keepalived lives: the one that started this process, or
// that of the pid file.
func (s *service) verdict(gen *generation) supervise.Verdict {
	if v := gen.watcher.Look(); v == supervise.Alive || len(s.origin.Keepalived) == 0 {
		return v
	}
	for _, p := range s.origin.Keepalived {
		if p.Ended() {
			return supervise.Dead
		}
	}
	return supervise.Alive
}

// keepalived returns the keepalived that runs: the one that started this process,
// or the one that is watched.
func (s *service) keepalived() (supervise.Keepalived, bool) {
	if n := len(s.origin.Keepalived); n > 1 {
		return supervise.Keepalived{Parent: s.origin.Keepalived[n-1].PID, VRRP: s.origin.Keepalived[n-2].PID, Proven: true}, true
	}
	if gen := s.current.Load(); gen != nil {
		return gen.watcher.Current()
	}
	return supervise.Keepalived{}, false
}

// keepalivedUser tells as whom keepalived runs.
func (s *service) keepalivedUser() (uid, gid int, known bool) {
	k, err := supervise.Find(s.current.Load().cfg.KeepalivedPIDFile, nil)
	if err != nil {
		return 0, 0, false
	}
	pid := k.Parent
	st, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return 0, 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(sys.Uid), int(sys.Gid), true
}

// died ends what began under a keepalived process that has died.
func (s *service) died(ctx context.Context, gen *generation, pid int, at time.Time) {
	// What keepalived wrote before it died comes first.
	s.dying.Add(1)
	defer s.dying.Add(-1)
	flushCtx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	s.reader.Flush(flushCtx)
	if s.verdict(gen) != supervise.Alive {
		at = time.Now() // and no other keepalived can have written it
	}
	if n := s.table.End(supervise.ErrGone, at); n > 0 {
		s.log.Warn("keepalived has died; ending what it began", zap.Int("pid", pid), zap.Int("instances", n))
	} else {
		s.log.Info("keepalived has ended", zap.Int("pid", pid))
	}
}

// changed takes what is new about an instance.
func (s *service) changed(is instance.Status) {
	if is.State != vrrp.Master {
		s.truth.Forget(is.Instance)
	}
	s.meters.changed(is.Instance, is.State)
	s.current.Load().status.State(is.Instance, status.State{State: is.State, Since: is.Since, Priority: is.Priority, Reason: is.Reason})
}

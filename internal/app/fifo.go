package app

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"berth/api"
	"berth/fifo"
	"berth/instance"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reconcile"
	"berth/internal/reload"
	"berth/internal/run"
	"berth/internal/seat"
	"berth/internal/serve"
	"berth/internal/service"
	"berth/internal/status"
	"berth/internal/systemd"
	"berth/internal/upgrade"
	"berth/keepalivedconf"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// fifoMode is berth --fifo: what lives as long as the process, and, as the generation in
// force, what follows from its configuration.
type fifoMode struct {
	options    *Options
	configPath string
	journal    *journal.Journal
	origin     keepalived.Origin
	meters     *meters
	exporter   *serve.Exporter
	host       *systemd.Notifier
	network    *presence.Network
	observer   *presence.Observer
	deafness   *reconcile.Deafness
	reader     *fifo.Reader
	service    *service.Service
	fencing    *fencing
	cluster    *clusterPart
	api        *api.Server
	begun      atomic.Bool // the FIFO is open
	current    atomic.Pointer[generation]
	dying      atomic.Int32 // see reconcile.Options

	mu      sync.Mutex
	doubled map[string]bool // instances for which another host takes part under the name of this one
}

// generation is what follows from one reading of berth's configuration.
type generation struct {
	*graph
	holding    *holding.Holding
	reconciler *reconcile.Reconciler
	died       func(pid int, at time.Time)
}

// FIFO reads keepalived's notify FIFO until ctx ends.
func (o *Options) FIFO(ctx context.Context, configPath, fifoPath string) error {
	// From here on, and not from when the first generation runs: a SIGHUP in between would
	// end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	m := o.newFIFOMode(configPath, fifoPath)
	defer m.origin.Close()
	defer m.network.Close()
	j, end := m.journal.Part()
	g, err := m.graph(j)
	if err != nil {
		return err
	}
	o.Logs.Count(m.meters.dropped)
	unlock, err := fifo.Lock(ctx, fifoPath)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, fifo.ErrBusy):
		return err
	case err != nil:
		// A process that does not run as root may not be able to lock the FIFO, which is
		// keepalived's.
		m.journal.Tell(fifoUnlockable, zap.Error(err))
	default:
		// After everything else: a successor begins when this process has unlocked.
		defer func() {
			if err := unlock(); err != nil {
				m.journal.Tell(fifoNotUnlocked, zap.Error(err))
			}
		}()
	}
	protect(m.journal)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var place *seat.Seat
	if o.fenced(g.cfg) {
		if place, err = o.takeSeat(ctx, g.cfg); err != nil {
			return err
		}
		defer func() {
			if err := place.Leave(errors.Is(context.Cause(ctx), upgrade.ErrSuccessor)); err != nil {
				m.journal.Tell(seatNotLeft, zap.Error(err))
			}
		}()
	}
	if m.fencing, err = o.newFencing(g.cfg, place, m.tellDoubled, m.meters.election, m.journal); err != nil {
		return err
	}
	m.cluster = m.newCluster(g.cfg)
	m.api = api.New(m.apiOptions(g))
	first := m.generation(ctx, g)
	m.enforce(first)
	tasks := append([]run.Task{
		{Name: "configuration", Run: func(ctx context.Context) error { return m.serve(ctx, first, end, hangup) }},
		{Name: "addresses", Run: m.observer.Run},
		{Name: "FIFO of keepalived", Run: m.fifoMonitor(ctx).Run},
		{Name: "metrics", Run: m.exporter.Run},
		{Name: "API", Run: m.api.Run},
		awaiting(&m.begun, m.reader.CatchUp),
		o.onUpgrade(checking(configPath), func() error { return nil }, stop),
	}, append(m.service.Tasks(), m.cluster.tasks()...)...)
	// A berth that does not drain the FIFO is not alive.
	tasks = append(tasks, systemdTask(m.host, tasks, m.reader.Flush))
	// Started by keepalived as its vrrp_notify_fifo_script: when keepalived ends, no
	// process is left that writes.
	if len(m.origin.Keepalived) > 0 {
		tasks = append(tasks, run.Task{Name: "ancestors", Run: func(ctx context.Context) error {
			return m.origin.Watch(ctx, func(int) { stop(keepalived.ErrDied) })
		}})
	}
	err = m.fencing.run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
	if ctx.Err() == nil {
		return err
	}
	m.journal.Tell(ending, zap.NamedError("reason", context.Cause(ctx)))
	return nil
}

// newFIFOMode builds what lives as long as the process. It starts nothing.
func (o *Options) newFIFOMode(configPath, fifoPath string) *fifoMode {
	m := &fifoMode{options: o, configPath: configPath, meters: o.count(), origin: keepalived.OriginOf(os.Getpid()), doubled: map[string]bool{}}
	m.journal = o.Journal()
	m.exporter, m.host = serve.NewExporter(m.meters.registry, m.journal), systemd.New(m.journal)
	// Observations of the addresses, and whether events can arrive, outlive a
	// configuration.
	m.network = presence.NewNetwork(func() (int, bool) { return m.current.Load().keepalived.VRRP() })
	m.observer = presence.NewObserver(presence.Options{
		Host:      m.network,
		Changed:   func() { m.current.Load().reconciler.AddressesChanged() },
		Corrected: func(instance, reason string) { m.current.Load().status.Corrected(instance, reason) },
		Journal:   m.journal,
	})
	m.deafness = reconcile.NewDeafness(fifoPath, func() (string, *keepalivedconf.Config) {
		gen := m.current.Load()
		conf, _ := gen.book.Reading() // without a reading the cure names the reload alone
		return gen.cfg.KeepalivedConfig, conf
	}, func() { m.current.Load().reconciler.DeafnessChanged() }, m.meters.reconcile, m.journal)
	m.reader = fifo.NewReader(fifoPath, m.journal)
	m.reader.Overflow = func(rest []vrrp.Event) { m.current.Load().reconciler.Lost(rest) }
	m.reader.Replaced = func() { m.current.Load().reconciler.Review() }
	m.reader.Owner = func() (uid, gid int, known bool) { return m.current.Load().keepalived.User() }
	events := service.Around(m.reader, func(burst []vrrp.Event, deliver func()) {
		m.current.Load().reconciler.Deliver(burst, deliver)
	})
	m.service = service.New(events, m.changed, m.journal)
	return m
}

// fifoMonitor returns what tells whether events of keepalived can arrive.
func (m *fifoMode) fifoMonitor(ctx context.Context) *keepalived.FIFOMonitor {
	return &keepalived.FIFOMonitor{
		Current: func() (keepalived.Processes, error) { return m.current.Load().keepalived.Current() },
		OpenIn:  m.reader.OpenIn,
		Writing: func() (bool, time.Time) {
			w := m.reader.Writing()
			return w.Stayed, w.None
		},
		Changed: m.deafness.Tell,
		Ended:   func(since time.Time) { m.current.Load().reconciler.Silent(ctx, since) },
	}
}

// graph reads the configuration and builds the parts of a generation that do not depend
// on others. j is the journal of the generation.
func (m *fifoMode) graph(j *journal.Journal) (*graph, error) {
	cfg, err := m.options.load(m.configPath)
	if err != nil {
		return nil, err
	}
	if m.current.Load() == nil {
		m.options.Logs.File(cfg.LogFile) // that of a later one when it is in force
	}
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile, Origin: m.origin, Journal: j,
		Belongs: func(pid int) bool {
			open, _ := m.reader.OpenIn(pid) // a process whose descriptors cannot be read may be another's
			return open
		}})
	self, err := notify.Self(true)
	if err != nil {
		return nil, err
	}
	served, err := m.options.apiOptions(cfg, m.journal)
	if err != nil {
		return nil, err
	}
	g, err := m.options.newGraph(cfg, self, k, m.network, m.meters, j)
	if err == nil {
		g.api = served
	}
	return g, err
}

// generation returns the generation of a graph.
func (m *fifoMode) generation(ctx context.Context, g *graph) *generation {
	gen := &generation{graph: g}
	gen.holding = g.holding(g.lock(recordAfter, g.register), m.observer, append(m.fencing.guards(g.status), m.service.LastWord())...)
	gen.reconciler = reconcile.New(reconcile.Options{
		Table: m.service.Table(), Keepalived: g.keepalived, Book: g.book, Board: g.status,
		Bound:   m.observer.Bound,
		Flush:   m.reader.Flush,
		Written: func() bool { return m.reader.Writing().None.IsZero() },
		Deaf:    m.deafness.Why,
		Dying:   &m.dying,
		Journal: g.journal,
	})
	gen.died = func(pid int, at time.Time) { gen.reconciler.Died(ctx, pid, at) }
	return gen
}

// Run runs what a generation needs until ctx ends.
func (g *generation) Run(ctx context.Context) error {
	g.reconciler.Review()
	return run.Together(ctx,
		run.Task{Name: "status", Run: g.status.Run},
		run.Task{Name: "health", Run: g.health.Run},
		run.Task{Name: "keepalived.conf", Run: g.book.Run},
		run.Task{Name: "supervision", Run: func(ctx context.Context) error { return g.keepalived.Run(ctx, g.reconciler.Review, g.died) }},
		run.Task{Name: "provider", Run: g.cloud.Prepare},
		run.Task{Name: "audit", Run: g.cloud.Audit},
		run.Task{Name: "reconciliation", Run: g.reconciler.Run},
	)
}

// enforce puts a generation in force.
func (m *fifoMode) enforce(gen *generation) {
	m.mu.Lock()
	m.current.Store(gen)
	for instance := range m.doubled { // the member tells of changes alone
		gen.status.Doubled(instance, true)
	}
	m.mu.Unlock()
	m.cluster.local.Follow(gen.status)
	m.service.Hold(gen.holding.Run)
	m.exporter.Show(serve.Where(gen.cfg.Metrics))
	m.api.Change(m.apiOptions(gen.graph))
}

// serve runs the generation in force, and on SIGHUP puts another in its place. The
// process, its reader and its machines go on, so that no event and no state is lost, and
// holdings begin anew under the new configuration without moving anything. berth elect
// executes itself anew instead: it has no state that etcd and the kernel do not have.
func (m *fifoMode) serve(ctx context.Context, first *generation, end func(), hangup <-chan os.Signal) error {
	generations := &reload.Generations[*generation]{
		Next: m.next,
		Enforce: func(gen *generation) {
			m.enforce(gen)
			m.options.Logs.File(gen.cfg.LogFile) // opened anew, as after a rotation
		},
		Restart: m.service.Restart,
		Reading: m.host.Reloading,
		Read:    m.host.Ready,
		File:    m.configPath,
		Journal: m.journal,
	}
	return generations.Run(ctx, first, end, hangup)
}

// next reads the configuration again and returns the generation that takes over from the
// one in force.
func (m *fifoMode) next(ctx context.Context, j *journal.Journal) (*generation, error) {
	g, err := m.graph(j)
	if err != nil {
		return nil, err
	}
	former := m.current.Load()
	if was, is := former.cfg, g.cfg; !reflect.DeepEqual(was.Etcd, is.Etcd) || was.Fencing != is.Fencing || was.RunDirectory != is.RunDirectory && is.Fencing.Enabled {
		return nil, errors.New("a reload cannot change etcd or fencing, nor run-directory with fencing; restart berth, which moves no floating IP")
	}
	g.keepalived.Search() // so that keepalived is known all the time
	gen := m.generation(ctx, g)
	gen.book.Inherit(former.book)
	return gen, nil
}

// tellDoubled takes whether another host takes part in the election of an instance under
// the name of this one.
func (m *fifoMode) tellDoubled(instance string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on {
		m.doubled[instance] = true
	} else {
		delete(m.doubled, instance)
	}
	m.current.Load().status.Doubled(instance, on)
}

// changed takes what is new about an instance.
func (m *fifoMode) changed(is instance.Status) {
	if is.State != vrrp.Master {
		m.observer.Forget(is.Instance)
	}
	m.current.Load().status.State(is.Instance, status.State{State: is.State, Since: is.Since, Priority: is.Priority, Reason: is.Reason})
}

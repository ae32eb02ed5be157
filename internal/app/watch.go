package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"berth/api"
	"berth/config"
	"berth/heartbeat"
	"berth/instance"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/roster"
	"berth/internal/run"
	"berth/internal/seat"
	"berth/internal/serve"
	"berth/internal/service"
	"berth/internal/status"
	"berth/internal/systemd"
	"berth/internal/upgrade"
	"berth/internal/witness"
	"berth/internal/yield"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Watch sends and takes heartbeats until ctx ends, and points the managed addresses at
// this host while these make it MASTER. At the end it resigns, after all that it held has
// ended. On SIGHUP it executes itself anew, as Elect does and for the same reason, and does
// not resign: its peers hear it again in time.
func (o *Options) Watch(ctx context.Context, configPath string) error {
	return o.watchFrom(ctx, source{
		load:  func() (*config.Config, error) { return o.loadWatch(configPath) },
		check: checking(configPath),
	})
}

// watchFrom does the work of Watch with the configuration of a source.
func (o *Options) watchFrom(ctx context.Context, s source) error {
	if o.DryRun {
		return errDryWatch
	}
	return o.from(ctx, s, o.watch)
}

// errDryWatch refuses to send heartbeats in a dry run: peers would leave the addresses to
// this host.
var errDryWatch = &UsageError{errors.New("--dry-run is not for heartbeats: a host that sends some can become the owner; berth show and berth --test change nothing")}

// loadWatch reads a configuration that must have heartbeats.
func (o *Options) loadWatch(path string) (*config.Config, error) {
	cfg, err := o.load(path)
	if err == nil && !cfg.Watches() {
		err = &UsageError{cfg.Located("heartbeat", errors.New("heartbeat: missing; write its peers, as in berth-watch.yml"))}
	}
	return cfg, err
}

// watchMode is berth watch: what lives as long as its process.
type watchMode struct {
	*graph    // without what is keepalived's
	options   *Options
	source    source
	meters    *meters
	host      *systemd.Notifier
	exporter  *serve.Exporter
	addresses map[string][]vrrp.FloatingIP // by instance, which has the name of its address
	node      *heartbeat.Node
	roster    *roster.Roster
	known     *condition.Value // the peers are known
	lease     *witness.Lease   // nil where this host can act without a lease
	witness   *witness.Witness // nil without one
	yields    *yield.Set       // nil where only one server can have an address
	service   *service.Service
	fencing   *fencing
	cluster   *clusterPart
	abandoned []netip.Addr // at the end no peer lives for these; written by lastLook, read after it
}

// watch does the work of Watch with these meters, and reports whether it is to begin anew.
func (o *Options) watch(ctx context.Context, from source, cfg *config.Config, stop func(error), m *meters) (again bool, err error) {
	if err := o.buildable(cfg); err != nil {
		return false, err
	}
	w, err := o.newWatchMode(cfg, m)
	if err != nil {
		return false, err
	}
	w.source = from
	defer w.status.Flush()
	if cfg.Heartbeat.KeyFile != "" {
		// Counters that cannot be written are told by the node.
		_ = os.MkdirAll(cfg.StateDirectoryIn(o.Getenv), 0o700)
	}
	if err := w.node.Open(); err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w; another berth watch, or exoip, receives there (ss -lunp): stop it, or write another port on all hosts", err)
		}
		return false, fmt.Errorf("heartbeat.listen: %w", err)
	}
	defer w.node.Close()
	w.roster = w.newRoster()
	var place *seat.Seat
	if o.fenced(cfg) {
		if place, err = o.takeSeat(ctx, cfg); err != nil {
			if ctx.Err() != nil {
				return false, nil
			}
			return false, err
		}
		defer func() {
			if err := place.Leave(errors.Is(context.Cause(ctx), upgrade.ErrAnew)); err != nil {
				w.journal.Tell(seatNotLeft, zap.Error(err))
			}
		}()
	}
	doubled := func(instance string, on bool) { w.status.Doubled(instance, on) }
	if w.fencing, err = o.newFencing(cfg, place, doubled, m.election, w.journal); err != nil {
		return false, err
	}
	if w.lease != nil {
		presumed := time.Time{}
		if place.Found() != 0 {
			presumed = time.Now().Add(cfg.Etcd.LeaseTTL)
		}
		w.lease.Follow(w.fencing.member.End, cfg.Heartbeat.Interval, presumed)
	}
	w.cluster = o.newClusterPart(cfg, status.Watching, w.fencing.member, "this host alone is shown: without fencing.enabled berth does not use etcd",
		func(instance string) []string { return texts(w.addresses[instance]) })
	w.cluster.local.Follow(w.status)
	w.service.Hold(w.holding().Run)
	return w.run(ctx, stop)
}

// newWatchMode builds the parts that need neither the socket nor etcd. It starts nothing.
func (o *Options) newWatchMode(cfg *config.Config, m *meters) (w *watchMode, err error) {
	j := o.Journal()
	w = &watchMode{options: o, meters: m, host: systemd.New(j), exporter: serve.NewExporter(m.registry, j), addresses: managed(cfg)}
	w.exporter.Show(serve.Where(cfg.Metrics))
	o.Logs.Count(m.dropped)
	self, err := notify.Self(true)
	if err != nil {
		return nil, err
	}
	if w.graph, err = o.newWatchGraph(cfg, self, m, j); err != nil {
		return nil, err
	}
	key, err := cfg.Heartbeat.Key()
	if err != nil {
		return nil, &UsageError{cfg.Located("heartbeat", err)}
	}
	// A process that begins anew must not seem unwell to its peers until its checks have run.
	w.health.Presume(status.HealthySince(cfg.RunDirectory, time.Now().Add(-cfg.Heartbeat.DeadTime()-recently)))
	able := w.health.Conditions(cfg.HealthOf(""))
	if w.witness = o.newWitness(cfg, m.witness, j); w.witness != nil {
		able = append(able, w.witness)
	}
	w.known = &condition.Value{}
	able = append(able, w.known)
	if o.fenced(cfg) && cfg.Fencing.OnEtcdLoss != config.Allow {
		w.lease = witness.NewLease()
		able = append(able, w.lease)
	}
	w.node = newNode(cfg, key, o.Getenv, condition.All(able...), m.heartbeat, j)
	w.yields = w.newYields()
	w.service = service.New(w.node, w.changed, j)
	return w, nil
}

// recently is how much older than the time of a silence that peers allow what a process
// told may be for its successor to believe it.
const recently = 5 * time.Second

// newWatchGraph builds the parts that the modes of keepalived have, too.
func (o *Options) newWatchGraph(cfg *config.Config, self notify.Record, m *meters, j *journal.Journal) (g *graph, err error) {
	g = &graph{cfg: cfg, journal: j, self: self}
	g.self.Config = absolute(cfg.Path)
	g.status = status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: status.Watching}, j)
	m.status.Watch(g.status)
	if g.api, err = o.apiOptions(cfg, j); err != nil {
		return nil, err
	}
	g.health = newHealth(cfg, g.status, allInstances, m.health, j)
	g.cloud, err = o.newCloud(cfg, m, j)
	return g, err
}

// managed returns the managed addresses by the names of their instances, but for those
// that no provider can move.
func managed(cfg *config.Config) map[string][]vrrp.FloatingIP {
	all := map[string][]vrrp.FloatingIP{}
	for _, ip := range vrrp.Movable(cfg.ManagedAddresses) {
		name := ip.Addr().Unmap().String()
		all[name] = append(all[name], ip)
	}
	return all
}

// changed takes what is new about an instance.
func (w *watchMode) changed(is instance.Status) {
	w.status.State(is.Instance, status.State{State: is.State, Since: is.Since, Priority: is.Priority, Reason: is.Reason})
	if w.yields != nil && is.State != vrrp.Master { // its holding has ended
		w.yields.Begin(is.Instance)
	}
}

// run runs the parts until ctx ends, and reports whether berth is to begin anew.
func (w *watchMode) run(ctx context.Context, stop func(error)) (again bool, err error) {
	protect(w.journal)
	holdOff := time.Now().Add(w.node.HoldOff())
	for name := range w.addresses {
		w.status.State(name, status.State{Reason: "hold-off until " + holdOff.Format(time.TimeOnly) + ": this host hears its peers before it decides"})
	}
	tasks := []run.Task{
		{Name: "status", Run: w.status.Run},
		{Name: "health", Run: w.health.Run},
		{Name: "metrics", Run: w.exporter.Run},
		{Name: "API", Run: api.New(w.apiOptions()).Run},
		{Name: "provider", Run: w.cloud.Prepare},
		{Name: "audit", Run: w.cloud.Audit},
		{Name: "adoption", Run: w.adopt},
		{Name: "peers", Run: w.roster.Run},
		{Name: "status of peers", Run: w.tellPeers},
		{Name: "last look", Run: w.lastLook},
		run.OnSignal("priority", unix.SIGUSR1, func(context.Context) { w.prioritize(-1) }),
		run.OnSignal("priority", unix.SIGUSR2, func(context.Context) { w.prioritize(+1) }),
		w.options.onHangup(w.source, w.replaceable, w.host, stop),
	}
	if w.witness != nil {
		tasks = append(tasks, run.Task{Name: "witness", Run: w.witness.Run})
	}
	if w.lease != nil {
		tasks = append(tasks, run.Task{Name: "lease", Run: w.lease.Run})
	}
	if w.yields != nil {
		tasks = append(tasks, run.Task{Name: "giving way", Run: w.yields.Run})
	}
	tasks = append(append(tasks, w.service.Tasks()...), w.cluster.tasks()...)
	tasks = append(tasks, systemdTask(w.host, tasks, w.node.CatchUp))
	w.tellBegin()
	// After it the lease is given back, so that the peer that the resignation invites finds
	// it free.
	err = w.fencing.run(ctx, func(ctx context.Context) error { return run.Together(ctx, tasks...) })
	if ctx.Err() == nil {
		return false, err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, upgrade.ErrAnew) {
		w.journal.Tell(watchPassed, zap.NamedError("reason", cause))
		return true, nil
	}
	w.resign(context.WithoutCancel(ctx))
	for name := range w.addresses {
		w.status.State(name, status.State{State: vrrp.Stop, Reason: "berth watch has ended, and this host has resigned"})
	}
	w.journal.Tell(watchLeft, zap.NamedError("reason", cause))
	return false, nil
}

// resign has a living peer take over, and detaches the addresses for which there is none,
// where the configuration wants that.
func (w *watchMode) resign(ctx context.Context) {
	w.node.Resign(ctx)
	if w.cfg.Heartbeat.ReleaseOnStop && w.cloud.Releases() {
		yield.Release(ctx, w.cloud, w.abandoned, releaseTime, w.journal)
	}
}

// releaseTime bounds the release at the end.
const releaseTime = 10 * time.Second

// lastLook notes at the end for which addresses no peer lives: when all else has ended,
// this host may not have heard its peers for a while.
func (w *watchMode) lastLook(ctx context.Context) error {
	<-ctx.Done()
	for name, ips := range w.addresses {
		if addr := ips[0].Addr().Unmap(); !w.node.Alive(addr) {
			w.abandoned = append(w.abandoned, addr)
			w.journal.Debug("no peer lives that could take the address", zap.String("instance", name))
		}
	}
	return context.Cause(ctx)
}

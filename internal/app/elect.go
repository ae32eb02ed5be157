package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"berth/api"
	"berth/config"
	"berth/election"
	"berth/health"
	"berth/internal/added"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/patroni"
	"berth/internal/pointing"
	"berth/internal/run"
	"berth/internal/seat"
	"berth/internal/serve"
	"berth/internal/status"
	"berth/internal/systemd"
	"berth/internal/upgrade"
	"berth/netif"
	"berth/notify"
	"berth/pool"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Elect takes part in the elections of the configuration until ctx ends: then it
// leaves, after the next owner can have everything. On SIGUSR2 it ends and leaves
// everything as it is.
//
// On SIGHUP it does so too and executes itself anew in the same process, instead of
// swapping its parts as FIFO mode does. FIFO mode must go on reading what keepalived
// writes, and has only loops to swap. Here the lease, its keys and the bound addresses
// stay where they are, in etcd and in the kernel, while no berth runs: the next process
// adopts them, as it must after a crash and after an upgrade. A swap would be a second
// way to hand them over, between two members in one process.
func (o *Options) Elect(ctx context.Context, configPath string) error {
	return o.electFrom(ctx, source{
		load:  func() (*config.Config, error) { return o.loadElection(configPath) },
		check: checking(configPath),
	})
}

// electFrom does the work of Elect with the configuration of a source.
func (o *Options) electFrom(ctx context.Context, s source) error {
	if o.DryRun {
		return errDryElection
	}
	return o.from(ctx, s, o.elect)
}

// errDryElection refuses to take part in a dry run: the member could be elected.
var errDryElection = &UsageError{errors.New("--dry-run is not for elections: a member that takes part can become the owner; berth show and berth --test change nothing")}

// loadElection reads a configuration that must have an election.
func (o *Options) loadElection(path string) (*config.Config, error) {
	cfg, err := o.load(path)
	if err == nil && !cfg.Elects() {
		err = &UsageError{cfg.Located("election", errors.New("election: missing; write its interface and instances, as in berth-elect.yml"))}
	}
	return cfg, err
}

// electMode is berth elect: what lives as long as its process.
type electMode struct {
	options    *Options
	source     source
	cfg        *config.Config
	journal    *journal.Journal
	meters     *meters
	supervisor *systemd.Notifier
	exporter   *serve.Exporter
	board      *status.Board
	entry      status.Instance // what all entries of the board share
	cloud      *pointing.Cloud // nil without a provider
	health     *health.Set
	// With the place of this host's member:
	place   *seat.Seat
	member  *election.Member
	history *seat.History
	network *netif.Host
	host    *owner.Host
	// follower asks Patroni, nil where that is not followed. Where it decides, member and
	// history are nil, and the place is a lock alone.
	follower *patroni.Follower
	able     []condition.Condition // of all instances, of the pool, and of added addresses
	set      *added.Set            // nil where this member serves no added addresses
	cluster  *clusterPart
	pool     *pool.Pool  // nil without one
	api      api.Options // of the configuration alone
}

// elect does the work of Elect with these meters, and reports whether it is to begin
// anew.
func (o *Options) elect(ctx context.Context, from source, cfg *config.Config, stop func(error), m *meters) (again bool, err error) {
	e, err := o.newElectMode(cfg, m)
	if err != nil {
		return false, err
	}
	e.source = from
	defer e.board.Flush() // what the end of the campaigns has changed
	if e.place, err = o.takeSeat(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer func() {
		if err := e.place.Leave(errors.Is(context.Cause(ctx), election.ErrLeave)); err != nil {
			e.journal.Tell(seatNotLeft, zap.Error(err))
		}
	}()
	if err := e.build(); err != nil {
		return false, err
	}
	defer e.close()
	return e.run(ctx, stop)
}

// newElectMode builds the parts that need no place. It starts nothing.
func (o *Options) newElectMode(cfg *config.Config, m *meters) (e *electMode, err error) {
	j := o.Journal()
	e = &electMode{options: o, cfg: cfg, journal: j, meters: m, supervisor: systemd.New(j), exporter: serve.NewExporter(m.registry, j)}
	e.exporter.Show(serve.Where(cfg.Metrics))
	o.Logs.Count(m.dropped)
	self, err := notify.Self(true)
	if err != nil {
		return nil, err
	}
	e.entry = status.Instance{PID: self.PID, Start: self.Start, Mode: "elect", Prefix: cfg.Etcd.Prefix, Member: cfg.Etcd.MemberName()}
	if cfg.Follow.Decides() {
		e.entry.Prefix = cfg.Follow.Patroni.URL
	}
	e.board = status.NewBoard(cfg.RunDirectory, e.entry, j)
	m.status.Watch(e.board)
	if e.api, err = o.apiOptions(cfg, j); err != nil {
		return nil, err
	}
	e.health = newHealth(cfg, e.board, cfg.HealthConcerns, m.health, j)
	if cfg.Pointing(o.DryRun) != config.Nothing {
		if e.cloud, err = o.newCloud(cfg, m, j); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// build builds the parts that need the place: the member of the elections, the
// interfaces, and what an owner does with them. Without an error, close is to follow.
func (e *electMode) build() (err error) {
	if err := e.follow(); err != nil {
		return err
	}
	var end func() time.Time
	if e.cfg.Follow.Decides() {
		end = e.follower.End
		e.host = &owner.Host{Decider: e.follower, Awaits: "Patroni", Adopts: true}
	} else {
		if e.member, e.history, err = e.options.newMember(e.cfg, e.place, e.meters.election); err != nil {
			return err
		}
		end = e.member.End
		e.host = &owner.Host{Decider: owner.Elections(e.member, e.journal), Awaits: "etcd", Adopts: e.place.Found() != 0, Lease: e.place.Path()}
	}
	if e.network, err = openNetwork(e.cfg, end, e.elsewhere, e.board, e.meters.netif, e.journal); err != nil {
		e.closeEtcd()
		return err
	}
	if e.member != nil {
		e.host.Alone = e.cfg.Election.OnEtcdLoss == config.Claim
		e.member.Claims = e.host.Alone
		e.member.Retain = e.host.Alone || e.cfg.Election.OnEtcdLoss == config.Keep
		e.member.Renewed, e.member.Moved, e.member.Doubled = e.network.Renewed, e.network.Moved, e.board.Doubled
		e.member.Init()
	}
	e.host.Network, e.host.Status, e.host.Journal = e.network, e.board, e.journal
	healthy := status.HealthyOf(e.cfg.RunDirectory, e.entry.Prefix, e.entry.Member)
	e.host.Adopted = func() {
		e.health.Presume(healthy)
		if e.set != nil {
			e.set.Presume(healthy)
		}
	}
	for _, in := range e.cfg.Election.Instances {
		able := append(e.health.Conditions(e.cfg.HealthOf(in.Name)), e.able...)
		e.host.Owners = append(e.host.Owners, newOwner(in, e.network, e.cloud, able, e.board, e.journal))
	}
	switch {
	case e.cfg.Pool.Enabled:
		e.pool = e.newPool()
		e.host.Set = e.pool
	case e.cfg.Adds():
		e.set = e.newAdded()
		e.host.Set = e.set
	}
	e.cluster = e.newCluster()
	return nil
}

func (e *electMode) closeEtcd() {
	if e.member != nil {
		e.member.Etcd.Close()
	}
}

// close ends what build has opened.
func (e *electMode) close() {
	if err := e.network.Close(); err != nil {
		e.journal.Tell(interfacesNotClosed, zap.Error(err))
	}
	e.closeEtcd()
}

// run runs the parts until ctx ends, and reports whether berth is to begin anew.
func (e *electMode) run(ctx context.Context, stop func(error)) (again bool, err error) {
	protect(e.journal)
	tasks := append(e.following(),
		run.Task{Name: "status", Run: e.board.Run},
		run.Task{Name: "health", Run: e.health.Run},
		run.Task{Name: "metrics", Run: e.exporter.Run},
		e.options.onUpgrade(e.source.check, func() error { return e.replaceable(e.cfg) }, stop),
		e.options.onHangup(e.source, e.replaceable, e.supervisor, stop),
	)
	if e.member != nil {
		tasks = append(tasks,
			run.Task{Name: "election", Run: func(ctx context.Context) error { return e.member.Run(ctx, e.takePart) }},
			run.Task{Name: "record", Run: func(ctx context.Context) error { return e.place.Run(ctx, e.member.End, e.member.Unacknowledged) }},
			run.Task{Name: "history", Run: func(ctx context.Context) error { return e.history.Run(ctx, e.member.Seen) }})
	}
	tasks = append(append(tasks, e.cluster.tasks()...), e.serving()...)
	if e.cfg.Election.WithoutEtcd == config.Exit {
		tasks = append(tasks, run.Task{Name: "etcd", Run: e.member.Unserved})
	}
	if e.cloud != nil {
		for _, w := range e.cfg.Immovable() {
			e.journal.Tell(addressFixed, zap.String("reason", w))
		}
		tasks = append(tasks, run.Task{Name: "provider", Run: e.cloud.Prepare}, run.Task{Name: "audit", Run: e.cloud.Audit})
	}
	tasks = append(tasks, systemdTask(e.supervisor, tasks, nil))
	left, passed := e.tellBegin(e.cfg.Election.Names(), slices.Sorted(maps.Keys(e.cfg.OnInterfaces())))
	err = run.Together(ctx, tasks...)
	if ctx.Err() == nil {
		return false, err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, election.ErrLeave) {
		e.journal.Tell(passed, zap.NamedError("reason", cause))
		return errors.Is(cause, upgrade.ErrAnew), nil
	}
	e.journal.Tell(left, zap.NamedError("reason", cause))
	return false, nil
}

// newOwner builds what this host does while it owns an instance.
func newOwner(in config.ElectionInstance, network *netif.Host, cloud *pointing.Cloud, able []condition.Condition, board *status.Board, j *journal.Journal) *owner.Owner {
	o := owner.Options{Instance: in.Name, Addresses: in.Addresses, Able: able, Journal: j,
		Report: func(r []refresher.Report) { board.Addresses(in.Name, addresses(r)) }}
	if i := network.Interface(in.Interface); i != nil {
		o.Interface = i
	}
	if cloud != nil {
		o.Loop = func(ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
			return cloud.Loop(in.Name, ip, check, j)
		}
	}
	return owner.New(o)
}

// replaceable returns an error while a successor with the configuration next could not
// take over what this process owns.
func (e *electMode) replaceable(next *config.Config) error {
	if err := sameSeat(e.cfg, next); err != nil {
		return err
	}
	if e.member != nil && e.member.Retained() {
		return errors.New("etcd does not answer, so that the next process could not take over what this process owns; try again when etcd answers")
	}
	// An interface may have been renamed since.
	return netif.CheckHost(next.OnInterfaces())
}

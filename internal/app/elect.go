package app

import (
	"context"
	"errors"
	"maps"
	"slices"

	"berth/config"
	"berth/election"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/pointing"
	"berth/internal/reload"
	"berth/internal/run"
	"berth/internal/serve"
	"berth/internal/status"
	"berth/internal/systemd"
	"berth/internal/upgrade"
	"berth/netif"
	"berth/notify"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
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
	if o.DryRun {
		return errDryElection
	}
	m := o.count()
	cfg, err := o.loadElection(configPath)
	if err != nil {
		return err
	}
	o.Logs.File(cfg.LogFile)
	own, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	again, err := o.elect(own, cfg, stop, m)
	if err != nil || !again || ctx.Err() != nil { // told to end while it was about to begin anew
		return err
	}
	return o.Again()
}

// errDryElection refuses to take part in a dry run: the member could be elected.
var errDryElection = &UsageError{errors.New("--dry-run is not for elections: a member that takes part can become the owner; berth show and berth --test change nothing")}

// loadElection reads a configuration that must have an election.
func (o *Options) loadElection(path string) (*config.Config, error) {
	cfg, err := o.load(path)
	if err == nil && len(cfg.Election.Instances) == 0 {
		err = &UsageError{cfg.Located("election", errors.New("election: missing; write its interface and instances, as in berth-elect.yml"))}
	}
	return cfg, err
}

// elect does the work of Elect, with these parts, and reports whether it is to begin
// anew.
func (o *Options) elect(ctx context.Context, cfg *config.Config, stop func(error), m *meters) (again bool, err error) {
	j := o.Journal()
	supervisor := systemd.New(j)
	o.Logs.Count(m.dropped)

	// The board for berth status.
	self, err := notify.Self(true)
	if err != nil {
		return false, err
	}
	board := status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: "elect", Prefix: cfg.Etcd.Prefix, Member: cfg.Etcd.MemberName()}, j)
	defer board.Flush() // what the end of the campaigns has changed
	m.status.Watch(board)

	// Where floating IPs are pointed.
	var cloud *pointing.Cloud // nil without a provider
	if cfg.Pointing(o.DryRun) != config.Nothing {
		if cloud, err = o.newCloud(cfg, m, j); err != nil {
			return false, err
		}
	}

	// The member of the elections, and its place on this host.
	place, err := o.takeSeat(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer func() {
		if err := place.Leave(errors.Is(context.Cause(ctx), election.ErrLeave)); err != nil {
			j.Tell(seatNotLeft, zap.Error(err))
		}
	}()
	member, history, err := o.newMember(cfg, place, m.election)
	if err != nil {
		return false, err
	}
	defer member.Etcd.Close()

	// The interfaces, and what an owner does with them.
	network, err := openNetwork(cfg, member, board, m.netif, j)
	if err != nil {
		return false, err
	}
	defer func() {
		if err := network.Close(); err != nil {
			j.Tell(interfacesNotClosed, zap.Error(err))
		}
	}()
	member.Retain = cfg.Election.OnEtcdLoss == config.Keep
	member.Renewed, member.Moved, member.Doubled = network.Renewed, network.Moved, board.Doubled
	member.Init()
	host := &owner.Host{Member: member, Network: network, Status: board, Adopts: place.Found() != 0, Lease: place.Path(), Journal: j}
	for _, in := range cfg.Election.Instances {
		host.Owners = append(host.Owners, newOwner(in, network, cloud, board, j))
	}

	protect(j)
	exporter := serve.NewExporter(m.registry, j)
	exporter.Show(serve.Where(cfg.Metrics))
	tasks := []run.Task{
		{Name: "election", Run: func(ctx context.Context) error { return member.Run(ctx, host.Run) }},
		{Name: "status", Run: board.Run},
		{Name: "record", Run: func(ctx context.Context) error { return place.Run(ctx, member.End, member.Unacknowledged) }},
		{Name: "history", Run: func(ctx context.Context) error { return history.Run(ctx, member.Seen) }},
		{Name: "metrics", Run: exporter.Run},
		o.onUpgrade(cfg.Path, func() error { return replaceable(member, cfg, cfg) }, stop),
		run.OnSignal("reload", unix.SIGHUP, func(context.Context) { o.beginAnew(member, cfg, supervisor, stop) }),
	}
	if cloud != nil {
		for _, w := range cfg.Immovable() {
			j.Tell(addressFixed, zap.String("reason", w))
		}
		tasks = append(tasks, run.Task{Name: "provider", Run: cloud.Prepare}, run.Task{Name: "audit", Run: cloud.Audit})
	}
	tasks = append(tasks, systemdTask(supervisor, tasks, nil))
	j.Tell(electionJoined, zap.String("member", member.Name), zap.String("prefix", member.Prefix),
		zap.Strings("instances", cfg.Election.Names()), zap.Strings("interfaces", slices.Sorted(maps.Keys(cfg.Election.OnInterfaces()))))
	err = run.Together(ctx, tasks...)
	if ctx.Err() == nil {
		return false, err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, election.ErrLeave) {
		j.Tell(electionPassed, zap.NamedError("reason", cause))
		return errors.Is(cause, upgrade.ErrAnew), nil
	}
	j.Tell(electionLeft, zap.NamedError("reason", cause))
	return false, nil
}

// newOwner builds what this host does while it owns an instance.
func newOwner(in config.ElectionInstance, network *netif.Host, cloud *pointing.Cloud, board *status.Board, j *journal.Journal) *owner.Owner {
	o := owner.Options{Instance: in.Name, Addresses: in.Addresses, Journal: j,
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
// take over what the member owns.
func replaceable(member *election.Member, cfg, next *config.Config) error {
	if next.Etcd.MemberName() != member.Name || next.Etcd.Prefix != cfg.Etcd.Prefix || next.RunDirectory != cfg.RunDirectory {
		return errors.New("etcd.member, etcd.prefix and run-directory change with a stop and a start of berth only; " +
			"a process with other values would not find what this process owns")
	}
	if member.Retained() {
		return errors.New("etcd does not answer, so that the next process could not take over what this process owns; try again when etcd answers")
	}
	// An interface may have been renamed since.
	return netif.CheckHost(next.Election.OnInterfaces())
}

// beginAnew ends everything on SIGHUP, to begin anew. A file that cannot be used changes
// nothing.
func (o *Options) beginAnew(member *election.Member, cfg *config.Config, supervisor *systemd.Notifier, stop func(error)) {
	next, err := o.loadElection(cfg.Path)
	if err == nil {
		err = o.buildable(next)
	}
	if err == nil {
		err = replaceable(member, cfg, next)
	}
	if err != nil {
		o.Journal().Tell(reload.Refused, zap.Error(err))
		return
	}
	supervisor.Reloading()
	stop(upgrade.ErrAnew)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"berth/config"
	"berth/election"
	"berth/guard"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/internal/rundir"
	"berth/internal/seat"
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

// elector is berth elect: a member of the election that binds addresses and
// points floating IPs while it owns an instance.
type elector struct {
	cfg     *config.Config
	seat    *seat.Seat
	history *seat.History
	member  *election.Member
	host    *netif.Host // the interfaces of the instances; none where these have floating IPs alone
	cloud   *cloud      // nil without a provider
	status  *status.Board
	meters  *meters
	log     *zap.Logger
}

// Elect takes part in the elections of the configuration until ctx ends: then it
// leaves, after the next owner can have everything. On SIGUSR2 it ends and leaves
// everything as it is; on SIGHUP it does so and begins anew in the same process.
func (o *Options) Elect(ctx context.Context, configPath string) error {
	if o.DryRun {
		return errDryElection
	}
	m := o.count()
	log := o.Logger()
	cfg, err := o.loadElection(configPath)
	if err != nil {
		return err
	}
	o.Logs.File(cfg.LogFile)
	own, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	again, err := o.elect(own, cfg, stop, m, log)
	if err != nil || !again || ctx.Err() != nil { // told to end while it was about to begin anew
		return err
	}
	return o.Again()
}

// errDryElection refuses to take part without consequences.
var errDryElection = &UsageError{errors.New("--dry-run is not for elections: whoever takes part can become the owner; berth show and berth --test change nothing")}

// loadElection reads a configuration that must have an election.
func (o *Options) loadElection(path string) (*config.Config, error) {
	cfg, err := o.load(path)
	if err == nil && len(cfg.Election.Instances) == 0 {
		err = &UsageError{cfg.Located("election", errors.New("election: missing; write its interface and instances, as in berth-elect.yml"))}
	}
	return cfg, err
}

// elect does the work of Elect and reports whether it is to begin anew.
func (o *Options) elect(ctx context.Context, cfg *config.Config, stop func(error), m *meters, log *zap.Logger) (again bool, err error) {
	e := &elector{cfg: cfg, meters: m, log: log}
	host := systemd.New(o.Journal())
	o.Logs.Count(e.meters.dropped)
	self, err := notify.Self(true)
	if err != nil {
		return false, err
	}
	e.status = status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: "elect", Prefix: cfg.Etcd.Prefix, Member: memberName(cfg)}, o.Journal())
	m.status.Watch(e.status)
	defer e.status.Flush() // what the end of the campaigns has changed
	if cfg.Pointing(o.DryRun) != config.Nothing {
		if e.cloud, err = o.newCloud(cfg, e.meters, o.Journal()); err != nil {
			return false, err
		}
	}
	if e.seat, err = takeSeat(ctx, cfg, log); err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer func() {
		if err := e.seat.Leave(errors.Is(context.Cause(ctx), election.ErrLeave)); err != nil {
			log.Warn("cannot leave the lease's record in order", zap.Error(err))
		}
	}()
	if e.member, e.history, err = o.newMember(cfg, e.seat, e.meters.election, log); err != nil {
		return false, err
	}
	defer e.member.Etcd.Close()
	e.member.Retain = cfg.Election.OnEtcdLoss == config.Keep
	e.member.Renewed = func() { e.tell((*netif.Host).Renewed) }
	e.member.Moved = func() { e.tell((*netif.Host).Moved) }
	e.member.Doubled = e.status.Doubled
	e.member.Init()
	if e.host, err = e.open(); err != nil {
		return false, err
	}
	defer func() {
		if err := e.host.Close(); err != nil {
			log.Warn("cannot close the interfaces", zap.Error(err))
		}
	}()
	protect(o.Journal())
	exporter := serve.NewExporter(m.registry, o.Journal())
	exporter.Show(serve.Where(cfg.Metrics))
	tasks := []run.Task{
		{Name: "election", Run: func(ctx context.Context) error { return e.member.Run(ctx, e.run) }},
		{Name: "status", Run: e.status.Run},
		{Name: "record", Run: func(ctx context.Context) error { return e.seat.Run(ctx, e.member.End, e.member.Unacknowledged) }},
		{Name: "history", Run: func(ctx context.Context) error { return e.history.Run(ctx, e.member.Seen) }},
		{Name: "metrics", Run: exporter.Run},
		o.onUpgrade(cfg.Path, e.replaceable, stop),
		run.OnSignal("reload", unix.SIGHUP, func(context.Context) { e.reload(o, host, stop) }),
	}
	if e.cloud != nil {
		for _, w := range immovable(cfg) {
			log.Info("an address is bound only", zap.String("reason", w))
		}
		tasks = append(tasks, run.Task{Name: "provider", Run: e.cloud.prepare}, run.Task{Name: "audit", Run: e.cloud.audit})
	}
	tasks = append(tasks, systemdTask(host, tasks, nil))
	log.Info("taking part in the election", zap.String("member", e.member.Name), zap.String("prefix", e.member.Prefix),
		zap.Strings("instances", e.names()), zap.Strings("interfaces", slices.Sorted(maps.Keys(managedOn(cfg)))))
	err = run.Together(ctx, tasks...)
	if ctx.Err() == nil {
		return false, err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, election.ErrLeave) {
		log.Info("ending; lease and addresses stay for the next process", zap.NamedError("reason", cause))
		return errors.Is(cause, upgrade.ErrAnew), nil
	}
	log.Info("ended; addresses and lease are given up", zap.NamedError("reason", cause))
	return false, nil
}

// replaceable returns an error while a successor could not take over what is
// owned here.
func (e *elector) replaceable() error { return e.replaceableBy(e.cfg) }

// replaceableBy is replaceable for a successor with another configuration.
func (e *elector) replaceableBy(next *config.Config) error {
	if memberName(next) != e.member.Name || next.Etcd.Prefix != e.cfg.Etcd.Prefix || next.RunDirectory != e.cfg.RunDirectory {
		return errors.New("etcd.member, etcd.prefix and run-directory change with a stop and a start of berth only; " +
			"whoever looked elsewhere would not find what this process owns")
	}
	if e.member.Retained() {
		return errors.New("etcd does not answer, so that nobody could take over what is kept here; try again when it does")
	}
	// An interface may have been renamed since.
	return netif.CheckHost(managedOn(next))
}

// reload ends everything, to begin anew. A file that cannot be used changes nothing.
func (e *elector) reload(o *Options, host *systemd.Notifier, stop func(error)) {
	cfg, err := o.loadElection(e.cfg.Path)
	if err == nil {
		err = o.buildable(cfg)
	}
	if err == nil {
		err = e.replaceableBy(cfg)
	}
	if err != nil {
		e.log.Error("the configuration was not read again; the former stays in force", zap.Error(err))
		return
	}
	host.Reloading()
	stop(upgrade.ErrAnew)
}

func (e *elector) names() []string {
	var names []string
	for _, in := range e.cfg.Election.Instances {
		names = append(names, in.Name)
	}
	return names
}

// managedOn returns the addresses that the election may bind to each interface.
func managedOn(cfg *config.Config) map[string][]netip.Prefix {
	managed := map[string][]netip.Prefix{}
	for _, in := range cfg.Election.Instances {
		for _, ip := range in.Addresses {
			if in.Interface != "" {
				managed[in.Interface] = append(managed[in.Interface], ip.Prefix)
			}
		}
	}
	return managed
}

// open opens the interfaces.
func (e *elector) open() (*netif.Host, error) {
	instances := map[netip.Prefix]string{}
	for _, in := range e.cfg.Election.Instances {
		for _, ip := range in.Addresses {
			instances[ip.Prefix] = in.Name
		}
	}
	a := e.cfg.Election.Announce
	return netif.OpenHost(netif.Options{
		Announce: netif.Announce{Count: a.Count, Interval: a.Interval, Refresh: a.Refresh},
		End:      e.member.End,
		Elsewhere: func(p netip.Prefix) bool {
			_, other, known := e.member.Owner(instances[p])
			return known && other
		},
		Contested: func(p netip.Prefix, on bool) { e.status.Contested(instances[p], p.String(), on) },
		Astray:    func(p netip.Prefix, on string) { e.status.Astray(instances[p], p.String(), on) },
		Record:    rundir.Dir(e.cfg.RunDirectory).Bound(config.EscapeName(e.cfg.Etcd.Prefix + memberName(e.cfg))),
		Journal:   journal.New(e.log),
		Metrics:   e.meters.netif,
	}, managedOn(e.cfg))
}

// tell tells the interfaces something of the member, which is there before them.
func (e *elector) tell(what func(*netif.Host)) {
	if e.host != nil {
		what(e.host)
	}
}

// run takes part until ctx ends, and returns after everything here has ended.
func (e *elector) run(ctx context.Context) error { return e.host.Serve(ctx, e.campaigns) }

// campaigns removes what an earlier run left, unless its lease is adopted, and
// then campaigns for all instances.
func (e *elector) campaigns(ctx context.Context) error {
	if e.seat.Found() == 0 {
		if err := e.host.Sweep(func(netip.Prefix) bool { return false }); err != nil {
			e.log.Error("cannot remove addresses of an earlier run", zap.Error(err))
		}
	}
	for _, in := range e.cfg.Election.Instances {
		e.changed(election.Status{Instance: in.Name, State: vrrp.Fault, Reason: "waiting for etcd"})
	}
	adopted, err := e.member.Begun(ctx)
	if err != nil {
		return err
	}
	if adopted {
		e.log.Info("adopted the lease of the process before this one")
	}
	if e.seat.Found() != 0 {
		ours := func(p netip.Prefix) bool {
			in := slices.IndexFunc(e.cfg.Election.Instances, func(in config.ElectionInstance) bool {
				return slices.ContainsFunc(in.Addresses, func(ip vrrp.FloatingIP) bool { return ip.Prefix == p })
			})
			_, other, known := e.member.Owner(e.cfg.Election.Instances[in].Name)
			return adopted && known && !other
		}
		if err := e.host.Sweep(ours); err != nil {
			e.log.Error("cannot remove addresses of an earlier run", zap.Error(err))
		}
	}
	var all []run.Task
	for _, in := range e.cfg.Election.Instances {
		all = append(all, run.Task{Name: in.Name, Run: func(ctx context.Context) error { return e.campaign(ctx, in) }})
	}
	return run.All(ctx, all...)
}

func (e *elector) campaign(ctx context.Context, in config.ElectionInstance) error {
	c := election.Campaign{Instance: in.Name, Changed: e.changed}
	for _, ip := range in.Addresses {
		c.Addresses = append(c.Addresses, ip.String())
	}
	if i := e.host.Interface(in.Interface); i != nil {
		c.Able = i
		c.Joined = i.Announce
	}
	return e.member.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error { return e.own(ctx, in, g) })
}

// own has the addresses here until ctx ends. When it returns, none is.
func (e *elector) own(ctx context.Context, in config.ElectionInstance, g election.Grant) error {
	log := e.log.With(zap.String("instance", in.Name), zap.Int64("token", g.Token))
	bound := make(chan struct{})
	var parts []run.Task
	iface := e.host.Interface(in.Interface)
	if iface == nil {
		close(bound)
	} else {
		var prefixes []netip.Prefix
		for _, ip := range in.Addresses {
			prefixes = append(prefixes, ip.Prefix)
		}
		parts = append(parts, run.Task{Name: "addresses", Run: func(ctx context.Context) error {
			err := iface.Bind(ctx, prefixes, func() {
				log.Info("addresses are bound", zap.Stringers("addresses", prefixes))
				if e.cloud == nil {
					e.bound(in)
				}
				close(bound)
			})
			if err != context.Cause(ctx) {
				untilGone(func() error {
					return iface.Sweep(func(p netip.Prefix) bool { return !slices.Contains(prefixes, p) })
				}, g.End(), log)
			}
			return err
		}})
	}
	if e.cloud != nil {
		parts = append(parts, run.Task{Name: "floating IPs", Run: func(ctx context.Context) error {
			// A packet that the provider sends here must find the address.
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-bound:
			}
			var boundOnly []refresher.Report // for the status, which no loop tells
			for _, ip := range in.Addresses {
				if ip.Immovable() != "" {
					boundOnly = append(boundOnly, refresher.Report{Address: ip.String(), Owner: refresher.Here, Since: time.Now()})
				}
			}
			loops := holding.Loops{
				New: func(instance string, ip vrrp.FloatingIP, check func(context.Context) error) *refresher.Loop {
					return e.cloud.loop(instance, ip, check, journal.New(log))
				},
				Report: func(instance string, r []refresher.Report) {
					e.status.Addresses(instance, addresses(append(r, boundOnly...)))
				},
			}
			permit := guard.NewPermit(ctx, func(context.Context) error { return g.Check() })
			return loops.Run(ctx, in.Name, permit.Check, func() []vrrp.FloatingIP { return vrrp.Movable(in.Addresses) }, nil, nil)
		}})
	}
	return run.All(ctx, parts...)
}

// sweepAgain is the pause between attempts to remove what could not be removed.
const sweepAgain = 100 * time.Millisecond

// untilGone returns when addresses are gone after all, or at the end, by which the
// kernel has taken them away because nobody renews them. Before that the key must
// not be given up.
func untilGone(sweep func() error, end time.Time, log *zap.Logger) {
	var failed string
	for time.Now().Before(end) {
		err := sweep()
		if err == nil {
			return
		}
		if failed != err.Error() {
			failed = err.Error()
			log.Error("cannot remove addresses; nobody else gets them until the kernel has taken them away", zap.Error(err), zap.Duration("left", time.Until(end)))
		}
		time.Sleep(min(sweepAgain, time.Until(end)))
	}
}

// bound puts the addresses into the status, where no loop does.
func (e *elector) bound(in config.ElectionInstance) {
	var list []status.Address
	for _, ip := range in.Addresses {
		list = append(list, status.Address{Address: ip.String(), Owner: refresher.Here, Since: time.Now()})
	}
	e.status.Addresses(in.Name, list)
}

// changed takes what is new about an instance.
func (e *elector) changed(s election.Status) {
	e.status.State(s.Instance, status.State{State: s.State, Reason: s.Reason})
	o := status.Ownership{Owner: s.Owner, Token: s.Token, Lease: e.seat.Path()}
	if s.State == vrrp.Fault {
		o.Withheld = s.Reason
	}
	e.status.Ownership(s.Instance, o)
}

// Takeover makes this host's member the owner of an instance, and returns when
// it is.
func (o *Options) Takeover(ctx context.Context, configPath, instance string) error {
	return o.handOver(ctx, configPath, instance, election.Takeover, "%s: %s is the owner\n")
}

// Release makes this host's member give an instance up to another, and returns
// when that is the owner.
func (o *Options) Release(ctx context.Context, configPath, instance string) error {
	return o.handOver(ctx, configPath, instance, election.Release, "%s: handed over by %s\n")
}

func (o *Options) handOver(ctx context.Context, configPath, instance string,
	ask func(ctx context.Context, e *election.Etcd, prefix, instance string, a election.Asker) error, done string) error {
	if o.DryRun {
		return errDryElection
	}
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	if len(cfg.Election.Instances) > 0 && !slices.ContainsFunc(cfg.Election.Instances, func(in config.ElectionInstance) bool { return in.Name == instance }) {
		return &UsageError{fmt.Errorf("%s: election.instances has no %q", configPath, instance)}
	}
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory, o.Logger())
	if err != nil {
		return err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	if err := ask(ctx, etcd, cfg.Etcd.Prefix, instance, election.Asker{Member: memberName(cfg), Identity: seat.ReadIdentity(cfg.RunDirectory)}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Stdout, done, instance, memberName(cfg))
	return err
}

package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"berth/config"
	"berth/election"
	"berth/internal/associate"
	"berth/internal/overview"
	"berth/internal/pidfd"
	"berth/internal/status"
	"berth/refresher"
)

// WithoutEnd is the value of --wait without one.
const WithoutEnd = associate.WithoutEnd

// AssociateOptions are the arguments of `berth associate` and `berth dissociate`.
type AssociateOptions struct {
	Release   bool     // dissociate
	Addresses []string // none: all of the configuration
	Wait      string   // as associate.ParseWait reads it
	Force     bool
	JSON      bool
}

// Associate points addresses at this host, or away from it, once.
func (o *Options) Associate(ctx context.Context, configPath string, ao AssociateOptions) error {
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	return o.associate(ctx, cfg, ao)
}

// associate does the work of Associate with a configuration.
func (o *Options) associate(ctx context.Context, cfg *config.Config, ao AssociateOptions) error {
	if cfg.Pointing(false) == config.Nothing {
		return &UsageError{fmt.Errorf("%s: no provider points addresses at hosts; write provider, or leave the addresses to berth elect", cfg.Path)}
	}
	facts := associate.Facts{Release: ao.Release}
	wait, err := associate.ParseWait(ao.Wait)
	if err == nil {
		facts.Addresses, err = associate.ParseAddresses(ao.Addresses)
	}
	if err != nil {
		return &UsageError{err}
	}
	if err := o.addresses(cfg, &facts); err != nil {
		return err
	}
	b := cfg.BackOff
	run := associate.Options{Release: ao.Release, Name: cfg.Provider, Addresses: facts.Addresses, DryRun: o.DryRun, Wait: wait,
		Policy: refresher.Policy{InitialInterval: b.InitialInterval, Multiplier: b.Multiplier, MaxInterval: b.MaxInterval},
		JSON:   ao.JSON, Out: o.Stdout, Journal: o.Journal()}
	if cfg.Pointing(false) == config.Print {
		run.DryRun = true
	} else if run.Provider, err = o.newProvider(cfg, "", nil, o.Journal()); err != nil {
		return err
	}
	if err := run.Possible(); err != nil {
		return &UsageError{cfg.Located("provider", err)}
	}
	if err := o.gather(ctx, cfg, &facts); err != nil {
		return err
	}
	if err := associate.Heed(associate.Concerns(facts), ao.Force, run.DryRun, o.Journal()); err != nil {
		return err
	}
	return associate.Run(ctx, run)
}

// addresses fills in the instances of the configuration and, unless some are named, the
// addresses that are to be moved. With named ones an instance that cannot be told matters
// only where etcd fences it.
func (o *Options) addresses(cfg *config.Config, f *associate.Facts) error {
	var all overview.Overview
	var err error
	switch {
	case cfg.Elects():
		err = showElected(cfg, ShowOptions{}, &all)
	case cfg.Watches():
		all.Watched(cfg.ManagedAddresses)
	default:
		err = o.showKeepalived(cfg, ShowOptions{}, &all)
	}
	f.Instances = all.ByInstance()
	if len(f.Addresses) == 0 {
		f.Addresses = associate.Unique(append(all.Addresses(), overview.Addrs(cfg.ManagedAddresses)...))
	}
	switch {
	case err != nil && (len(f.Addresses) == 0 || cfg.Fencing.Enabled):
		return err
	case len(f.Addresses) == 0:
		return &UsageError{fmt.Errorf("%s: there are no addresses that a provider can move; name them behind the configuration", cfg.Path)}
	}
	return nil
}

// gather fills in what acts for the addresses on this host and in etcd.
func (o *Options) gather(ctx context.Context, cfg *config.Config, f *associate.Facts) error {
	f.Local, f.Unseen = status.Read(cfg.RunDirectory)
	f.Alive = func(in status.Instance) bool { return !pidfd.Gone(in.PID, in.Start) }
	f.Etcd, f.Elects, f.Pool, f.Member = cfg.NeedsEtcd(), cfg.Elects(), cfg.Pool.Enabled, cfg.Etcd.MemberName()
	if !f.Etcd {
		return nil
	}
	etcd, err := o.newEtcd(cfg, "")
	if err != nil {
		return err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	owners, err := etcd.Owners(ctx, cfg.EtcdPrefix(), cfg.Election.Places())
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), election.ErrNoAnswer) {
		return context.Cause(ctx)
	}
	f.Unread, f.Owners = err, map[string]string{}
	for name, owner := range owners {
		f.Owners[name] = owner.Member
	}
	if cfg.Adds() { // the name of an added address in the election is the address
		for _, addr := range f.Addresses {
			f.Instances[addr.String()] = []netip.Addr{addr}
		}
	}
	return nil
}

package app

import (
	"context"
	"fmt"
	"net/netip"

	"berth/config"
	"berth/election"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/pool"
	"berth/refresher"
	"berth/vrrp"
)

// newPool builds this host's part in the pool.
func (e *electMode) newPool() *pool.Pool {
	o := pool.Options{Instance: config.PoolInstance, Name: e.member.Name, Weight: e.cfg.Pool.Weight, Member: e.member, Decider: e.host.Decider,
		Able:  append(e.health.Conditions(e.cfg.HealthOf(config.PoolInstance)), e.able...),
		Alone: e.host.Alone, Taken: e.cfg.Taken(), Addresses: addresses, Status: e.board, Lease: e.place.Path(),
		Record:  rundir.Dir(e.cfg.RunDirectory).Pool(config.EscapeName(e.cfg.Etcd.Prefix + e.member.Name)),
		Metrics: e.meters.pool, Journal: e.journal}
	if i := e.network.Interface(e.cfg.Pool.Interface); i != nil {
		o.Interface = i
	}
	if e.cloud != nil {
		o.Loop = func(ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
			return e.cloud.Loop(config.PoolInstance, ip, check, j)
		}
	}
	return pool.New(o)
}

// elsewhere reports whether another host owns an address: for its instance, or for the
// pool.
func (e *electMode) elsewhere(instance string, p netip.Prefix) bool {
	owner := e.host.Decider.Owner
	if e.cfg.Pool.Enabled && instance == config.PoolInstance {
		owner, instance = e.member.Holder, p.Addr().String()
	}
	_, other, known := owner(instance)
	return known && other
}

// poolClient calls do with a client for the pool of a configuration.
func (o *Options) poolClient(path string, do func(*config.Config, *pool.Client) error) error {
	if o.DryRun {
		return &UsageError{fmt.Errorf("--dry-run is not available for the commands of the pool; berth pool list changes nothing")}
	}
	cfg, err := o.load(path)
	if err == nil && !cfg.Pool.Enabled {
		err = &UsageError{cfg.Located("pool", fmt.Errorf("pool: not enabled; write pool: {enabled: true}"))}
	}
	if err != nil {
		return err
	}
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory)
	if err != nil {
		return err
	}
	defer etcd.Close()
	return do(cfg, &pool.Client{Etcd: etcd, Prefix: cfg.Pool.Prefix})
}

// within bounds what a command asks of etcd.
func within(ctx context.Context, cfg *config.Config) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
}

// PoolList prints the addresses and members of the pool.
func (o *Options) PoolList(ctx context.Context, path string, asJSON bool) error {
	return o.poolClient(path, func(cfg *config.Config, c *pool.Client) error {
		ctx, cancel := within(ctx, cfg)
		defer cancel()
		all, err := c.List(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return all.JSON(o.Stdout)
		}
		return all.Table(o.Stdout)
	})
}

// PoolAdd adds addresses to the list of the pool.
func (o *Options) PoolAdd(ctx context.Context, path string, texts []string) error {
	return o.changePool(ctx, path, texts, (*pool.Client).Add)
}

// PoolRemove removes addresses from the list of the pool.
func (o *Options) PoolRemove(ctx context.Context, path string, texts []string) error {
	return o.changePool(ctx, path, texts, (*pool.Client).Remove)
}

// changePool prints what became of each address.
func (o *Options) changePool(ctx context.Context, path string, texts []string, change func(*pool.Client, context.Context, []string) ([]pool.Change, error)) error {
	return o.poolClient(path, func(cfg *config.Config, c *pool.Client) error {
		ctx, cancel := within(ctx, cfg)
		defer cancel()
		changes, err := change(c, ctx, texts)
		for _, ch := range changes {
			fmt.Fprintln(o.Stdout, ch)
		}
		if pool.Mistaken(err) {
			return &UsageError{err}
		}
		return err
	})
}

// PoolDrain drains a member, that of this host if member is empty, or ends that.
func (o *Options) PoolDrain(ctx context.Context, path, member string, undo bool) error {
	return o.poolClient(path, func(cfg *config.Config, c *pool.Client) error {
		ctx, cancel := within(ctx, cfg)
		defer cancel()
		own := member == "" || member == cfg.Etcd.MemberName()
		if own {
			member = cfg.Etcd.MemberName()
		}
		change, err := c.Drain(ctx, member, own, undo)
		if err == nil {
			_, err = fmt.Fprintln(o.Stdout, change)
		}
		return err
	})
}

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"berth/api"
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

// PoolOptions say where a pool is, or a cluster: the etcd of a configuration has its keys, or
// an API asks for them.
type PoolOptions struct {
	Config     string
	Configured bool // Config was given, and is not the default
	API        APIOptions
}

// apiInstead returns a client of the API that is named instead of a configuration, nil for
// none. what is that which both name.
func (o *Options) apiInstead(p PoolOptions, what string) (*api.Client, error) {
	url := cmp.Or(p.API.URL, o.Getenv("BERTH_API_URL"))
	switch {
	case url != "" && p.Configured:
		return nil, &UsageError{fmt.Errorf("--config names the %s by its etcd, and --url or BERTH_API_URL by the API of a member; give one of the two", what)}
	case url != "":
		return o.apiClient(p.API, url)
	case p.API != APIOptions{}:
		return nil, &UsageError{errors.New("--url: missing; the options of an API were given")}
	}
	return nil, nil
}

// withPool calls do with the pool, and the member that is meant where none is named.
func (o *Options) withPool(ctx context.Context, p PoolOptions, do func(ctx context.Context, pool api.Pool, own string) error) error {
	if o.DryRun {
		return &UsageError{fmt.Errorf("--dry-run is not available for the commands of the pool; berth pool list changes nothing")}
	}
	c, err := o.apiInstead(p, "pool")
	if err != nil {
		return err
	}
	if c != nil {
		return do(ctx, c.Pool(), "")
	}
	cfg, err := o.load(p.Config)
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
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	return do(ctx, &pool.Client{Etcd: etcd, Prefix: cfg.Pool.Prefix}, cfg.Etcd.MemberName())
}

// PoolList prints the addresses and members of the pool.
func (o *Options) PoolList(ctx context.Context, p PoolOptions, asJSON bool) error {
	return o.withPool(ctx, p, func(ctx context.Context, c api.Pool, _ string) error {
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
func (o *Options) PoolAdd(ctx context.Context, p PoolOptions, texts []string) error {
	return o.changePool(ctx, p, texts, api.Pool.Add)
}

// PoolRemove removes addresses from the list of the pool.
func (o *Options) PoolRemove(ctx context.Context, p PoolOptions, texts []string) error {
	return o.changePool(ctx, p, texts, api.Pool.Remove)
}

// changePool prints what became of each address.
func (o *Options) changePool(ctx context.Context, p PoolOptions, texts []string, change func(api.Pool, context.Context, []string) ([]pool.Change, error)) error {
	return o.withPool(ctx, p, func(ctx context.Context, c api.Pool, _ string) error {
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

// PoolDrain drains a member, that of this host or of the API if member is empty, or ends
// that.
func (o *Options) PoolDrain(ctx context.Context, p PoolOptions, member string, undo bool) error {
	return o.withPool(ctx, p, func(ctx context.Context, c api.Pool, own string) error {
		member := cmp.Or(member, own)
		change, err := c.Drain(ctx, member, member == own, undo)
		if err == nil {
			_, err = fmt.Fprintln(o.Stdout, change)
		}
		return err
	})
}

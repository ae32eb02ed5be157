package app

import (
	"context"
	"errors"

	"berth/config"
	"berth/election"
	"berth/internal/cluster"
	"berth/internal/run"
	"berth/vrrp"
)

// clusterPart is what a service tells the other members of itself, and the cluster as it
// sees it.
type clusterPart struct {
	local  *cluster.Local
	view   *cluster.Cluster
	member *election.Member // nil without etcd
}

// newClusterPart starts nothing. m is nil where the mode has no member in etcd, for the
// reason alone.
func (o *Options) newClusterPart(cfg *config.Config, mode string, m *election.Member, alone string, addresses func(instance string) []string) *clusterPart {
	p := &clusterPart{member: m, local: cluster.NewLocal(cluster.LocalOptions{Member: cfg.Etcd.MemberName(), Version: o.Version, Mode: mode, Addresses: addresses})}
	co := cluster.Options{Local: p.local, Alone: alone, Instances: cfg.Election.Names()}
	if m != nil {
		co.Alone, co.Source, co.Prefix, co.PoolPrefix = "", m, m.Prefix, m.PoolPrefix
	}
	p.view = cluster.New(co)
	return p
}

// tasks run beside the member.
func (p *clusterPart) tasks() []run.Task {
	tasks := []run.Task{{Name: "cluster", Run: p.view.Run}}
	if p.member != nil {
		tasks = append(tasks, run.Task{Name: "telling", Run: func(ctx context.Context) error { return p.local.Tell(ctx, p.member) }})
	}
	return tasks
}

// newCluster builds the part of berth elect.
func (e *electMode) newCluster() *clusterPart {
	named := map[string][]string{}
	for _, in := range e.cfg.Election.Instances {
		named[in.Name] = texts(in.Addresses)
	}
	p := e.options.newClusterPart(e.cfg, "elect", e.member, "this host alone is shown: Patroni decides, without etcd", func(instance string) []string { return named[instance] })
	p.local.Follow(e.board)
	return p
}

// newCluster builds the part of FIFO mode, which lives as long as the process.
func (m *fifoMode) newCluster(cfg *config.Config) *clusterPart {
	return m.options.newClusterPart(cfg, "fifo", m.fencing.member, "this host alone is shown: without fencing.enabled berth does not use etcd", m.addressesOf)
}

// addressesOf returns the addresses of an instance of keepalived.
func (m *fifoMode) addressesOf(instance string) []string {
	gen := m.current.Load()
	if len(gen.cfg.ManagedAddresses) > 0 {
		return texts(gen.cfg.ManagedAddresses)
	}
	if conf, _ := gen.book.Reading(); conf != nil { // without a reading what the loops tell counts
		if in, known := conf.Instance(instance); known {
			return texts(vrrp.Movable(in.Addresses))
		}
	}
	return nil
}

func texts(ips []vrrp.FloatingIP) []string {
	var all []string
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all
}

// errNoEtcd refuses to show a cluster that is in no etcd.
var errNoEtcd = errors.New("etcd.endpoints: missing; berth cluster reads what the members tell in etcd: write etcd: {endpoints: [https://192.0.2.1:2379]}. " +
	"Without etcd, berth status shows each host")

// Cluster prints the addresses, owners and members of the whole cluster: as etcd has them,
// or as a member sees them whose API is named.
func (o *Options) Cluster(ctx context.Context, p PoolOptions, asJSON bool) error {
	v, err := o.clusterView(ctx, p)
	if err != nil {
		return err
	}
	if asJSON {
		return v.JSON(o.Stdout)
	}
	return v.Table(o.Stdout)
}

func (o *Options) clusterView(ctx context.Context, p PoolOptions) (cluster.View, error) {
	c, err := o.apiInstead(p, "cluster")
	if err != nil {
		return cluster.View{}, err
	}
	if c != nil {
		return c.Cluster(ctx)
	}
	cfg, err := o.load(p.Config)
	if err == nil && len(cfg.Etcd.Endpoints) == 0 {
		err = &UsageError{cfg.Located("etcd", errNoEtcd)}
	}
	if err != nil {
		return cluster.View{}, err
	}
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory)
	if err != nil {
		return cluster.View{}, err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	keys, err := etcd.Cluster(ctx, cfg.EtcdPrefix(), cfg.Pool.Prefix, cfg.Election.Places())
	if err != nil {
		return cluster.View{}, err
	}
	return cluster.ViewOf(keys, cluster.Reading{Prefix: cfg.EtcdPrefix(), PoolPrefix: cfg.Pool.Prefix, This: cfg.Etcd.MemberName(), Instances: cfg.Election.Names()}), nil
}

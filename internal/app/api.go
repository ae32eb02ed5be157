package app

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"berth/api"
	"berth/config"
	"berth/election"
	"berth/internal/certs"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/ips"
	"berth/pool"
)

// apiOptions returns what the server of the management API has from the configuration. The
// modes add what they show and change.
func (o *Options) apiOptions(cfg *config.Config, j *journal.Journal) (api.Options, error) {
	a := cfg.API
	served := api.Options{Listen: a.Listen, Username: a.Username, CertFile: a.TLSCertFile, KeyFile: a.TLSKeyFile, ServerNames: a.ServerNames,
		Version: o.Version, Journal: j}
	if a.Listen == "" {
		return served, nil
	}
	if a.Username != "" {
		password, err := o.secrets(cfg, "api", j).Resolve("password", a.Password, a.PasswordFile, "BERTH_API_PASSWORD")
		if err != nil {
			return served, &UsageError{cfg.Located("api", err)}
		}
		served.Password = password.Reveal()
	}
	if a.TLSCertFile != "" {
		if err := certs.NewPair(a.TLSCertFile, a.TLSKeyFile).Read(); err != nil {
			return served, &UsageError{cfg.Located("api.tls-cert-file", fmt.Errorf("api.tls-cert-file: %w", err))}
		}
	}
	return served, nil
}

// awaiting returns the task that sets a flag when something has begun.
func awaiting(begun *atomic.Bool, wait func(ctx context.Context)) run.Task {
	return run.Task{Name: "readiness", Run: func(ctx context.Context) error {
		if wait(ctx); ctx.Err() == nil {
			begun.Store(true)
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}
}

// serving returns the tasks of the management API of berth elect.
func (e *electMode) serving() []run.Task {
	var begun atomic.Bool
	o := e.api
	o.IPs = e.added()
	o.Cluster, o.Status, o.Metrics, o.Meters = e.cluster.view, e.board.Snapshot, e.exporter, e.meters.api
	wait, reason := func(ctx context.Context) { _, _ = e.follower.Begun(ctx) }, "Patroni has not answered yet"
	if e.member != nil {
		wait, reason = func(ctx context.Context) { _, _ = e.member.Begun(ctx) }, "etcd has given this member no lease yet"
		o.Instances = instances{e.member, e.cfg.Election.Names()}
	}
	if e.pool != nil {
		client := &pool.Client{Etcd: e.member.Etcd, Prefix: e.cfg.Pool.Prefix}
		o.IPs, o.Pool = pool.NewIPs(e.pool, client), client
	}
	o.Ready = func() (bool, string) { return begun.Load(), reason }
	return []run.Task{{Name: "API", Run: api.New(o).Run}, awaiting(&begun, wait)}
}

// apiOptions returns the options of the management API of FIFO mode under a configuration.
func (m *fifoMode) apiOptions(g *graph) api.Options {
	o := g.api
	o.Cluster, o.Status, o.Metrics, o.Meters = m.cluster.view, g.status.Snapshot, m.exporter, m.meters.api
	o.Ready = func() (bool, string) { return m.begun.Load(), "the FIFO of keepalived is not open yet" }
	return o
}

// instances hands over the instances of a member.
type instances struct {
	member *election.Member
	names  []string
}

// Failover is that of api.Instances.
func (i instances) Failover(ctx context.Context, instance string) error {
	if !slices.Contains(i.names, instance) {
		return ips.ErrUnknown
	}
	m, ask := i.member, election.Takeover
	if _, other, known := m.Owner(instance); known && !other {
		ask = election.Release
	}
	return asking(m, ask)(ctx, instance)
}

package app

import (
	"context"
	"fmt"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/rundir"
	"berth/internal/seat"
	"berth/notify"
)

// newMember builds the member of the election that this process is, and the record
// of what it sees of etcd's history, which is to run beside it. place, which may be
// nil, is its place on this host.
func (o *Options) newMember(cfg *config.Config, place *seat.Seat, metrics *election.Metrics) (*election.Member, *seat.History, error) {
	where, err := o.seatOptions(cfg)
	if err != nil {
		return nil, nil, err
	}
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory)
	if err != nil {
		return nil, nil, err
	}
	history, past := seat.OpenHistory(where)
	m := &election.Member{
		Etcd: etcd, Prefix: cfg.EtcdPrefix(), Places: cfg.Election.Places(), Name: cfg.Etcd.MemberName(), Identity: seat.Identity(cfg.RunDirectory, o.Journal()), Past: past,
		TTL: cfg.Etcd.LeaseTTL, Metrics: metrics, Journal: o.Journal(),
	}
	if cfg.Watches() {
		m.Late = cfg.Heartbeat.DeadTime() + lateness
	}
	if cfg.Pool.Enabled {
		m.PoolPrefix = cfg.Pool.Prefix
	}
	if place != nil {
		m.Adopt, m.Leased = place.Found(), place.Leased
	}
	return m, history, nil
}

// lateness is how much later than a silence that peers allow the heartbeats decide for the
// first time, at the most.
const lateness = 500 * time.Millisecond

// newEtcd builds the connections to etcd, without connecting. The addresses of its names
// are written into runDirectory, or nowhere if that is empty.
func (o *Options) newEtcd(cfg *config.Config, runDirectory string) (*election.Etcd, error) {
	e := cfg.Etcd
	var password config.Secret
	if e.Username != "" {
		var err error
		if password, err = o.secrets(cfg, "etcd", o.Journal()).Resolve("password", e.Password, e.PasswordFile, "BERTH_ETCD_PASSWORD"); err != nil {
			return nil, &UsageError{cfg.Located("etcd", err)}
		}
	}
	etcd, err := election.NewEtcd(election.Options{
		Endpoints: e.Endpoints, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Username: e.Username, Password: password.Reveal(), Names: o.names.At(runDirectory, o.Journal()),
	})
	if err != nil {
		return nil, &UsageError{cfg.Located("etcd", fmt.Errorf("etcd: %w", err))}
	}
	return etcd, nil
}

// seatOptions say where this host's member has its records for a successor.
func (o *Options) seatOptions(cfg *config.Config) (seat.Options, error) {
	self, err := notify.Self(true)
	if err != nil {
		return seat.Options{}, err
	}
	name := cfg.Etcd.MemberName()
	return seat.Options{RunDirectory: cfg.RunDirectory, Prefix: cfg.Etcd.Prefix, Member: name,
		Name: config.EscapeName(cfg.Etcd.Prefix + name), Boot: self.Boot, Journal: o.Journal()}, nil
}

// takeSeat waits for the seat of this host's member, or of the process that follows
// Patroni.
func (o *Options) takeSeat(ctx context.Context, cfg *config.Config) (*seat.Seat, error) {
	if cfg.Follow.Decides() {
		lock := rundir.Dir(cfg.RunDirectory).FollowerLock(config.EscapeName(cfg.Follow.Patroni.URL))
		return seat.Alone(ctx, lock, "stop it, or give one of the two another follow.patroni.url", o.Journal())
	}
	where, err := o.seatOptions(cfg)
	if err != nil {
		return nil, err
	}
	return seat.Take(ctx, where)
}

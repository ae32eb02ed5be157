package app

import (
	"context"
	"errors"
	"fmt"

	"berth/election"
	"berth/internal/seat"
)

// handOver is election.Takeover or election.Release.
type handOver = func(ctx context.Context, e *election.Etcd, prefix string, places map[string]string, instance string, a election.Asker) error

// asking returns what asks for hand-overs of instances for a member that runs.
func asking(m *election.Member, ask handOver) func(ctx context.Context, instance string) error {
	return func(ctx context.Context, instance string) error {
		return ask(ctx, m.Etcd, m.Prefix, m.Places, instance, election.Asker{Member: m.Name, Identity: m.Identity})
	}
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
	ask handOver, done string) error {
	if o.DryRun {
		return errDryElection
	}
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	if cfg.Watches() {
		return &UsageError{cfg.Located("heartbeat", errors.New("heartbeat: "+ranking))}
	}
	if cfg.Follow.Decides() {
		return &UsageError{cfg.Located("follow", errFollows)}
	}
	instance, known := cfg.InElection(instance)
	if !known {
		return &UsageError{fmt.Errorf("%s: election.instances has no %q", configPath, instance)}
	}
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory)
	if err != nil {
		return err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	if err := ask(ctx, etcd, cfg.Etcd.Prefix, cfg.Election.Places(), instance, election.Asker{Member: cfg.Etcd.MemberName(), Identity: seat.ReadIdentity(cfg.RunDirectory)}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Stdout, done, instance, cfg.Etcd.MemberName())
	return err
}

package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/patroni"
	"berth/internal/run"

	"go.uber.org/zap"
)

// newFollower builds what asks Patroni, nil where the configuration does not follow it. It
// makes no request.
func newFollower(cfg *config.Config, m *patroni.Metrics, j *journal.Journal, renewed, moved func()) (*patroni.Follower, error) {
	p := cfg.Follow.Patroni
	if !p.Followed {
		return nil, nil
	}
	f, err := patroni.New(patroni.Options{Server: patroniServer(p), Role: patroni.Role(p.Role), Name: cfg.Etcd.MemberName(), Renewed: renewed, Moved: moved, Metrics: m, Journal: j})
	if err != nil {
		return nil, &UsageError{cfg.Located("follow.patroni", fmt.Errorf("follow.patroni: %w", err))}
	}
	return f, nil
}

func patroniServer(p config.Patroni) patroni.Server {
	return patroni.Server{URL: p.URL, ServerName: p.ServerName, CAFile: p.CAFile, CertFile: p.CertFile, KeyFile: p.KeyFile}
}

// follow builds the follower. Where Patroni decides there is no member of an election;
// else the role is a condition of all instances.
func (e *electMode) follow() (err error) {
	renewed, moved := func() { e.network.Renewed() }, func() { e.network.Moved() }
	if !e.cfg.Follow.Decides() {
		renewed, moved = nil, nil
	}
	if e.follower, err = newFollower(e.cfg, e.meters.patroni, e.journal, renewed, moved); err != nil || e.follower == nil {
		return err
	}
	if !e.cfg.Follow.Decides() {
		e.able = append(e.able, e.follower)
	}
	return nil
}

// following returns the tasks of the follower.
func (e *electMode) following() (tasks []run.Task) {
	if e.follower != nil {
		tasks = append(tasks, run.Task{Name: "patroni", Run: e.follower.Run})
	}
	if e.member == nil {
		tasks = append(tasks, run.Task{Name: "addresses", Run: e.host.Run})
	}
	return tasks
}

// takePart has this host take part in the elections, after the first word of Patroni: an
// owner that begins anew must not be taken for one without the role.
func (e *electMode) takePart(ctx context.Context) error {
	if e.follower != nil {
		if _, err := e.follower.Begun(ctx); err != nil {
			return err
		}
	}
	return e.host.Run(ctx)
}

// tellBegin tells what this process takes part in, and returns the kinds of its end: with
// everything given up, and with all left to the next process.
func (e *electMode) tellBegin(instances, interfaces []string) (left, passed journal.Kind) {
	on := []zap.Field{zap.Strings("instances", instances), zap.Strings("interfaces", interfaces)}
	if e.member == nil {
		e.journal.Tell(followJoined, append(on, zap.String("url", e.cfg.Follow.Patroni.URL))...)
		return followLeft, followPassed
	}
	e.journal.Tell(electionJoined, append([]zap.Field{zap.String("member", e.member.Name), zap.String("prefix", e.member.Prefix)}, on...)...)
	return electionLeft, electionPassed
}

// sameSeat returns an error if a successor with the configuration next would not find what
// this process owns.
func sameSeat(cfg, next *config.Config) error {
	was, is := cfg.Follow.Patroni, next.Follow.Patroni
	if cfg.Follow.Decides() != next.Follow.Decides() || cfg.Follow.Decides() && was.URL != is.URL {
		return errors.New("follow.patroni, its url, and its role from or to leader change with a stop and a start of berth only; " +
			"a process with other values would not find what this process owns")
	}
	if next.Etcd.MemberName() != cfg.Etcd.MemberName() || next.Etcd.Prefix != cfg.Etcd.Prefix || next.RunDirectory != cfg.RunDirectory {
		return errors.New("etcd.member, etcd.prefix and run-directory change with a stop and a start of berth only; " +
			"a process with other values would not find what this process owns")
	}
	current, places := cfg.Election.Places(), next.Election.Places()
	for _, in := range cfg.Election.Instances {
		if slices.Contains(next.Election.Names(), in.Name) && places[in.Name] != current[in.Name] {
			return fmt.Errorf("election.instances: the key of %s changes with a stop and a start of berth on all hosts only; "+
				"hosts with different keys would each elect an owner", in.Name)
		}
	}
	if cfg.Pool.Enabled && (!next.Pool.Enabled || next.Pool.Prefix != cfg.Pool.Prefix) {
		return errors.New("pool.prefix changes, and pool.enabled ends, with a stop and a start of berth only; " +
			"a process with other values would not find the addresses that this process has")
	}
	return nil
}

// errFollows refuses to hand over what Patroni decides.
var errFollows = errors.New("follow.patroni: Patroni decides who owns the instances; to move them, move the leader: patronictl switchover")

package app

import (
	"context"
	"net"
	"time"

	"berth/config"
	"berth/internal/names"
	"berth/internal/overview"
	"berth/internal/probe"
	"berth/internal/section"
	"berth/internal/status"
	"berth/providers"
	"berth/selftest"
)

// watchChecks returns the checks that berth watch has and other modes have not.
func (o *Options) watchChecks(cfg *config.Config) ([]selftest.Check, error) {
	h := cfg.Heartbeat
	if _, err := h.Key(); err != nil {
		return nil, &UsageError{cfg.Located("heartbeat", err)}
	}
	resolver := o.names.At("", o.Journal())
	find := func(ctx context.Context) ([]selftest.Peer, error) {
		return probe.Peers(ctx, h.Peers, resolver.Addresses), nil
	}
	if h.SecurityGroup != "" {
		p, err := o.newProvider(cfg, "", nil, o.Journal())
		if err != nil {
			return nil, err
		}
		groups, err := grouper(cfg, p)
		if err != nil {
			return nil, err
		}
		find = func(ctx context.Context) ([]selftest.Peer, error) { return probe.Group(ctx, groups, h.SecurityGroup) }
	}
	checks := []selftest.Check{
		selftest.Socket(h.Listen, func() error { return probe.Bindable(h.Listen) }, func() int { return status.Watcher(cfg.RunDirectory, gone) }),
		selftest.Peers(find),
	}
	if h.KeyFile != "" {
		checks = append(checks, selftest.Directory("state directory", cfg.StateDirectoryIn(o.Getenv), true))
	}
	if h.Witness != "" {
		dialer := &names.Dialer{Names: resolver, Timeout: 5 * time.Second, Dial: (&net.Dialer{}).DialContext}
		checks = append(checks, selftest.Witness(h.Witness, func(ctx context.Context) error { return probe.Reach(ctx, dialer.DialContext, h.Witness) }))
	}
	return checks, nil
}

// grouper returns the provider as one that knows groups of servers.
func grouper(cfg *config.Config, p providers.Provider) (providers.Grouper, error) {
	g, ok := p.(providers.Grouper)
	if !ok {
		err := &section.Problem{Key: "heartbeat.security-group", Text: "found with the provider " + cfg.Provider + ", which has no groups of servers; write heartbeat.peers"}
		return nil, &UsageError{cfg.Located("heartbeat", err)}
	}
	return g, nil
}

// showWatched adds what the configuration has heartbeats for.
func showWatched(cfg *config.Config, so ShowOptions, all *overview.Overview) error {
	for _, name := range sortedNames(managed(cfg)) {
		if so.Instance == "" || name == so.Instance {
			all.Elected(name, "", managed(cfg)[name])
		}
	}
	return unknownInstance(cfg, "managed-addresses", so, all)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/config"
	"berth/health"
)

// CheckOptions are what `berth check` is asked for.
type CheckOptions struct {
	Instance string // empty: all
	JSON     bool
}

// Check runs the health checks once, all at the same time, and prints their results. The
// error is for exit status 1 if and only if one has failed.
func (o *Options) Check(ctx context.Context, configPath string, co CheckOptions) error {
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	checks := cfg.HealthChecks()
	known := slices.Contains(cfg.Election.Names(), co.Instance) || cfg.Pool.Enabled && co.Instance == config.PoolInstance
	if co.Instance != "" && cfg.Elects() && !known {
		return &UsageError{fmt.Errorf("%s: election.instances has no %q", cfg.Path, co.Instance)}
	}
	var wanted []health.Options
	for _, h := range checks {
		if co.Instance == "" || slices.Contains(cfg.HealthOf(co.Instance), h.Name) {
			wanted = append(wanted, healthOptions(h))
		}
	}
	if len(wanted) == 0 && len(checks) > 0 {
		return &UsageError{cfg.Located("health", fmt.Errorf("health: no health checks are configured for %q; write some for it or for all, such as health: [{tcp: {address: \"127.0.0.1:443\"}}] at the top of the file", co.Instance))}
	}
	if len(wanted) == 0 {
		return &UsageError{cfg.Located("health", errors.New("health: no health checks are configured; write some, such as health: [{tcp: {address: \"127.0.0.1:443\"}}]"))}
	}
	results := health.NewSet(wanted...).Once(ctx)
	if co.JSON {
		err = health.JSON(o.Stdout, results)
	} else {
		err = health.Table(o.Stdout, results)
	}
	if n := health.Failed(results); n > 0 && err == nil {
		err = fmt.Errorf("health checks that failed: %d of %d", n, len(results))
	}
	return err
}

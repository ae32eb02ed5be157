package app

import (
	"errors"
	"fmt"

	"berth/config"
	"berth/internal/logs"
	"berth/providers"
)

// CheckConfig reads a configuration as every other command does and builds the parts
// that follow from it, without a call. It prints that the configuration is good, or
// returns every mistake in it. withoutFiles leaves out the files and programs of the
// health checks: a process that goes on without them, with checks that fail, must also
// be able to be replaced.
func (o *Options) CheckConfig(path string, withoutFiles bool) error {
	cfg, err := o.load(path)
	if err != nil {
		return err
	}
	err = o.buildable(cfg)
	if !withoutFiles {
		err = errors.Join(usable(cfg), err)
	}
	if err != nil {
		return err
	}
	cfg.WarnOfHealth(o.Journal())
	for _, w := range cfg.Immovable() {
		if _, err := fmt.Fprintf(o.Stdout, "%s: warning: %s\n", path, w); err != nil {
			return err
		}
	}
	if !cfg.Elects() && !cfg.Watches() {
		v, _ := readAs(cfg)
		for _, w := range v.Warnings {
			fmt.Fprintf(o.Stdout, "%s: warning: %s\n", path, w)
		}
		fmt.Fprintf(o.Stdout, "%s: %s\n", path, v)
	}
	_, err = fmt.Fprintf(o.Stdout, "%s: ok\n", path)
	return err
}

// usable returns an error for each file and program of a health check that cannot be used
// now.
func usable(cfg *config.Config) error {
	var errs []error
	for _, h := range cfg.HealthChecks() {
		if err := healthKind(h).Usable(); err != nil {
			errs = append(errs, &UsageError{cfg.Located("health", h.Problem(err))})
		}
	}
	return errors.Join(errs...)
}

// buildable returns all mistakes that only the making of the parts can find: a secret
// that is missing or that every user can read, a file that is not a certificate, a
// log-file in a directory that does not exist.
func (o *Options) buildable(cfg *config.Config) error {
	var errs []error
	if err := logs.Check(cfg.LogFile); err != nil {
		errs = append(errs, &UsageError{cfg.Located("log-file", fmt.Errorf("log-file: %w", err))})
	}
	if cfg.NeedsEtcd() {
		_, err := o.newEtcd(cfg, "")
		errs = append(errs, err)
	}
	_, err := o.apiOptions(cfg, o.Journal())
	errs = append(errs, err)
	_, err = newFollower(cfg, nil, nil, nil, nil)
	errs = append(errs, err)
	var p providers.Provider // nil where none is called
	if how := cfg.Pointing(o.DryRun); how == config.Call || how == config.Unchosen {
		j, end := o.Journal().Part()
		p, err = o.newProvider(cfg, "", nil, j)
		end()
		errs = append(errs, err)
	}
	if cfg.Heartbeat.SecurityGroup != "" && err == nil {
		_, err = grouper(cfg, p)
		errs = append(errs, err)
	}
	if _, err := cfg.Heartbeat.Key(); err != nil {
		errs = append(errs, &UsageError{cfg.Located("heartbeat", err)})
	}
	return errors.Join(errs...)
}

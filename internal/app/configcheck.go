package app

import (
	"errors"
	"fmt"

	"berth/config"
	"berth/internal/logs"
)

// CheckConfig reads a configuration as every other command does, builds what
// follows from it without a call to anybody, and says that it is good, or
// returns everything that is wrong with it.
func (o *Options) CheckConfig(path string) error {
	cfg, err := o.load(path)
	if err != nil {
		return err
	}
	if err := o.buildable(cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Stdout, "%s: ok\n", path)
	return err
}

// buildable reports what only the making of the parts can tell, all of it: a secret
// that is missing or that everybody can read, a certificate that is none, a
// log-file that nobody could write.
func (o *Options) buildable(cfg *config.Config) error {
	var errs []error
	if err := logs.Check(cfg.LogFile); err != nil {
		errs = append(errs, &UsageError{fmt.Errorf("%s: log-file: %w", cfg.Path, err)})
	}
	if cfg.Fencing.Enabled || len(cfg.Election.Instances) > 0 {
		_, err := o.newEtcd(cfg, "", o.Logger())
		errs = append(errs, err)
	}
	if how := cfg.Pointing(o.DryRun); how == config.Call || how == config.Unchosen {
		_, err := o.newProvider(cfg, "", nil, o.Logger())
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

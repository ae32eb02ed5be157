package app

import (
	"errors"
	"fmt"

	"berth/config"
	"berth/internal/logs"
	"berth/vrrp"
)

// CheckConfig reads a configuration as every other command does and builds the parts
// that follow from it, without a call. It prints that the configuration is good, or
// returns every mistake in it.
func (o *Options) CheckConfig(path string) error {
	cfg, err := o.load(path)
	if err != nil {
		return err
	}
	if err := o.buildable(cfg); err != nil {
		return err
	}
	for _, w := range immovable(cfg) {
		if _, err := fmt.Fprintf(o.Stdout, "%s: warning: %s\n", path, w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(o.Stdout, "%s: ok\n", path)
	return err
}

// immovable returns a warning for each configured address that is never handed to
// the provider. Such an address is not an error: berth acts for the others, and an
// election binds it all the same.
func immovable(cfg *config.Config) []string {
	var all []string
	add := func(key string, ips []vrrp.FloatingIP) {
		for _, ip := range ips {
			if why := ip.Immovable(); why != "" {
				all = append(all, fmt.Sprintf("%s: %v is never handed to a provider, because %s", key, ip, why))
			}
		}
	}
	add("managed-addresses", cfg.ManagedAddresses)
	if cfg.Pointing(false) != config.Nothing {
		for _, in := range cfg.Election.Instances {
			add("election.instances: "+in.Name, in.Addresses)
		}
	}
	return all
}

// buildable returns all mistakes that only the making of the parts can find: a secret
// that is missing or that every user can read, a file that is not a certificate, a
// log-file in a directory that does not exist.
func (o *Options) buildable(cfg *config.Config) error {
	var errs []error
	if err := logs.Check(cfg.LogFile); err != nil {
		errs = append(errs, &UsageError{cfg.Located("log-file", fmt.Errorf("log-file: %w", err))})
	}
	if cfg.Fencing.Enabled || len(cfg.Election.Instances) > 0 {
		_, err := o.newEtcd(cfg, "")
		errs = append(errs, err)
	}
	if how := cfg.Pointing(o.DryRun); how == config.Call || how == config.Unchosen {
		_, err := o.newProvider(cfg, "", nil)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

package app

import (
	"context"
	"fmt"
	"os/signal"

	"berth/compat"
	"berth/config"

	"golang.org/x/sys/unix"
)

// Yaim does what Elect does, with the configuration that the yaim.yml at path means, or
// prints that configuration. SIGQUIT, by which the unit of yaim ends it, is an end as
// SIGTERM is.
func (o *Options) Yaim(ctx context.Context, path string, printConfig bool) error {
	t, err := o.yaim(path)
	if err != nil {
		return err
	}
	o.Verbose = o.Verbose || t.Verbose
	if !printConfig {
		o.count() // before the first event
	}
	t.Tell(o.Journal())
	if printConfig {
		if _, err := fmt.Fprint(o.Stdout, t.Text); err != nil {
			return err
		}
		return o.buildable(t.Config)
	}
	ctx, end := signal.NotifyContext(ctx, unix.SIGQUIT)
	defer end()
	return o.electFrom(ctx, source{
		load: func() (*config.Config, error) {
			t, err := o.yaim(path)
			if err != nil {
				return nil, err
			}
			return t.Config, nil
		},
		check: []string{"yaim", "--config", path, "--print-config"},
	})
}

// yaim translates a yaim.yml.
func (o *Options) yaim(path string) (*compat.Translation, error) {
	t, err := compat.Yaim(path, o.Getenv, config.Options{Sections: sections()})
	if err != nil {
		return nil, &UsageError{err}
	}
	return t, nil
}

package app

import (
	"context"
	"fmt"

	"berth/compat"
	"berth/config"
)

// Link does what Elect does, with the configuration that the environment of LinK means, or
// prints that configuration.
func (o *Options) Link(ctx context.Context, printConfig bool) error {
	t, err := o.link()
	if err != nil {
		return err
	}
	o.Verbose, o.JSONLog = o.Verbose || t.Verbose, o.JSONLog || t.JSONLog
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
	return o.electFrom(ctx, source{
		load: func() (*config.Config, error) {
			t, err := o.link()
			if err != nil {
				return nil, err
			}
			return t.Config, nil
		},
		check: []string{"link", "--print-config"},
	})
}

// link translates the environment.
func (o *Options) link() (*compat.Translation, error) {
	t, err := compat.Link(o.Getenv, config.Options{Sections: sections()})
	if err != nil {
		return nil, &UsageError{err}
	}
	return t, nil
}

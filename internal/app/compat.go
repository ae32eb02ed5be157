package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"berth/compat"
	"berth/config"

	"golang.org/x/sys/unix"
)

// standIn is a program for which berth stands in: it runs with that program's
// configuration.
type standIn struct {
	// translate makes the configuration. It is called again where the configuration is read
	// again.
	translate func(config.Options) (*compat.Translation, error)
	print     bool        // print the translation, and do nothing else
	ends      []os.Signal // that end this program beside SIGTERM and SIGINT
	check     []string    // arguments with which a program of berth checks the same configuration
	// run does the work of berth with the configuration of a source.
	run func(context.Context, source) error
}

// Link does what Elect does, with the configuration that the environment of LinK means, or
// prints that configuration.
func (o *Options) Link(ctx context.Context, printConfig bool) error {
	return o.standIn(ctx, standIn{
		translate: func(co config.Options) (*compat.Translation, error) { return compat.Link(o.Getenv, co) },
		print:     printConfig,
		check:     []string{"link", "--print-config"},
		run:       o.electFrom,
	})
}

// Yaim does what Elect does, with the configuration that the yaim.yml at path means, or
// prints that configuration. SIGQUIT, by which the unit of yaim ends it, is an end as
// SIGTERM is.
func (o *Options) Yaim(ctx context.Context, path string, printConfig bool) error {
	return o.standIn(ctx, standIn{
		translate: func(co config.Options) (*compat.Translation, error) { return compat.Yaim(path, o.Getenv, co) },
		print:     printConfig,
		ends:      []os.Signal{unix.SIGQUIT},
		check:     []string{"yaim", "--config", path, "--print-config"},
		run:       o.electFrom,
	})
}

// Govip does what Elect does, with the configuration that the flags of govip mean, or
// prints that configuration. The error may be as that of standIn.
func (o *Options) Govip(ctx context.Context, args []string) error {
	return o.standIn(ctx, standIn{
		translate: func(co config.Options) (*compat.Translation, error) { return compat.Govip(args, co) },
		check:     append([]string{"govip", "--print-config"}, args...),
		run:       o.electFrom,
	})
}

// Exoip does what Watch, Associate or Dissociate does, with the configuration that a command
// line of exoip means, or prints or checks that configuration.
func (o *Options) Exoip(ctx context.Context, args []string) error {
	var mode compat.ExoipMode
	return o.standIn(ctx, standIn{
		translate: func(co config.Options) (t *compat.Translation, err error) {
			t, mode, err = compat.Exoip(args, o.Getenv, co)
			return t, err
		},
		check: append([]string{"exoip", string(compat.ExoipValidate)}, args...),
		run: func(ctx context.Context, from source) error {
			switch mode {
			case compat.ExoipAssociate, compat.ExoipDissociate:
				cfg, err := from.load()
				if err != nil {
					return err
				}
				return o.associate(ctx, cfg, AssociateOptions{Release: mode == compat.ExoipDissociate})
			case compat.ExoipValidate:
				return o.checkFrom(from, "exoip")
			}
			return o.watchFrom(ctx, from)
		},
	})
}

// checkFrom checks the configuration of a source, and prints that it is good.
func (o *Options) checkFrom(from source, name string) error {
	cfg, err := from.load()
	if err == nil {
		err = o.buildable(cfg)
	}
	if err == nil {
		_, err = fmt.Fprintf(o.Stdout, "%s: ok\n", name)
	}
	return err
}

// standIn prints the translation, or runs with it. errors.Is finds flag.ErrHelp and
// compat.ErrVersion in the error where a command line asks for these.
func (o *Options) standIn(ctx context.Context, p standIn) error {
	translate := func() (*compat.Translation, error) {
		t, err := p.translate(config.Options{Sections: sections()})
		if err != nil {
			return nil, &UsageError{err}
		}
		return t, nil
	}
	t, err := translate()
	if err != nil {
		return err
	}
	o.Verbose, o.JSONLog, o.DryRun = o.Verbose || t.Verbose, o.JSONLog || t.JSONLog, o.DryRun || t.DryRun
	if p.print || t.Print {
		t.Tell(o.Journal())
		if _, err := fmt.Fprint(o.Stdout, t.Text); err != nil {
			return err
		}
		return o.buildable(t.Config)
	}
	o.count() // before the first event
	t.Tell(o.Journal())
	if len(p.ends) > 0 {
		var end context.CancelFunc
		ctx, end = signal.NotifyContext(ctx, p.ends...)
		defer end()
	}
	return p.run(ctx, source{
		load: func() (*config.Config, error) {
			t, err := translate()
			if err != nil {
				return nil, err
			}
			return t.Config, nil
		},
		check: p.check,
	})
}

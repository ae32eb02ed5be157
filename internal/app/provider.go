package app

import (
	"context"
	"os"
	"strings"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/pointing"
	"berth/internal/section"
	"berth/providers"
	"berth/providers/catalog"
	"berth/providers/fake"
	"berth/providers/none"
	"berth/refresher"
	"berth/vrrp"
)

// newCloud builds where the configuration has floating IPs pointed. It makes no calls.
func (o *Options) newCloud(cfg *config.Config, m *meters, j *journal.Journal) (*pointing.Cloud, error) {
	b := cfg.BackOff
	po := pointing.Options{Name: cfg.Provider, Metrics: m.refresher, Journal: j, Policy: refresher.Policy{
		Interval: cfg.RefreshInterval, Timeout: cfg.RefreshTimeout,
		InitialInterval: b.InitialInterval, Multiplier: b.Multiplier, MaxInterval: b.MaxInterval, MaxElapsedTime: b.MaxElapsedTime,
	}}
	switch cfg.Pointing(o.DryRun) {
	case config.Print:
		printer := fake.NewPrinter(o.Stdout, j)
		po.Target = func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
			return printer.Target(ip, check)
		}
	case config.Nothing:
		po.Target = func(_ vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
			return none.Target{Check: check}
		}
	default:
		p, err := o.newProvider(cfg, cfg.RunDirectory, m.providers, j)
		if err != nil {
			return nil, err
		}
		po.Provider = p
	}
	return pointing.New(po), nil
}

// newProvider builds the configured provider. It makes no calls. The provider stores
// the ids that it looks up in runDirectory, or nowhere if that is empty. Without m
// nothing is counted. j is the journal of the provider alone: its names are shared with
// later ones.
func (o *Options) newProvider(cfg *config.Config, runDirectory string, m *providers.Metrics, j *journal.Journal) (providers.Provider, error) {
	if cfg.Provider == "" {
		missing := &section.Problem{Key: "provider", Text: "missing; write one of " + strings.Join(catalog.Providers.Names(), ", ")}
		return nil, &UsageError{cfg.Located("provider", missing)}
	}
	entry, err := catalog.Providers.Entry(cfg.Provider)
	if err != nil {
		return nil, &UsageError{cfg.Located("provider", err)}
	}
	secrets := o.secrets(cfg, cfg.Provider, j)
	d := providers.Deps{
		Journal:   j,
		RunDir:    runDirectory,
		UserAgent: "berth/" + o.Version,
		Env:       o.Getenv,
		Hostname:  os.Hostname,
		Metrics:   m,
		Transport: o.HTTP,
		Secret: func(key, inline, file, env string) (string, error) {
			s, err := secrets.Resolve(key, config.Secret(inline), file, env)
			return s.Reveal(), err
		},
	}
	if o.HTTP == nil { // a test's transport makes no connection and needs no names
		d.Names = o.names.At(runDirectory, o.Journal())
	}
	p, err := entry.New(d, providerSection(cfg))
	if err != nil {
		return nil, &UsageError{cfg.Located(cfg.Provider, err)}
	}
	return p, nil
}

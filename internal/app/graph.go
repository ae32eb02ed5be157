package app

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/section"
	"berth/internal/status"
	"berth/notify"
	"berth/providers"
	"berth/providers/catalog"
	"berth/providers/fake"
	"berth/providers/none"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// graph is the parts that notify mode and FIFO mode share.
type graph struct {
	cfg        *config.Config
	journal    *journal.Journal
	self       notify.Record
	keepalived *keepalived.Daemon
	book       *reading.Book
	status     *status.Board
	*cloud
}

// cloud is where floating IPs are pointed.
type cloud struct {
	name string // of the provider
	// provider and account are nil with the providers fake and none, and --dry-run.
	provider providers.Provider
	account  *providers.Account
	target   func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target
	pace     *refresher.Pace // of all addresses
	gate     *refresher.Gate // of the account
	policy   refresher.Policy
	metrics  *refresher.Metrics
	journal  *journal.Journal
}

// newGraph builds the parts. self is this process, k and n are keepalived and its
// network.
func (o *Options) newGraph(cfg *config.Config, self notify.Record, k *keepalived.Daemon, n *presence.Network, m *meters, j *journal.Journal) (g *graph, err error) {
	self.Config = cfg.Path
	if abs, err := filepath.Abs(cfg.Path); err == nil {
		self.Config = abs
	}
	g = &graph{cfg: cfg, journal: j, self: self, keepalived: k}
	mode := "notify"
	if self.Service {
		mode = "fifo"
	}
	g.status = status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: mode}, j)
	m.status.Watch(g.status)
	g.book = newBook(cfg, readingOptions(cfg, cfg.RunDirectory, j), k, n.Has, j)
	g.book.Noted = g.status.Configuration
	if g.cloud, err = o.newCloud(cfg, m, j); err != nil {
		return nil, err
	}
	return g, nil
}

// newCloud builds the configured provider and what looks after its account. It
// makes no calls.
func (o *Options) newCloud(cfg *config.Config, m *meters, j *journal.Journal) (*cloud, error) {
	c := &cloud{name: cfg.Provider, pace: &refresher.Pace{Interval: cfg.RefreshInterval}, gate: &refresher.Gate{}, policy: policy(cfg), metrics: m.refresher, journal: j}
	switch cfg.Pointing(o.DryRun) {
	case config.Print:
		printer := fake.NewPrinter(o.Stdout, j)
		c.target = func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
			return printer.Target(ip, check)
		}
		return c, nil
	case config.Nothing:
		c.target = func(_ vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
			return none.Target{Check: check}
		}
		return c, nil
	}
	p, err := o.newProvider(cfg, cfg.RunDirectory, m.providers)
	if err != nil {
		return nil, err
	}
	c.provider = p
	c.account = providers.NewAccount(cfg.Provider, p)
	c.target = func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
		return c.account.Target(ip, check)
	}
	return c, nil
}

// policy returns how often and how persistently an address is tried.
func policy(c *config.Config) refresher.Policy {
	return refresher.Policy{
		Interval:        c.RefreshInterval,
		Timeout:         c.RefreshTimeout,
		InitialInterval: c.BackOff.InitialInterval,
		Multiplier:      c.BackOff.Multiplier,
		MaxInterval:     c.BackOff.MaxInterval,
		MaxElapsedTime:  c.BackOff.MaxElapsedTime,
	}
}

// loop returns the loop of an address.
func (c *cloud) loop(instance string, ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
	return &refresher.Loop{
		Target:   c.target(ip, check),
		Policy:   c.policy,
		Pace:     c.pace,
		Gate:     c.gate,
		Unproven: c.account == nil,
		Series:   c.metrics.Series(instance, ip.String()),
		Journal:  j.With(zap.String("address", ip.String()), zap.String("provider", c.name)),
	}
}

// newProvider builds the configured provider. It makes no calls. The provider stores
// the ids that it looks up in runDirectory, or nowhere if that is empty. Without m
// nothing is counted.
func (o *Options) newProvider(cfg *config.Config, runDirectory string, m *providers.Metrics) (providers.Provider, error) {
	if cfg.Provider == "" {
		missing := &section.Problem{Key: "provider", Text: "missing; write one of " + strings.Join(catalog.Providers.Names(), ", ")}
		return nil, &UsageError{cfg.Located("provider", missing)}
	}
	entry, err := catalog.Providers.Entry(cfg.Provider)
	if err != nil {
		return nil, &UsageError{cfg.Located("provider", err)}
	}
	secrets := o.secrets(cfg, cfg.Provider, o.Journal())
	d := providers.Deps{
		Journal:   o.Journal(),
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
	if o.HTTP == nil { // else the test's transport connects to nothing
		d.Names = o.names.At(runDirectory, o.Journal())
	}
	p, err := entry.New(d, providerSection(cfg))
	if err != nil {
		return nil, &UsageError{cfg.Located(cfg.Provider, err)}
	}
	return p, nil
}

// trust has the provider make ready whom to trust.
func (c *cloud) trust() {
	if p, ok := c.provider.(providers.Truster); ok {
		p.Trust()
	}
}

// prepare has the provider look up, while there is time, what the first claim
// needs. Failures are not fatal; the claim itself looks up what is missing.
func (c *cloud) prepare(ctx context.Context) error {
	c.trust()
	if p, ok := c.provider.(providers.Preparer); ok {
		if err := refresher.Prepare(ctx, c.policy, p.Prepare, c.journal); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// audit makes the audits that the provider wants while addresses are held.
func (c *cloud) audit(ctx context.Context) error {
	if c.account == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return c.account.Run(ctx)
}

// protect asks the kernel not to choose this process when memory runs out: a
// host that is MASTER but cannot say so is an outage.
func protect(j *journal.Journal) {
	const score = -1000 // never, see proc(5)
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
	if err != nil {
		j.Tell(unprotected, zap.Error(err))
	}
}

package app

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/pidfd"
	"berth/internal/reading"
	"berth/internal/section"
	"berth/internal/status"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/keepalivedconf"
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
	cfg    *config.Config
	log    *zap.Logger
	book   *reading.Book
	status *status.Board
	holder *holder
	*cloud
}

// cloud is where floating IPs are pointed.
type cloud struct {
	// provider and account are nil with the providers fake and none, and --dry-run.
	provider providers.Provider
	account  *providers.Account
	target   func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target
	gate     *refresher.Gate // of the account
	policy   refresher.Policy
	log      *zap.Logger
}

// newGraph builds the parts. service is set for berth --fifo.
func (o *Options) newGraph(cfg *config.Config, service bool, m *meters, log *zap.Logger) (*graph, error) {
	g := &graph{cfg: cfg, log: log}
	self, err := notify.Self(service)
	if err != nil {
		return nil, err
	}
	self.Config = cfg.Path
	if abs, err := filepath.Abs(cfg.Path); err == nil {
		self.Config = abs
	}
	mode := "notify"
	if service {
		mode = "fifo"
	}
	g.status = status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: mode}, journal.New(log))
	g.book = newBook(cfg, log)
	g.book.Options = bookOptions(cfg, cfg.RunDirectory, log)
	g.book.Noted = g.status.Configuration
	g.holder = &holder{cfg: cfg, book: g.book, self: self, status: g.status, meters: m, log: log, impatient: !service, occupy: notify.Occupy,
		pace: &refresher.Pace{Interval: cfg.RefreshInterval}}
	if g.cloud, err = o.newCloud(cfg, m.providers, log); err != nil {
		return nil, err
	}
	g.holder.cloud = g.cloud
	return g, nil
}

// newCloud builds the configured provider and what looks after its account. It
// makes no calls.
func (o *Options) newCloud(cfg *config.Config, m *providers.Metrics, log *zap.Logger) (*cloud, error) {
	c := &cloud{gate: &refresher.Gate{}, policy: policy(cfg), log: log}
	switch cfg.Pointing(o.DryRun) {
	case config.Print:
		printer := fake.NewPrinter(o.Stdout, journal.New(log))
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
	p, err := o.newProvider(cfg, cfg.RunDirectory, m, log)
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

// newProvider builds the configured provider. It makes no calls. What it looks
// up it keeps in runDirectory, or nowhere if that is empty. Without m nothing is
// counted.
func (o *Options) newProvider(cfg *config.Config, runDirectory string, m *providers.Metrics, log *zap.Logger) (providers.Provider, error) {
	if cfg.Provider == "" {
		missing := &section.Problem{Key: "provider", Text: "missing; write one of " + strings.Join(catalog.Providers.Names(), ", ")}
		return nil, &UsageError{cfg.Located("provider", missing)}
	}
	entry, err := catalog.Providers.Entry(cfg.Provider)
	if err != nil {
		return nil, &UsageError{cfg.Located("provider", err)}
	}
	secrets := o.secrets(cfg, cfg.Provider, journal.New(log))
	d := providers.Deps{
		Journal:   journal.New(log),
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
	if o.HTTP == nil { // else nobody is connected to
		d.Names = o.resolvers.at(runDirectory, log)
	}
	p, err := entry.New(d, providerSection(cfg))
	if err != nil {
		return nil, &UsageError{cfg.Located(cfg.Provider, err)}
	}
	return p, nil
}

// newBook returns the book of the configured keepalived.conf, which follows the
// keepalived of the configured pid file. The caller sets its Options.
func newBook(cfg *config.Config, log *zap.Logger) *reading.Book {
	find := func() (supervise.Keepalived, bool) {
		k, err := supervise.Find(cfg.KeepalivedPIDFile, nil)
		return k, err == nil
	}
	return &reading.Book{
		Path: cfg.KeepalivedConfig, Managed: cfg.ManagedAddresses, RunDirectory: cfg.RunDirectory, Log: log,
		Process: func() (int, bool) {
			k, ok := find()
			return k.Parent, ok
		},
		Ask: askAddresses(find),
		Bound: func() (func(netip.Addr) bool, error) {
			n := truth.NewNetwork(func() (int, bool) {
				k, ok := find()
				return k.VRRP, ok && k.VRRP != 0
			})
			defer n.Close()
			return boundIn(n)()
		},
	}
}

// boundIn returns how a book looks at the addresses of keepalived's network.
func boundIn(n *truth.Network) func() (func(netip.Addr) bool, error) {
	return func() (func(netip.Addr) bool, error) {
		bound, err := n.Addresses()
		return bound.Has, err
	}
}

// askAddresses returns a function that asks the keepalived that find finds for the
// addresses of its instances.
func askAddresses(find func() (supervise.Keepalived, bool)) func(context.Context) (map[string][]vrrp.FloatingIP, error) {
	return func(ctx context.Context) (map[string][]vrrp.FloatingIP, error) {
		k, ok := find()
		if !ok || k.VRRP == 0 {
			return nil, errors.New("keepalived's VRRP process was not found")
		}
		return truth.AskAddresses(ctx, k.Parent, k.VRRP)
	}
}

// bookOptions returns how keepalived.conf is to be read: as the installed
// keepalived does, unless the configuration says otherwise.
func bookOptions(c *config.Config, runDirectory string, log *zap.Logger) keepalivedconf.Options {
	version := c.KeepalivedVersion
	if version == "" {
		var err error
		if version, err = installedVersion(runDirectory); err != nil {
			log.Warn("reading keepalived's configuration as the newest known version does; set keepalived-version", zap.Error(err))
		}
	}
	return keepalivedconf.Options{ConfigID: c.KeepalivedConfigID, Version: version}
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
		if err := refresher.Prepare(ctx, c.policy, p.Prepare, journal.New(c.log)); err != nil {
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
func protect(log *zap.Logger) {
	const score = -1000 // never, see proc(5)
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
	if err != nil {
		log.Warn("cannot protect berth from the kernel's out-of-memory killer", zap.Error(err))
	}
}

// superviseAncestors calls died when one of the processes ends, and returns
// when ctx does, after all watches have ended.
func superviseAncestors(ctx context.Context, ancestors []*pidfd.Process, died func(pid int)) error {
	var wg sync.WaitGroup
	for _, p := range ancestors {
		wg.Go(func() {
			if err := p.Wait(ctx); err == nil {
				died(p.PID)
			}
		})
	}
	wg.Wait()
	<-ctx.Done()
	return context.Cause(ctx)
}

// stopGrace bounds what is done after the end: letting go, last messages.
const stopGrace = 2 * time.Second

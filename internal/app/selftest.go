package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/journal"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/netif"
	"berth/providers"
	"berth/selftest"
	"berth/vrrp"
)

// selfTestTimeout bounds the whole self-test.
const selfTestTimeout = time.Minute

// errSelfTest makes `berth --test` end with 1; the report says why.
var errSelfTest = errors.New("self-test failed")

// NagiosError carries the exit status of a monitoring plugin: 0 to 3.
type NagiosError struct{ Status int }

// Error names the status.
func (e *NagiosError) Error() string { return fmt.Sprintf("plugin status %d", e.Status) }

// SelfTest runs the checks and prints the report in the wanted form: table,
// json or nagios. It writes nothing anywhere.
func (o *Options) SelfTest(ctx context.Context, configPath, output string) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestTimeout)
	defer cancel()
	checks, err := o.checks(configPath)
	if err != nil {
		if output == "nagios" {
			fmt.Fprintf(o.Stdout, "BERTH UNKNOWN - %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
			return &NagiosError{Status: 3}
		}
		return err
	}
	findings := selftest.Run(ctx, checks)
	switch output {
	case "nagios":
		status, err := selftest.Nagios(o.Stdout, findings)
		if err == nil && status != 0 {
			err = &NagiosError{Status: status}
		}
		return err
	case "json":
		err = selftest.JSON(o.Stdout, findings)
	default:
		err = selftest.Table(o.Stdout, findings)
	}
	if err == nil && selftest.Worst(findings) == selftest.Fail {
		err = errSelfTest
	}
	return err
}

func (o *Options) checks(configPath string) ([]selftest.Check, error) {
	cfg, err := o.load(configPath)
	if err != nil {
		return nil, err
	}
	log := o.Logger()
	checks := []selftest.Check{selftest.Configuration(cfg.Path, cfg.OthersCanRead && len(cfg.Sections) > 0)}
	addresses := func() []vrrp.FloatingIP { return electedAddresses(cfg) }
	if len(cfg.Election.Instances) > 0 {
		managed := managedOn(cfg)
		for _, name := range slices.Sorted(maps.Keys(managed)) {
			checks = append(checks, selftest.Interface(name, func() (string, error) { return netif.Check(name, managed[name]) }))
		}
	} else {
		// The report says what the book would tell.
		k := beside(cfg, nil)
		b := newBook(cfg, readingOptions(cfg, "", journal.New(log)), k, func() (func(netip.Addr) bool, error) { return presence.HasOnce(k.VRRP) }, nil)
		addresses = func() []vrrp.FloatingIP { return allAddresses(cfg, b) }
		conf := func() *keepalivedconf.Config {
			conf, _ := b.Reading() // what is wrong with it is told by its own check
			return conf
		}
		checks = append(checks,
			selftest.KeepalivedConfig(func() (selftest.Keepalived, error) { return keepalivedFindings(cfg, b) }),
			selftest.Process(func() (int, error) { return keepalivedProcess(cfg, conf()) }),
			selftest.FIFOs(func() []selftest.FIFO { return fifos(cfg, conf()) }),
			selftest.Directory("lock directory", filepath.Dir(cfg.LockFileTemplate), cfg.OwnLockDirectory))
	}
	checks = append(checks, selftest.Directory("run directory", cfg.RunDirectory, true))
	if cfg.Fencing.Enabled || len(cfg.Election.Instances) > 0 {
		etcd, err := o.newEtcd(cfg, "", log)
		if err != nil {
			return nil, err
		}
		checks = append(checks, selftest.Etcd(func(ctx context.Context) ([]selftest.EtcdMember, []string, error) {
			defer etcd.Close()
			return askEtcd(ctx, etcd, cfg)
		}))
	}
	if how := cfg.Pointing(o.DryRun); how == config.Nothing || how == config.Print {
		return checks, nil
	}
	p, err := o.newProvider(cfg, "", nil, log)
	if err != nil {
		return nil, err
	}
	return append(checks,
		selftest.Server(func(ctx context.Context) (string, string, error) {
			s, err := p.Self(ctx)
			return s.ID, s.Name, err
		}),
		selftest.FloatingIPs(func(ctx context.Context) ([]selftest.FloatingIP, error) {
			return observed(ctx, p, addresses())
		}),
	), nil
}

func electedAddresses(cfg *config.Config) []vrrp.FloatingIP {
	var all []vrrp.FloatingIP
	for _, in := range cfg.Election.Instances {
		all = append(all, movable(in.Addresses)...)
	}
	return all
}

// askEtcd returns what the endpoints answer, and who owns each instance.
func askEtcd(ctx context.Context, etcd *election.Etcd, cfg *config.Config) (members []selftest.EtcdMember, owners []string, err error) {
	for _, a := range etcd.Ask(ctx, cfg.Etcd.Prefix) {
		members = append(members, selftest.EtcdMember(a))
	}
	if !slices.ContainsFunc(members, func(m selftest.EtcdMember) bool { return m.Err == nil }) {
		return members, nil, nil
	}
	found, err := etcd.Owners(ctx, cfg.Etcd.Prefix)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		line := fmt.Sprintf("%s is owned by %s", name, found[name].Member)
		if found[name].Doubled {
			line += ", which is the name of two hosts; give each an etcd.member of its own"
		}
		owners = append(owners, line)
	}
	return members, owners, err
}

func keepalivedFindings(cfg *config.Config, b *reading.Book) (selftest.Keepalived, error) {
	conf, note, err := b.File()
	if conf == nil {
		return selftest.Keepalived{}, err
	}
	k := selftest.Keepalived{Path: b.Path, Unloaded: note}
	if conf.Refused {
		r := conf.Refusals[0]
		k.Refused, k.Unloaded = fmt.Sprintf("%s:%d: %s", r.File, r.Line, r.Message), "" // the note says the same
	}
	// What depends on this machine is a warning only: keepalived may run in
	// another network namespace.
	o := b.Options
	o.Interfaces = interfaces(cfg, conf)
	warnings := conf.Warnings
	if here, err := keepalivedconf.ParseFile(b.Path, o); err == nil {
		warnings = append(slices.Clip(here.Refusals), here.Warnings...)
	}
	for _, w := range warnings {
		if !slices.Contains(conf.Refusals, w) {
			k.Warnings = append(k.Warnings, fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Message))
		}
	}
	for _, in := range conf.Instances {
		k.Instances = append(k.Instances, fmt.Sprintf("%s on %s: %s", in.Name, dash(in.Interface), dash(strings.Join(texts(in.Managed()), " "))))
	}
	return k, nil
}

// allAddresses returns what any instance of this host could move at a provider,
// each address once.
func allAddresses(cfg *config.Config, b *reading.Book) []vrrp.FloatingIP {
	list := cfg.ManagedAddresses
	if conf, _ := b.Reading(); len(list) == 0 && conf != nil {
		for _, in := range conf.Instances {
			list = append(list, in.Managed()...)
		}
	}
	seen := map[netip.Addr]bool{}
	var once []vrrp.FloatingIP
	for _, ip := range list {
		if !seen[ip.Addr()] && ip.Immovable() == "" {
			seen[ip.Addr()] = true
			once = append(once, ip)
		}
	}
	return once
}

func observed(ctx context.Context, p providers.Provider, ips []vrrp.FloatingIP) ([]selftest.FloatingIP, error) {
	// Asked even without addresses: it proves endpoint and token.
	var addrs []netip.Addr
	for _, ip := range ips {
		addrs = append(addrs, ip.Addr())
	}
	holders, err := p.Observe(ctx, addrs)
	if err != nil {
		return nil, err
	}
	var list []selftest.FloatingIP
	for _, ip := range ips {
		h := holders[ip.Addr()]
		list = append(list, selftest.FloatingIP{Address: ip.String(), Managed: h.Kind != providers.NotManaged, Owner: holderText(h)})
	}
	return list, nil
}

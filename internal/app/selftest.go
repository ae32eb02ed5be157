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
	"berth/internal/patroni"
	"berth/internal/presence"
	"berth/internal/probe"
	"berth/keepalivedconf"
	"berth/netif"
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
	checks := []selftest.Check{selftest.Configuration(cfg.Path, cfg.OthersCanRead && len(cfg.Sections) > 0)}
	addresses := func() []vrrp.FloatingIP { return vrrp.Movable(cfg.Election.Addresses()) }
	switch {
	case cfg.Watches():
		addresses = func() []vrrp.FloatingIP { return vrrp.Movable(cfg.ManagedAddresses) }
		more, err := o.watchChecks(cfg)
		if err != nil {
			return nil, err
		}
		checks = append(checks, more...)
	case cfg.Elects():
		managed := cfg.OnInterfaces()
		for _, name := range slices.Sorted(maps.Keys(managed)) {
			checks = append(checks, selftest.Interface(name, func() (string, error) { return netif.Check(name, managed[name]) }))
		}
	default:
		version, _ := readAs(cfg)
		// The report says what the book would tell.
		k := probe.Beside(cfg.KeepalivedPIDFile, nil)
		b := newBook(cfg, func() string { return version.ReadAs }, k, func() (func(netip.Addr) bool, error) { return presence.HasOnce(k.VRRP) }, nil)
		addresses = func() []vrrp.FloatingIP { return probe.Movable(b, cfg.ManagedAddresses) }
		conf := func() *keepalivedconf.Config {
			conf, _ := b.Reading() // what is wrong with it is told by its own check
			return conf
		}
		there := func(conf *keepalivedconf.Config) func(string) (int, bool) { return interfaces(cfg, conf) }
		checks = append(checks,
			selftest.KeepalivedVersion(version.String(), version.Warnings),
			selftest.KeepalivedConfig(func() (selftest.Keepalived, error) { return probe.Keepalived(b, there) }),
			selftest.Process(func() (int, error) { return probe.Beside(cfg.KeepalivedPIDFile, conf()).Watchable() }),
			selftest.FIFOs(func() []selftest.FIFO { return probe.FIFOs(cfg.KeepalivedConfig, cfg.KeepalivedPIDFile, conf()) }),
			selftest.Directory("lock directory", filepath.Dir(cfg.LockFileTemplate), cfg.OwnLockDirectory))
	}
	checks = append(checks, selftest.Directory("run directory", cfg.RunDirectory, true))
	if cfg.NeedsEtcd() {
		etcd, err := o.newEtcd(cfg, "")
		if err != nil {
			return nil, err
		}
		checks = append(checks, selftest.Etcd(func(ctx context.Context) ([]selftest.EtcdMember, []string, error) {
			defer etcd.Close()
			return probe.Etcd(ctx, etcd, cfg.EtcdPrefix(), cfg.Election.Places())
		}))
	}
	if p := cfg.Follow.Patroni; p.Followed {
		role := patroni.Role(p.Role)
		checks = append(checks, selftest.Patroni(p.URL, role.String(), func(ctx context.Context) (bool, error) { return patroniServer(p).Ask(ctx, role) }))
	}
	if how := cfg.Pointing(o.DryRun); how == config.Nothing || how == config.Print {
		return checks, nil
	}
	p, err := o.newProvider(cfg, "", nil, o.Journal())
	if err != nil {
		return nil, err
	}
	return append(checks,
		selftest.Server(func(ctx context.Context) (string, string, error) {
			s, err := p.Self(ctx)
			return s.ID, s.Name, err
		}),
		selftest.FloatingIPs(func(ctx context.Context) ([]selftest.FloatingIP, error) {
			return probe.FloatingIPs(ctx, p, addresses())
		}),
	), nil
}

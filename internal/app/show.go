package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/overview"
	"berth/internal/reading"
	"berth/keepalivedconf"
)

// ShowOptions are the flags of `berth show`.
type ShowOptions struct {
	Instance         string // empty: all
	JSON             bool
	Offline          bool // do not ask the provider
	AssumeInterfaces bool // every interface that the file names counts as existing
}

// errRefused makes `berth show` end with 1 where keepalived would not run the
// file; the reason has been printed.
var errRefused = errors.New("keepalived would refuse this configuration")

// showTimeout bounds the questions to the provider.
const showTimeout = 30 * time.Second

// Show prints what would be managed and why.
func (o *Options) Show(ctx context.Context, configPath string, so ShowOptions) error {
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	var all overview.Overview
	switch {
	case cfg.Watches():
		err = showWatched(cfg, so, &all)
	case cfg.Elects():
		err = showElected(cfg, so, &all)
	default:
		err = o.showKeepalived(cfg, so, &all)
	}
	if err != nil {
		return err
	}
	var etcdErr, providerErr error
	if !so.Offline && cfg.NeedsEtcd() {
		etcdErr = o.showOwners(ctx, cfg, &all)
	}
	if !so.Offline && cfg.Pointing(o.DryRun) == config.Call {
		p, err := o.newProvider(cfg, "", nil, o.Journal())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, showTimeout)
		defer cancel()
		providerErr = all.Ask(ctx, p)
	}
	if so.JSON {
		err = all.JSON(o.Stdout)
	} else {
		err = all.Table(o.Stdout)
	}
	if err == nil && all.Refused {
		err = errRefused
	}
	return errors.Join(err, etcdErr, providerErr)
}

// showKeepalived adds what keepalived's configuration has.
func (o *Options) showKeepalived(cfg *config.Config, so ShowOptions, all *overview.Overview) error {
	version, ko := readAs(cfg)
	all.Version = &version
	if !so.AssumeInterfaces {
		conf, err := keepalivedconf.ParseFile(cfg.KeepalivedConfig, ko)
		if err != nil {
			return err
		}
		ko.Interfaces = interfaces(cfg, conf)
	}
	conf, err := keepalivedconf.ParseFile(cfg.KeepalivedConfig, ko)
	if err != nil {
		return err
	}
	all.Keepalived(conf, cfg.ManagedAddresses, so.Instance)
	if so.Instance != "" && len(all.Instances) == 0 {
		return fmt.Errorf("vrrp_instance %q: %w %s", so.Instance, reading.ErrUnknown, cfg.KeepalivedConfig)
	}
	return nil
}

// showElected adds what the configuration has elections for.
func showElected(cfg *config.Config, so ShowOptions, all *overview.Overview) error {
	for _, in := range cfg.Election.Instances {
		if so.Instance == "" || in.Name == so.Instance {
			all.Elected(in.Name, in.Interface, in.Addresses)
		}
	}
	return unknownInstance(cfg, "election.instances", so, all)
}

// unknownInstance returns an error if nothing is shown of the instance that was named. key
// has those that are known.
func unknownInstance(cfg *config.Config, key string, so ShowOptions, all *overview.Overview) error {
	if so.Instance != "" && len(all.Instances) == 0 {
		return fmt.Errorf("%s: %s has no %q", cfg.Path, key, so.Instance)
	}
	return nil
}

// showOwners adds who owns the instances in etcd.
func (o *Options) showOwners(ctx context.Context, cfg *config.Config, all *overview.Overview) error {
	etcd, err := o.newEtcd(cfg, "")
	if err != nil {
		return err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	owners, err := etcd.Owners(ctx, cfg.EtcdPrefix(), cfg.Election.Places())
	for i := range all.Instances {
		in := &all.Instances[i]
		owner := owners[in.Name]
		in.Member, in.Doubled = owner.Member, owner.Doubled
	}
	return err
}

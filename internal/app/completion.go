package app

import (
	"context"
	"io"

	"berth/api"
	"berth/internal/associate"
	"berth/internal/status"
)

// The methods below return what a shell completes an argument with, each perhaps with a
// tab and a description behind it. They return nothing where that cannot be had.

// CompleteIPs returns the ids of the addresses that were added to a member.
func (o *Options) CompleteIPs(ctx context.Context, a APIOptions) (ids []string) {
	// The error is for nobody: a shell has no place for it.
	_ = o.withIPs(a, func(c *api.Client) error {
		all, err := c.IPs(ctx)
		for _, ip := range all {
			ids = append(ids, ip.ID+"\t"+string(ip.Status)+" "+ip.Owner)
		}
		return err
	})
	return ids
}

// CompletePoolMembers returns the members of a pool.
func (o *Options) CompletePoolMembers(ctx context.Context, p PoolOptions) (names []string) {
	_ = o.withPool(ctx, p, func(ctx context.Context, c api.Pool, _ string) error {
		all, err := c.List(ctx)
		if err != nil {
			return err
		}
		for _, m := range all.Members {
			names = append(names, m.Member+"\t"+m.State)
		}
		return nil
	})
	return names
}

// CompleteInstances returns the instances of a configuration.
func (o *Options) CompleteInstances(path string) (names []string) {
	cfg, err := o.load(path)
	if err != nil {
		return nil
	}
	for _, in := range cfg.Election.Instances {
		names = append(names, in.Name)
	}
	return names
}

// CompleteAddresses returns the addresses of a configuration that a provider can move.
func (o *Options) CompleteAddresses(path string) (addresses []string) {
	silent := &Options{Program: o.Program, Getenv: o.Getenv, Stderr: io.Discard}
	cfg, err := silent.load(path)
	if err != nil {
		return nil
	}
	var f associate.Facts
	_ = silent.addresses(cfg, &f)
	for _, a := range f.Addresses {
		addresses = append(addresses, a.String())
	}
	return addresses
}

// CompleteStatus returns the instances of a run directory.
func (o *Options) CompleteStatus(runDirectory string) (names []string) {
	all, err := status.Read(runDirectory)
	if err != nil && len(all) == 0 {
		return nil
	}
	for _, in := range all {
		names = append(names, in.Instance+"\t"+in.State.String())
	}
	return names
}

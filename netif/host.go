package netif

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
)

// Host has the interfaces of this host to which addresses are bound. Its methods may be
// called by several goroutines at once.
type Host struct {
	interfaces map[string]*Interface
}

// OpenHost opens the interfaces that managed names, each with the addresses that may
// be bound to it, which may be none; no address may be in the map twice. The other options
// are the same for all; Name and Managed of o are ignored. It starts no goroutine. Close
// must be called.
func OpenHost(o Options, managed map[string][]netip.Prefix) (*Host, error) {
	o.complete()
	h := &Host{interfaces: map[string]*Interface{}}
	r := openRecord(o.Record, o.Journal, slices.Collect(maps.Values(managed))...)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(managed)) {
		o.Name, o.Managed = name, managed[name]
		i, err := openShared(o, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.interfaces[name] = i
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, h.Close())...)
	}
	return h, nil
}

// CheckHost returns the error with which OpenHost would refuse the interfaces to this
// process. It changes nothing.
func CheckHost(managed map[string][]netip.Prefix) error {
	h, err := OpenHost(Options{}, managed)
	if err != nil {
		return err
	}
	return h.Close()
}

// Close frees the sockets. Serve and every call of Bind must have returned.
func (h *Host) Close() error {
	var errs []error
	for _, i := range h.interfaces {
		errs = append(errs, i.Close())
	}
	return errors.Join(errs...)
}

// Interface returns the interface with a name, nil if it was not opened. Its
// [Interface.Manage] refuses an address that another interface of the host manages, so
// that the Host needs no Manage of its own.
func (h *Host) Interface(name string) *Interface { return h.interfaces[name] }

// Serve watches the interfaces while f runs, which may call Bind, and returns what f
// returned. An interface that cannot be watched any more ends the context of f, with the
// error as its cause: the removal of an address would not be noticed, and a process that
// ends with an error is started again by systemd.
func (h *Host) Serve(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The interfaces are watched until the last address is gone.
	watched, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	defer watching.Wait()
	defer func() { end(context.Cause(ctx)) }()
	for _, i := range h.interfaces {
		watching.Go(func() {
			if err := i.Run(watched); watched.Err() == nil {
				cancel(err)
			}
		})
	}
	return f(ctx)
}

// Sweep is [Interface.Sweep] of all interfaces.
func (h *Host) Sweep(wanted func(netip.Prefix) bool) error {
	var errs []error
	for _, i := range h.interfaces {
		errs = append(errs, i.Sweep(wanted))
	}
	return errors.Join(errs...)
}

// Left reports whether an address that berth has bound is still on one of the interfaces.
// Before the first call of Bind, it tells of a process that ran until a moment ago or has
// not removed its addresses, because these outlive it by their lifetime alone. An interface
// that cannot be read has none.
func (h *Host) Left() bool {
	for _, i := range h.interfaces {
		if i.left() {
			return true
		}
	}
	return false
}

// Moved is [Interface.Moved] of all interfaces.
func (h *Host) Moved() {
	for _, i := range h.interfaces {
		i.Moved()
	}
}

// Renewed is [Interface.Renewed] of all interfaces.
func (h *Host) Renewed() {
	for _, i := range h.interfaces {
		i.Renewed()
	}
}

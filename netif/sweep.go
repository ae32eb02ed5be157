package netif

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Sweep removes what an earlier run left: managed addresses that are on the interface
// and have no binding, and on any interface of this host those that have the mark of
// berth and are managed, or in its record. Addresses of this interface for which wanted
// returns true stay; it is also asked for those in the record that are not managed, which
// Manage may add later. Sweep returns after the others are gone.
func (i *Interface) Sweep(wanted func(netip.Prefix) bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked := time.Now()
	l, all, err := i.kernel.state(false)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", i.o.Name, err)
	}
	i.retain(l, all, asked)
	gone := map[int][]netip.Prefix{} // by index of the interface
	for _, a := range all {
		p, managed := i.allManaged()[a.prefix.Addr()]
		if !managed {
			p = a.prefix
		}
		here := a.on == l.index
		switch ours := managed && (here || a.mayBeOurs()) || i.record.abandoned(a); {
		case !ours, !here && !managed && i.record.shares(a.on, i): // its own Sweep asks for it
		case here && (i.bindings[a.prefix.Addr()] != nil || wanted(p)):
		default:
			gone[a.on] = append(gone[a.on], a.prefix)
		}
	}
	for index, addrs := range gone {
		if err := i.kernel.unbind(index, addrs); err != nil {
			return fmt.Errorf("sweep %s: %w", i.kernel.nameOf(index), err)
		}
		on := i.kernel.nameOf(index)
		for _, p := range addrs {
			i.journal.Tell(leftover, zap.Stringer("address", p), zap.String("on", on))
		}
		i.record.remove(addrs)
	}
	if err := i.observe(false); err != nil {
		return err
	}
	i.reconcileAt = time.Time{}
	return nil
}

// left reports whether an address that berth has bound is still on the interface.
func (i *Interface) left() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	l, all, err := i.kernel.state(false)
	return err == nil && slices.ContainsFunc(all, func(a address) bool { return a.on == l.index && i.record.has(a) })
}

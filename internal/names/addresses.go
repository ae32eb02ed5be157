package names

import (
	"context"
	"net/netip"
)

// Former returns the addresses of the last good answer for a name, without a look-up;
// empty if there was none. An IP address is its own.
func (r *Resolver) Former(name string) []netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}
	}
	return r.known(name)
}

// Addresses looks a name up and waits for the end of the look-up, or of ctx. It returns
// the last good answers, which are former ones where the look-up has failed; the error
// says why there is none. An IP address is its own.
func (r *Resolver) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	l := r.ask(name)
	select {
	case <-l.done:
	case <-ctx.Done():
		if known := r.known(name); len(known) > 0 {
			return known, nil
		}
		return nil, context.Cause(ctx)
	}
	if known := r.known(name); len(known) > 0 {
		return known, nil
	}
	return nil, l.err
}

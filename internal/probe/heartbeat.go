package probe

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"berth/config"
	"berth/providers"
	"berth/selftest"
)

// Bindable returns an error if no UDP socket can listen at an address and port now.
func Bindable(listen string) error {
	c, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	return c.Close()
}

// Reach reports whether an address accepts a connection.
func Reach(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), address string) error {
	c, err := dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// Peers returns the peers of a configuration with their addresses.
func Peers(ctx context.Context, hosts []config.HostPort, lookup func(ctx context.Context, name string) ([]netip.Addr, error)) []selftest.Peer {
	all := make([]selftest.Peer, len(hosts))
	var looking sync.WaitGroup
	for i, h := range hosts {
		looking.Go(func() {
			found, err := lookup(ctx, h.Host)
			all[i] = selftest.Peer{Name: h.Host, Err: err}
			for _, a := range found {
				all[i].Addresses = append(all[i].Addresses, a.String())
			}
		})
	}
	looking.Wait()
	return all
}

// Group returns the other servers of a group with their addresses.
func Group(ctx context.Context, p providers.Grouper, name string) ([]selftest.Peer, error) {
	members, err := p.Group(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []selftest.Peer
	for _, m := range members {
		if m.Self {
			continue
		}
		is := selftest.Peer{Name: cmp.Or(m.Name, m.ID)}
		for _, a := range m.Addresses {
			is.Addresses = append(is.Addresses, a.String())
		}
		if len(is.Addresses) == 0 {
			is.Err = errors.New("the server has no address")
		}
		all = append(all, is)
	}
	return all, nil
}

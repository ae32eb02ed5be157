package lab

import (
	"context"
	"net"
	"net/netip"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
)

// EtcdPlace makes a node the place of an etcd member, whose output goes to keep. The
// caller sets the addresses on which the member listens.
func EtcdPlace(n *testnet.Node, keep func(*testnet.Log)) etcdtest.Place {
	return etcdtest.Place{
		Dir:   "/run/etcd",
		Write: n.WriteFile,
		Run: func(name, path string, args ...string) (etcdtest.Process, error) {
			p, err := n.Start(name, path, args...)
			if err != nil {
				return nil, err
			}
			keep(p.Log)
			return p, nil
		},
		Dial: func(network, address string) (conn net.Conn, err error) {
			err = n.Do(func() error {
				conn, err = net.Dial(network, address)
				return err
			})
			return conn, err
		},
	}
}

// etcdPath is where the router has its etcd.
const etcdPath = "/usr/bin/berth-lab-etcd"

// StartEtcd starts an etcd of one member on the router and waits until it
// serves. All hosts reach it, also after Split. It ends with the lab.
func (l *Lab) StartEtcd(ctx context.Context, binary string) (*etcdtest.Cluster, error) {
	if err := l.Router.Install(etcdPath, binary, 0o755); err != nil {
		return nil, err
	}
	at := netip.MustParseAddr("10.77.0.1")
	p := EtcdPlace(l.Router, l.Record)
	p.Client, p.Peer, p.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
	c, err := etcdtest.New(etcdPath, "", []etcdtest.Place{p}, etcdtest.Options{})
	if err != nil {
		return nil, err
	}
	l.OnClose(func() error {
		c.Close()
		return nil
	})
	return c, c.Ready(ctx)
}

// Split drops packets between the hosts, or ends that; both still reach the router.
func (l *Lab) Split(split bool) error {
	for _, h := range l.Hosts {
		if err := l.Router.Isolate(h.port, split); err != nil {
			return err
		}
	}
	return nil
}

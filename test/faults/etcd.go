//go:build linux

package faults

import (
	"net"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
)

// testnetPlace makes a node the place of an etcd member.
func testnetPlace(n *testnet.Node, keep func(*testnet.Log)) etcdtest.Place {
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

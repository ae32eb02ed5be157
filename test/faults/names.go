package faults

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"berth/internal/testnet"
)

// The name servers, both on the LAN of etcd.
var nameServers = []netip.Addr{netip.MustParseAddr("10.78.0.53"), netip.MustParseAddr("10.78.0.54")}

func etcdName(i int) string { return fmt.Sprintf("etcd%d.example.net", i+1) }

// serveNames starts the name servers. The first never answers.
func (l *Lab) serveNames() error {
	hosts := map[string][]netip.Addr{}
	for i := range 3 {
		hosts[etcdName(i)] = []netip.Addr{etcdAddress(i)}
	}
	for _, at := range nameServers {
		if err := l.Switch.AddAddress("etcd", netip.PrefixFrom(at, 24)); err != nil {
			return err
		}
		s, err := l.Switch.ServeNames(at, hosts)
		if err != nil {
			return err
		}
		l.OnClose(s.Close)
		l.names = append(l.names, s)
	}
	l.names[0].SetMute(true)
	return nil
}

// Endpoints returns the endpoints of etcd as LinK's variable has them.
func (l *Lab) Endpoints() string { return strings.ReplaceAll(l.endpoints(), " ", "") }

// endpoints returns those of etcd, as the configuration has them.
func (l *Lab) endpoints() string {
	var endpoints []string
	for i := range 3 {
		host := etcdAddress(i).String()
		if l.options.Named {
			host = etcdName(i)
		}
		endpoints = append(endpoints, "http://"+host+":2379")
	}
	return strings.Join(endpoints, ", ")
}

// resolverMute takes the last name server away and then restarts etcd, member by
// member, so that every connection has to be made anew. A member that is stopped in
// order leaves the lead to another, so that etcd serves all the time.
func resolverMute(r *Run) error {
	s := r.names[len(r.names)-1]
	r.heal(func() error {
		s.SetMute(false)
		return nil
	})
	s.SetMute(true)
	for _, m := range r.Etcd.Members() {
		if err := errors.Join(m.Stop(), m.Restart(), r.Ready(r.Ctx)); err != nil {
			return err
		}
	}
	return nil
}

// askNameServers makes a host look names up.
func (l *Lab) askNameServers(n *testnet.Node) error {
	if !l.options.Named {
		return nil
	}
	return n.AskNameServers(nameServers...)
}

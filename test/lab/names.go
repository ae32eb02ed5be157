package lab

import (
	"errors"
	"net/netip"

	"berth/internal/testnet"
)

// NamedHost is the name of the router where the hosts know names.
const NamedHost = "api.example.net"

// The name servers on the router.
var nameServers = []netip.Addr{netip.MustParseAddr("10.77.0.53"), netip.MustParseAddr("10.77.0.54")}

// ServeNames makes all hosts ask two name servers, both on the router. The first
// is mute: it takes what it is asked and says nothing. They end with the lab.
func (l *Lab) ServeNames() (servers []*testnet.NameServer, err error) {
	at := map[string][]netip.Addr{NamedHost: {netip.MustParseAddr("10.77.0.1")}}
	for _, a := range nameServers {
		if err := l.Router.AddAddress("br0", netip.PrefixFrom(a, 24)); err != nil {
			return nil, err
		}
		s, err := l.Router.ServeNames(a, at)
		if err != nil {
			return nil, err
		}
		l.OnClose(s.Close)
		servers = append(servers, s)
	}
	servers[0].SetMute(true)
	var errs []error
	for _, h := range l.Hosts {
		errs = append(errs, h.AskNameServers(nameServers...))
	}
	return servers, errors.Join(errs...)
}

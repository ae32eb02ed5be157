package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/faults"
	"berth/test/lab"
)

// waitLimit bounds the time that a lab takes to have an owner.
const waitLimit = 30 * time.Second

var modes = map[string]func(dir string) (*scene, error){"elect": elect, "link": link, "keepalived": keepalived}

// elect is a lab of two hosts that elect the owner themselves.
func elect(dir string) (*scene, error) {
	l, ways, err := build(dir, faults.Options{API: true})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	if err := l.Until(ctx, "an owner", func() bool { return l.Owner() != nil }); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := electing(l, ways)
	s.about = fmt.Sprintf("Two hosts elect the owner of %v and %v by an etcd of three members. %s has them now.",
		faults.Address4, faults.Address6, l.Owner().Name())
	s.try = append([]string{
		"berth status",
		"berth cluster                               # all members",
		"berth takeover " + faults.Instance + "                          # on the other host: move it here",
		"berth ips add 192.0.2.100/32                # on both hosts: one more address, without a restart",
		"berth ips failover vip-192.0.2.100          # on its owner: to the other host",
	}, s.try...)
	s.try = append(s.try,
		"ip address del 192.0.2.254/32 dev eth0",
		"setsid berth elect "+faults.ConfigPath+" >/proc/1/fd/1 2>&1 &    # start it again",
		"ping -i 0.2 192.0.2.254                     # on the client")
	return s, nil
}

// link is a lab of two hosts that have berth in place of LinK.
func link(dir string) (*scene, error) {
	l, ways, err := build(dir, faults.Options{Link: true})
	if err != nil {
		return nil, err
	}
	s := electing(l, ways)
	s.about = "Two hosts run berth link, configured by LinK's environment, beside an etcd of three members. They have no address yet."
	s.try = append([]string{
		"berth ips add 192.0.2.254/32                # on both hosts",
		"berth ips list",
		"berth ips show vip-192.0.2.254",
		"berth ips lock vip-192.0.2.254              # what LinK calls try-get-lock",
		"berth ips failover vip-192.0.2.254          # on its owner: to the other host",
		"berth ips remove vip-192.0.2.254",
		"",
		"curl -s -d '{\"ip\":\"192.0.2.254/32\"}' http://" + faults.APIAddress + "/ips       # LinK's five verbs: add,",
		"curl -s http://" + faults.APIAddress + "/ips                                 # list,",
		"curl -s http://" + faults.APIAddress + "/ips/vip-192.0.2.254                 # get,",
		"curl -s -X POST http://" + faults.APIAddress + "/ips/vip-192.0.2.254/lock    # try-get-lock,",
		"curl -s -X DELETE http://" + faults.APIAddress + "/ips/vip-192.0.2.254       # destroy",
		"",
		"berth cluster                               # all members",
	}, s.try...)
	s.try = append(s.try,
		"ip address del 192.0.2.254/32 dev eth0",
		"INTERFACE="+faults.ServiceLink+" ETCD_HOSTS="+l.Endpoints()+" setsid berth link >/proc/1/fd/1 2>&1 &    # start it again",
		"ping -i 0.2 192.0.2.254                     # on the client")
	return s, nil
}

// build makes a lab of two hosts on which berth runs, and the ways to their APIs.
func build(dir string, o faults.Options) (*faults.Lab, []*way, error) {
	etcd, err := etcdtest.Binary()
	if err != nil {
		return nil, nil, err
	}
	if o.Berth, err = faults.Build(dir); err != nil {
		return nil, nil, err
	}
	o.Etcd, o.Hosts, o.Quiet = etcd, 2, true
	l, err := faults.New(o)
	if err != nil {
		return nil, nil, err
	}
	var ways []*way
	for i, h := range l.Hosts {
		w, err := lead(h, firstPort+i)
		if err == nil {
			l.OnClose(w.close)
			ways = append(ways, w)
			err = h.Start()
		}
		if err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
	}
	for _, h := range l.Hosts {
		if err := h.Serves(context.Background()); err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
	}
	return l, ways, nil
}

// electing is what the labs have in common in which berth elects.
func electing(l *faults.Lab, ways []*way) *scene {
	s := &scene{
		close: l.Close, until: l.Wait, logs: l.Logs,
		moves: func() (lines []testnet.Line) {
			for _, c := range l.Changes() {
				lines = append(lines, testnet.Line{Time: c.At, Text: moved(c.Host, c.Address, c.Owned)})
			}
			return lines
		},
		nodes: append([]*testnet.Node{l.Hosts[0].Node, l.Hosts[1].Node, l.Client}, l.EtcdNodes...),
		reach: []string{"From this machine, in a browser or with curl and berth ips --url:"},
		try: []string{
			"pkill -STOP berth                           # or -9, -TERM, -CONT",
			"ip link set eth1 down                       # cut off from etcd; eth0 from the client",
		},
	}
	for i, h := range l.Hosts {
		s.reach = append(s.reach, fmt.Sprintf("  %-8s http://%v/", h.Name(), ways[i].listener.Addr()))
	}
	s.reach = append(s.reach, "They ask for no credentials: until make lab-down every user of this machine can use them.")
	return s
}

// keepalived is a lab of two hosts with keepalived at a simulated provider.
func keepalived(dir string) (*scene, error) {
	berth, err := faults.Build(dir)
	if err != nil {
		return nil, err
	}
	l, err := lab.New(lab.Options{Binary: berth})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for i, h := range l.Hosts {
		if err := errors.Join(h.ConfigureBerth(lab.Fast), h.ConfigureKeepalived(lab.FIFO, lab.Instance{
			Name: "VI_1", ID: 51, Priority: 150 - 50*i, Addresses: []netip.Addr{lab.IPv4a}, Excluded: []netip.Addr{lab.IPv6n},
		})); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		if _, err = h.StartService(ctx); err == nil {
			_, err = h.StartKeepalived()
		}
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	if err := l.Wait(ctx, "the provider to have it at host1", func() bool { return l.Holder(lab.IPv4a) == l.Hosts[0] }); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &scene{
		close: l.Close, until: l.Wait, logs: l.Logs,
		moves: func() (lines []testnet.Line) {
			for _, b := range l.Bindings() {
				lines = append(lines, testnet.Line{Time: b.Time, Text: moved(b.Host.Name, b.Address, b.Bound)})
			}
			return lines
		},
		nodes: []*testnet.Node{l.Hosts[0].Node, l.Hosts[1].Node, l.Client, l.Router},
		about: fmt.Sprintf("Two hosts run keepalived and berth for %v and %v at a simulated provider; the router sends the packets where the provider says. host1 is MASTER now.",
			lab.IPv4a, lab.IPv6n),
		try: []string{
			"berth status",
			"pkill -TERM keepalived                      # or -9",
			"ip link set eth0 down",
			"pkill -9 berth",
			"setsid berth --fifo " + lab.BerthConf + " " + lab.FIFOPath + " >/proc/1/fd/1 2>&1 &    # start it again",
			"setsid keepalived --dont-fork --log-console >/proc/1/fd/1 2>&1 &",
			"ping -i 0.2 " + lab.IPv4a.String() + "                    # on the client",
		},
	}, nil
}

func moved(host string, address netip.Addr, here bool) string {
	if here {
		return fmt.Sprintf("*** %v comes to %s", address, host)
	}
	return fmt.Sprintf("*** %v leaves %s", address, host)
}

package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cable joins two nodes by a virtual Ethernet cable. Both ends are down.
func Cable(a *Node, linkA string, b *Node, linkB string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = linkA
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: linkB, PeerNamespace: netlink.NsFd(b.netns())}
	if err := a.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("join %s/%s and %s/%s: %w", a.Name, linkA, b.Name, linkB, err)
	}
	return nil
}

func (n *Node) netns() int { return int(n.ns[0].file.Fd()) }

// Bridge makes a bridge without ports, up. It forwards every multicast to all
// ports, as a switch without snooping does.
func (n *Node) Bridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	snooping := false
	if err := n.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return fmt.Errorf("make bridge %s in %s: %w", name, n.Name, err)
	}
	return n.Up(name)
}

// Plug makes a link a port of a bridge and sets it up.
func (n *Node) Plug(bridge, port string) error {
	b, err := n.link(bridge)
	if err != nil {
		return err
	}
	p, err := n.link(port)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetMasterByIndex(p, b.Attrs().Index); err != nil {
		return fmt.Errorf("plug %s into %s of %s: %w", port, bridge, n.Name, err)
	}
	return n.Up(port)
}

func (n *Node) link(name string) (netlink.Link, error) {
	l, err := n.nl.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s in %s: %w", name, n.Name, err)
	}
	return l, nil
}

// Up sets a link up.
func (n *Node) Up(name string) error {
	l, err := n.link(name)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s of %s up: %w", name, n.Name, err)
	}
	return nil
}

// Down sets a link down. The other end of its cable loses its carrier.
func (n *Node) Down(name string) error {
	l, err := n.link(name)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetDown(l); err != nil {
		return fmt.Errorf("set %s of %s down: %w", name, n.Name, err)
	}
	return nil
}

// AddAddress gives a link an address, usable at once.
func (n *Node) AddAddress(link string, address netip.Prefix) error {
	l, err := n.link(link)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(address)}
	if address.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := n.nl.AddrAdd(l, a); err != nil {
		return fmt.Errorf("add %v to %s of %s: %w", address, link, n.Name, err)
	}
	return nil
}

// SetRoute points a destination at a next hop, in place of any route before.
func (n *Node) SetRoute(to netip.Prefix, via netip.Addr) error {
	if err := n.nl.RouteReplace(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %v via %v in %s: %w", to, via, n.Name, err)
	}
	return nil
}

// RemoveRoute takes the route to a destination away.
func (n *Node) RemoveRoute(to netip.Prefix) error {
	if err := n.nl.RouteDel(&netlink.Route{Dst: ipNet(to.Masked())}); err != nil {
		return fmt.Errorf("remove route to %v in %s: %w", to, n.Name, err)
	}
	return nil
}

// Sysctl sets a kernel parameter of the node's network, named as the path below
// /proc/sys.
func (n *Node) Sysctl(key, value string) error {
	return n.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
	})
}

// Unplug takes a port off its bridge. Unlike Down it leaves the other end of the
// cable with its carrier: the nodes notice only that nothing arrives any more.
func (n *Node) Unplug(port string) error {
	p, err := n.link(port)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetNoMaster(p); err != nil {
		return fmt.Errorf("unplug %s of %s: %w", port, n.Name, err)
	}
	return nil
}

// Isolate keeps a port of a bridge from all other isolated ones, or no longer:
// such ports reach the bridge, and its other ports, but not each other.
func (n *Node) Isolate(port string, isolated bool) error {
	p, err := n.link(port)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetIsolated(p, isolated); err != nil {
		return fmt.Errorf("isolate %s of %s: %w", port, n.Name, err)
	}
	return nil
}

// Remove removes a link, and with it the other end of its cable. A link that does
// not exist any more is not an error.
func (n *Node) Remove(name string) error {
	l, err := n.link(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return err
	}
	if err := n.nl.LinkDel(l); err != nil {
		return fmt.Errorf("remove %s of %s: %w", name, n.Name, err)
	}
	return nil
}

// Move puts a link, with its end of a cable, into another node.
func (n *Node) Move(name string, to *Node) error {
	l, err := n.link(name)
	if err == nil {
		err = n.nl.LinkSetNsFd(l, to.netns())
	}
	if err != nil {
		return fmt.Errorf("move %s of %s to %s: %w", name, n.Name, to.Name, err)
	}
	return nil
}

// RemoveAddress takes an address from a link.
func (n *Node) RemoveAddress(link string, address netip.Prefix) error {
	l, err := n.link(link)
	if err != nil {
		return err
	}
	if err := n.nl.AddrDel(l, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("remove %v from %s of %s: %w", address, link, n.Name, err)
	}
	return nil
}

// SetHardwareAddress gives a link another MAC address than the random one it has.
func (n *Node) SetHardwareAddress(name string, mac net.HardwareAddr) error {
	l, err := n.link(name)
	if err != nil {
		return err
	}
	if err := n.nl.LinkSetHardwareAddr(l, mac); err != nil {
		return fmt.Errorf("set hardware address of %s of %s: %w", name, n.Name, err)
	}
	return nil
}

// Mute drops everything that n sends to a neighbour on a link, without an error for
// the sender; packets of the neighbour still arrive. Unmute ends it.
func (n *Node) Mute(link string, neighbour netip.Addr) error {
	return n.mute(link, neighbour, n.nl.NeighSet)
}

// Unmute ends Mute.
func (n *Node) Unmute(link string, neighbour netip.Addr) error {
	return n.mute(link, neighbour, n.nl.NeighDel)
}

func (n *Node) mute(link string, neighbour netip.Addr, change func(*netlink.Neigh) error) error {
	l, err := n.link(link)
	if err != nil {
		return err
	}
	if err := change(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, IP: neighbour.AsSlice(), State: netlink.NUD_PERMANENT,
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0xff}, // of no node
	}); err != nil {
		return fmt.Errorf("change neighbour %v on %s of %s: %w", neighbour, link, n.Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

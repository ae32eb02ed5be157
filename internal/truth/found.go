package truth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"berth/vrrp"
)

// loopback proves nothing: services have addresses there for their own ends.
const loopback = "lo"

// Bound tells on which interfaces each address of the host is. Addresses are
// unmapped and have no zone.
type Bound map[netip.Addr][]string

// Has reports whether the address is on any interface but loopback.
func (b Bound) Has(addr netip.Addr) bool {
	return slices.ContainsFunc(b[addr], func(link string) bool { return link != loopback })
}

// Instance is what keepalived's configuration says of a VRRP instance.
type Instance struct {
	Name       string
	Interfaces []string          // its own: the interface, and the VMAC made for it
	Addresses  []vrrp.FloatingIP // its own, not the managed ones
}

// Finding is what the machine shows of an instance.
type Finding uint8

// The findings.
const (
	// Nothing: the machine does not tell; events alone count.
	Nothing Finding = iota
	// Master: all addresses are where they belong.
	Master
	// NotMaster: at least one address is missing, or keepalived denies.
	NotMaster
)

// Examine tells what the machine shows of an instance, and why. dump is
// keepalived's own word, nil where it could not be had. known is set if bound is
// surely of the network in which keepalived runs: else an address that is missing
// proves nothing.
func Examine(in Instance, bound Bound, known bool, dump Dump) (Finding, string) {
	if len(in.Addresses) == 0 {
		return Nothing, "the instance has no addresses of its own"
	}
	for _, ip := range in.Addresses {
		if on, links := in.has(ip, bound); !on {
			reason := fmt.Sprintf("%s is not on %s", ip.Addr(), orAny(links))
			if !known {
				return Nothing, reason + ", but it is not known in which network keepalived runs"
			}
			return NotMaster, reason
		}
	}
	reason := "all its addresses are on this host"
	if dump == nil || !dumpable(in.Name) {
		return Master, reason
	}
	switch state, ok := dump[in.Name]; {
	case !ok:
		return NotMaster, "keepalived's state dump does not have the instance"
	case state != vrrp.Master:
		return NotMaster, "keepalived's state dump calls it " + state.String()
	}
	return Master, reason + " and keepalived's state dump agrees"
}

// has reports whether an address is where it belongs, and on which interfaces
// that would be.
func (in Instance) has(ip vrrp.FloatingIP, bound Bound) (bool, []string) {
	links := in.Interfaces
	if ip.Device != "" {
		links = []string{ip.Device}
	}
	return slices.ContainsFunc(bound[ip.Addr()], func(link string) bool { return link != loopback && slices.Contains(links, link) }), links
}

// Decide tells the state of an instance of which no event can arrive, because
// keepalived does not have the FIFO open that berth reads, and why. The state is
// vrrp.Unknown where the machine does not tell it: then all stays as it is.
// keepalived's own word decides where it can be had, and else the addresses: all
// of them make a MASTER, none of them is the end of one.
func Decide(in Instance, bound Bound, known bool, dump Dump) (vrrp.State, string) {
	if dump != nil && dumpable(in.Name) {
		state, ok := dump[in.Name]
		if !ok {
			return vrrp.Deleted, "keepalived's state dump does not have the instance"
		}
		return state, "keepalived's state dump calls it " + state.String()
	}
	here := 0
	for _, ip := range in.Addresses {
		if on, _ := in.has(ip, bound); on {
			here++
		}
	}
	switch {
	case len(in.Addresses) == 0:
		return vrrp.Unknown, "the instance has no addresses of its own"
	case here == len(in.Addresses):
		return vrrp.Master, "all its addresses are on this host"
	case here == 0 && known:
		return vrrp.Backup, "none of its addresses is on this host"
	}
	return vrrp.Unknown, "a part of its addresses is on this host"
}

// Denies reports whether the dump says that there is no such instance.
func (d Dump) Denies(name string) bool {
	_, ok := d[name]
	return d != nil && !ok && dumpable(name)
}

func orAny(links []string) string {
	if len(links) == 0 {
		return "the interface of the instance, which is not known"
	}
	return strings.Join(links, " or ")
}

// dumpable reports whether keepalived writes the name into its dump as it is:
// it has no means to quote a backslash, and other programs none to read bytes
// that are no text.
func dumpable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || r < ' ' })
}

package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/keepalivedconf"
	"berth/vrrp"
)

// configured is what keepalived's configuration says of a VRRP instance.
type configured struct {
	name       string
	interfaces []string          // its own: the interface, and the VMAC made for it
	addresses  []vrrp.FloatingIP // its own, not the managed ones
}

func configuredOf(in *keepalivedconf.Instance) configured {
	c := configured{name: in.Name, addresses: in.Managed()}
	for _, link := range []string{in.Interface, in.VMAC} {
		if link != "" {
			c.interfaces = append(c.interfaces, link)
		}
	}
	return c
}

// evidence is what the machine shows of an instance.
type evidence uint8

const (
	// nothing: the machine does not tell; events alone count.
	nothing evidence = iota
	// master: all addresses are where they belong.
	master
	// notMaster: at least one address is missing, or keepalived denies.
	notMaster
)

// examine tells what the machine shows of an instance, and why. dump is
// keepalived's own word, nil where it could not be had. known is set if bound is
// surely of the network in which keepalived runs: else an address that is missing
// proves nothing.
func examine(in configured, bound presence.Bound, known bool, dump keepalived.Dump) (evidence, string) {
	if len(in.addresses) == 0 {
		return nothing, "the instance has no addresses of its own"
	}
	for _, ip := range in.addresses {
		if on, links := in.has(ip, bound); !on {
			reason := fmt.Sprintf("%s is not on %s", ip.Addr(), orAny(links))
			if !known {
				return nothing, reason + ", but it is not known in which network keepalived runs"
			}
			return notMaster, reason
		}
	}
	reason := "all its addresses are on this host"
	if !dump.Tells(in.name) {
		return master, reason
	}
	switch state, ok := dump[in.name]; {
	case !ok:
		return notMaster, "keepalived's state dump does not have the instance"
	case state != vrrp.Master:
		return notMaster, "keepalived's state dump calls it " + state.String()
	}
	return master, reason + " and keepalived's state dump agrees"
}

// has reports whether an address is where it belongs, and on which interfaces
// that would be.
func (in configured) has(ip vrrp.FloatingIP, bound presence.Bound) (bool, []string) {
	links := in.interfaces
	if ip.Device != "" {
		links = []string{ip.Device}
	}
	return slices.ContainsFunc(bound[ip.Addr()], func(link string) bool { return link != presence.Loopback && slices.Contains(links, link) }), links
}

// decide tells the state of an instance of which no event can arrive, because
// keepalived does not have the FIFO open that berth reads, and why. The state is
// vrrp.Unknown where the machine does not tell it: then all stays as it is.
// keepalived's own word decides where it can be had, and else the addresses: all
// of them make a MASTER, none of them is the end of one.
func decide(in configured, bound presence.Bound, known bool, dump keepalived.Dump) (vrrp.State, string) {
	if dump.Tells(in.name) {
		state, ok := dump[in.name]
		if !ok {
			return vrrp.Deleted, "keepalived's state dump does not have the instance"
		}
		return state, "keepalived's state dump calls it " + state.String()
	}
	here := 0
	for _, ip := range in.addresses {
		if on, _ := in.has(ip, bound); on {
			here++
		}
	}
	switch {
	case len(in.addresses) == 0:
		return vrrp.Unknown, "the instance has no addresses of its own"
	case here == len(in.addresses):
		return vrrp.Master, "all its addresses are on this host"
	case here == 0 && known:
		return vrrp.Backup, "none of its addresses is on this host"
	}
	return vrrp.Unknown, "a part of its addresses is on this host"
}

func orAny(links []string) string {
	if len(links) == 0 {
		return "the interface of the instance, which is not known"
	}
	return strings.Join(links, " or ")
}

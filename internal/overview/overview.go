// Package overview is what berth show prints: which instances and addresses there are,
// where that stands, and who has each of them. It reads what it is given and asks the
// provider; it changes nothing.
package overview

import (
	"context"
	"fmt"
	"net/netip"

	"berth/internal/keepalived"
	"berth/keepalivedconf"
	"berth/providers"
	"berth/vrrp"
)

// Overview is what a host would manage. The zero value is empty.
type Overview struct {
	// Version is as which version keepalived's configuration was read, nil where there is
	// none to read.
	Version   *keepalived.Version      `json:"keepalived,omitempty"`
	Instances []Instance               `json:"instances"`
	Refused   bool                     `json:"refused"` // keepalived would refuse its configuration
	Refusals  []keepalivedconf.Message `json:"refusals,omitempty"`
	Warnings  []keepalivedconf.Message `json:"warnings"`
}

// Instance is what is known of one instance.
type Instance struct {
	Name        string       `json:"name"`
	Interface   string       `json:"interface"`
	Addresses   []string     `json:"addresses"`
	Excluded    []string     `json:"excluded"`
	Managed     []string     `json:"managed"`
	Immovable   []Immovable  `json:"immovable,omitempty"`
	FloatingIPs []FloatingIP `json:"floating_ips,omitempty"`
	Member      string       `json:"member,omitempty"`         // that owns it in etcd
	Doubled     bool         `json:"doubled_member,omitempty"` // two hosts have that name

	managed []vrrp.FloatingIP // as Managed
}

// Immovable is an address that no provider can move.
type Immovable struct {
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// FloatingIP is what the provider has of an address.
type FloatingIP struct {
	Address string `json:"address"`
	Object  string `json:"object,omitempty"`
	Owner   string `json:"owner"`
}

// Keepalived adds what keepalived's configuration has: all instances, or the named one
// if that is not empty. Where managed is not empty, these addresses are managed for
// each instance, instead of its own.
func (o *Overview) Keepalived(conf *keepalivedconf.Config, managed []vrrp.FloatingIP, instance string) {
	o.Refused, o.Refusals = conf.Refused, conf.Refusals
	o.Warnings = append(o.Warnings, conf.Warnings...)
	for _, in := range conf.Instances {
		if instance != "" && in.Name != instance {
			continue
		}
		ips := managed
		if len(ips) == 0 {
			ips = in.Managed()
		}
		o.add(in.Name, in.Interface, in.Addresses, in.Excluded, ips)
	}
}

// Elected adds an instance for which there is an election.
func (o *Overview) Elected(name, iface string, addresses []vrrp.FloatingIP) {
	o.add(name, iface, addresses, nil, addresses)
}

// Watched adds the addresses that heartbeats decide about: each is an instance, of its
// own name.
func (o *Overview) Watched(addresses []vrrp.FloatingIP) {
	for _, ip := range addresses {
		one := []vrrp.FloatingIP{ip}
		o.add(ip.Addr().String(), "", one, nil, one)
	}
}

// Addresses returns the addresses that a provider can move, in the order of the
// instances.
func (o *Overview) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, in := range o.Instances {
		all = append(all, Addrs(in.managed)...)
	}
	return all
}

// ByInstance returns the addresses that a provider can move, by the names of the
// instances.
func (o *Overview) ByInstance() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, in := range o.Instances {
		all[in.Name] = append(all[in.Name], Addrs(in.managed)...)
	}
	return all
}

// Addrs returns the addresses that a provider can move, without their lengths.
func Addrs(ips []vrrp.FloatingIP) []netip.Addr {
	var all []netip.Addr
	for _, ip := range vrrp.Movable(ips) {
		all = append(all, ip.Addr())
	}
	return all
}

func (o *Overview) add(name, iface string, addresses, excluded, managed []vrrp.FloatingIP) {
	in := Instance{Name: name, Interface: iface, Addresses: texts(addresses), Excluded: texts(excluded), managed: vrrp.Movable(managed)}
	in.Managed = texts(in.managed)
	for _, ip := range managed {
		if why := ip.Immovable(); why != "" {
			in.Immovable = append(in.Immovable, Immovable{ip.String(), why})
		}
	}
	o.Instances = append(o.Instances, in)
}

// Ask adds who has the managed addresses at the provider.
func (o *Overview) Ask(ctx context.Context, p providers.Provider) error {
	addrs := o.Addresses()
	if len(addrs) == 0 {
		return nil
	}
	holders, err := p.Observe(ctx, addrs)
	if err != nil {
		return err
	}
	for i := range o.Instances {
		in := &o.Instances[i]
		for _, ip := range in.managed {
			h := holders[ip.Addr()]
			in.FloatingIPs = append(in.FloatingIPs, FloatingIP{Address: ip.String(), Object: h.Object, Owner: Holder(h)})
		}
	}
	return nil
}

// Holder says for people who has a floating IP.
func Holder(h providers.Holder) string {
	switch h.Kind {
	case providers.NotManaged:
		return "no floating IP of the account"
	case providers.Nobody:
		if h.Assumed {
			return "a server that is not known"
		}
		return "no server"
	case providers.Mine:
		return "this host"
	}
	return h.Owner
}

// Message returns a message about keepalived's configuration with its place.
func Message(m keepalivedconf.Message) string {
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Message)
}

func texts(ips []vrrp.FloatingIP) []string {
	list := make([]string, 0, len(ips)) // [] in JSON, never null
	for _, ip := range ips {
		list = append(list, ip.String())
	}
	return list
}

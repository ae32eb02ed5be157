// Package probe is what the self-test looks at: keepalived's configuration, the
// endpoints of etcd and the addresses at the provider, in the form that the checks of
// package selftest take. Each probe asks once and writes nothing.
package probe

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"berth/election"
	"berth/internal/overview"
	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/providers"
	"berth/selftest"
	"berth/vrrp"
)

// Interfaces returns how a keepalived.conf is told which interfaces there are.
type Interfaces func(*keepalivedconf.Config) func(name string) (mtu int, exists bool)

// Keepalived returns what there is to say of the book's file.
func Keepalived(b *reading.Book, interfaces Interfaces) (selftest.Keepalived, error) {
	conf, note, err := b.File()
	if conf == nil {
		return selftest.Keepalived{}, err
	}
	k := selftest.Keepalived{Path: b.Path, Unloaded: note}
	if conf.Refused {
		k.Refused, k.Unloaded = overview.Message(conf.Refusals[0]), "" // the note says the same
	}
	// A problem of this machine is a warning only: keepalived may run in another
	// network namespace.
	o := b.OptionsNow()
	o.Interfaces = interfaces(conf)
	warnings := conf.Warnings
	if here, err := keepalivedconf.ParseFile(b.Path, o); err == nil {
		warnings = append(slices.Clip(here.Refusals), here.Warnings...)
	}
	for _, w := range warnings {
		if !slices.Contains(conf.Refusals, w) {
			k.Warnings = append(k.Warnings, overview.Message(w))
		}
	}
	for _, in := range conf.Instances {
		k.Instances = append(k.Instances, instance(in))
	}
	return k, nil
}

func instance(in keepalivedconf.Instance) string {
	var addresses []string
	for _, ip := range in.Managed() {
		addresses = append(addresses, ip.String())
	}
	list := strings.Join(addresses, " ")
	for _, s := range []*string{&in.Interface, &list} {
		if strings.TrimSpace(*s) == "" {
			*s = "-"
		}
	}
	return fmt.Sprintf("%s on %s: %s", in.Name, in.Interface, list)
}

// Movable returns what any instance of the host could move at a provider, each address
// once: the managed addresses of the configuration, or, without any, those of the
// book's instances.
func Movable(b *reading.Book, managed []vrrp.FloatingIP) []vrrp.FloatingIP {
	list := managed
	if conf, _ := b.Reading(); len(list) == 0 && conf != nil {
		for _, in := range conf.Instances {
			list = append(list, in.Managed()...)
		}
	}
	seen := map[netip.Addr]bool{}
	var once []vrrp.FloatingIP
	for _, ip := range vrrp.Movable(list) {
		if !seen[ip.Addr()] {
			seen[ip.Addr()] = true
			once = append(once, ip)
		}
	}
	return once
}

// Etcd returns what the endpoints answer, and who owns each instance. places are those of
// instances whose candidates do not stand below the prefix.
func Etcd(ctx context.Context, etcd *election.Etcd, prefix string, places map[string]string) (members []selftest.EtcdMember, owners []string, err error) {
	for _, a := range etcd.Ask(ctx, prefix) {
		members = append(members, selftest.EtcdMember(a))
	}
	if !slices.ContainsFunc(members, func(m selftest.EtcdMember) bool { return m.Err == nil }) {
		return members, nil, nil
	}
	found, err := etcd.Owners(ctx, prefix, places)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		line := fmt.Sprintf("%s is owned by %s", name, found[name].Member)
		if found[name].Doubled {
			line += ", which is the name of two hosts; give each an etcd.member of its own"
		}
		owners = append(owners, line)
	}
	return members, owners, err
}

// FloatingIPs returns who has each address at the provider. The provider is asked also
// without addresses, which proves endpoint and token.
func FloatingIPs(ctx context.Context, p providers.Provider, ips []vrrp.FloatingIP) ([]selftest.FloatingIP, error) {
	var addrs []netip.Addr
	for _, ip := range ips {
		addrs = append(addrs, ip.Addr())
	}
	holders, err := p.Observe(ctx, addrs)
	if err != nil {
		return nil, err
	}
	var list []selftest.FloatingIP
	for _, ip := range ips {
		h := holders[ip.Addr()]
		list = append(list, selftest.FloatingIP{Address: ip.String(), Managed: h.Kind != providers.NotManaged, Owner: overview.Holder(h)})
	}
	return list, nil
}

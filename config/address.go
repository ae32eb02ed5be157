package config

import (
	"net/netip"

	"berth/internal/section"
	"berth/vrrp"
)

// addresses reads a list of addresses. Empty entries are left out.
func addresses(s *section.Section, key string, list []string) []vrrp.FloatingIP {
	var all []vrrp.FloatingIP
	for i, text := range list {
		if text == "" {
			continue
		}
		ip, ok := parseAddress(text)
		if !ok {
			s.RefuseItem(key, i, "", "an IP address such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10")
			continue
		}
		all = append(all, ip)
	}
	return all
}

// parseAddress reads an address with or without a prefix length. Host bits are
// kept; without a length it is /32 or /128.
func parseAddress(text string) (vrrp.FloatingIP, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return vrrp.FloatingIP{Prefix: prefix}, true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return vrrp.FloatingIP{}, false
	}
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, addr.BitLen())}, true
}

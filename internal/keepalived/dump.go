package keepalived

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"berth/vrrp"
)

// Dump is the state of each instance in keepalived's own words, nil where keepalived
// could not be asked.
type Dump map[string]vrrp.State

// Tells reports whether the dump can tell of an instance of this name. It cannot where
// there is none, or where keepalived does not write the name as it is: keepalived has
// no means to quote a backslash, and other programs none to read bytes that are not
// text.
func (d Dump) Tells(name string) bool {
	return d != nil && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || r < ' ' })
}

// Denies reports whether the dump says that there is no such instance.
func (d Dump) Denies(name string) bool {
	_, ok := d[name]
	return d.Tells(name) && !ok
}

// parseStates reads what keepalived writes on its JSON signal: a list of
// instances, or with json_version 2 an object that has the list as "vrrp".
// Other members are ignored.
func parseStates(text []byte) (Dump, error) {
	list, err := parseDump(text)
	if err != nil {
		return nil, err
	}
	d := Dump{}
	for _, in := range list {
		state := vrrp.Unknown // starting, or a number that berth does not know
		switch *in.Data.State {
		case 1:
			state = vrrp.Backup
		case 2:
			state = vrrp.Master
		case 3:
			state = vrrp.Fault
		}
		d[*in.Data.Name] = state
	}
	return d, nil
}

// dumped is an instance in the dump.
type dumped struct {
	Data struct {
		Name     *string  `json:"iname"`
		State    *int     `json:"state"`
		VIPs     []string `json:"vips"`
		Excluded []string `json:"evips"`
	} `json:"data"`
}

func parseDump(text []byte) ([]dumped, error) {
	var list []dumped
	if err := json.Unmarshal(text, &list); err != nil {
		var object struct {
			VRRP []dumped `json:"vrrp"`
		}
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, fmt.Errorf("read keepalived's state dump: %w", err)
		}
		list = object.VRRP
	}
	for _, in := range list {
		if in.Data.Name == nil || in.Data.State == nil {
			return nil, fmt.Errorf("read keepalived's state dump: an instance lacks its name or state")
		}
	}
	return list, nil
}

// parseAddresses reads from the same text the virtual addresses that each
// instance has, bound or not: those of virtual_ipaddress, then those of
// virtual_ipaddress_excluded. keepalived writes each as ip(8) would, as in
// "192.0.2.10/24 dev eth0 scope global set"; a single host has no length.
func parseAddresses(text []byte) (map[string][]vrrp.FloatingIP, error) {
	list, err := parseDump(text)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]vrrp.FloatingIP, len(list))
	for _, in := range list {
		name := *in.Data.Name
		all[name] = nil
		for _, line := range slices.Concat(in.Data.VIPs, in.Data.Excluded) {
			ip, err := parseVIP(line)
			if err != nil {
				return nil, fmt.Errorf("read keepalived's state dump: instance %s: %w", name, err)
			}
			all[name] = append(all[name], ip)
		}
	}
	return all, nil
}

func parseVIP(line string) (vrrp.FloatingIP, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return vrrp.FloatingIP{}, errors.New("an address is empty")
	}
	var ip vrrp.FloatingIP
	var err error
	if ip.Prefix, err = netip.ParsePrefix(words[0]); err != nil {
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			return vrrp.FloatingIP{}, fmt.Errorf("%q is not an address", words[0])
		}
		ip.Prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if n := slices.Index(words, "dev"); n > 0 && n+1 < len(words) {
		ip.Device = words[n+1]
	}
	return ip, nil
}

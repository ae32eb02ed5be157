package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/internal/section"
)

// fillEtcd checks what is said of etcd. It must be complete where something in
// the file needs it.
func fillEtcd(top *section.Section, c *Config) {
	var endpoints []string
	var password string
	e := &c.Etcd
	s := top.Sub("etcd", section.Keys{
		"endpoints":     &endpoints,
		"ca-file":       &e.CAFile,
		"cert-file":     &e.CertFile,
		"key-file":      &e.KeyFile,
		"username":      &e.Username,
		"password":      &password,
		"password-file": &e.PasswordFile,
		"prefix":        &e.Prefix,
		"member":        &e.Member,
		"lease-ttl":     section.Duration{To: &e.LeaseTTL},
	})
	e.Password = Secret(password)
	tls := false
	for i, text := range endpoints {
		if found, ok := isEndpoint(text); !ok {
			s.RefuseItem("endpoints", i, found, "the URL of an etcd member, such as https://192.0.2.1:2379")
			continue
		}
		tls = tls || strings.HasPrefix(text, "https:")
		e.Endpoints = append(e.Endpoints, strings.TrimSuffix(text, "/"))
	}
	s.Path("ca-file", e.CAFile, "/etc/berth/ca.pem")
	s.Path("cert-file", e.CertFile, "/etc/berth/client.pem")
	s.Path("key-file", e.KeyFile, "/etc/berth/client-key.pem")
	s.Path("password-file", e.PasswordFile, "/etc/berth/etcd-password")
	s.Path("prefix", e.Prefix, "/berth/")
	if !strings.HasSuffix(e.Prefix, "/") {
		e.Prefix += "/"
	}
	switch {
	case s.Given("cert-file") && !s.Given("key-file"):
		s.Missing("key-file", "the path of the key of cert-file")
	case s.Given("key-file") && !s.Given("cert-file"):
		s.Missing("cert-file", "the path of the certificate of key-file")
	}
	if !tls && len(e.Endpoints) > 0 && len(e.Endpoints) == len(endpoints) {
		for _, key := range []string{"ca-file", "cert-file"} {
			if s.Given(key) {
				s.Refuse(key, "endpoints without TLS", "endpoints that begin with https://, or leave this key out")
			}
		}
	}
	if !s.Given("username") && (s.Given("password") || s.Given("password-file")) {
		s.Missing("username", "the name of the user whose password is given")
	}
	election := top.Given("election")
	least, why := minFencingTTL, ""
	if election {
		least, why = minElectTTL, ", which an election needs"
	}
	switch {
	case e.LeaseTTL%time.Second != 0:
		s.Refuse("lease-ttl", e.LeaseTTL.String(), "whole seconds, as etcd counts these, such as 6s")
	case e.LeaseTTL < least:
		s.Refuse("lease-ttl", e.LeaseTTL.String(), least.String()+" or more"+why)
	}
	f := top.Sub("fencing", section.Keys{"enabled": &c.Fencing.Enabled, "on-etcd-loss": &c.Fencing.OnEtcdLoss})
	choose(f, &c.Fencing.OnEtcdLoss, Refuse, Allow)
	if (c.Fencing.Enabled || election) && !s.Given("endpoints") {
		s.Missing("endpoints", "the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them")
	}
}

// isEndpoint reports whether a text is the URL of an etcd member; else it says
// what is wrong with a URL, or nothing.
func isEndpoint(text string) (found string, ok bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", false
	case u.User != nil:
		return "a URL with a user or password (etcd.username and etcd.password-file are for these)", false
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "a URL with more than scheme, host and port", false
	case u.Port() == "":
		return "a URL without a port", false
	}
	return "", true
}

// maxInterface is IFNAMSIZ without the final zero, see netdevice(7).
const maxInterface = 15

// interfaceName reports whether an interface can have the name; "" is none.
func interfaceName(name string) bool {
	return len(name) <= maxInterface && !strings.ContainsAny(name, "/ ")
}

// fillElection checks what `berth elect` campaigns for.
func fillElection(top *section.Section, c *Config) {
	e := &c.Election
	s := top.Sub("election", section.Keys{
		"interface":    &e.Interface,
		"on-etcd-loss": &e.OnEtcdLoss,
		"instances":    section.List,
		"announce":     section.Any,
	})
	choose(s, &e.OnEtcdLoss, Free, Keep)
	if !interfaceName(e.Interface) {
		s.Refuse("interface", "", "the name of a network interface, such as eth0")
	}
	a := s.Sub("announce", section.Keys{
		"count":    &e.Announce.Count,
		"interval": section.Duration{To: &e.Announce.Interval},
		"refresh":  section.Duration{To: &e.Announce.Refresh},
	})
	if n := e.Announce.Count; n < 1 || n > 100 {
		a.Refuse("count", "", "a whole number from 1 to 100")
	}
	names, seen := map[string]bool{}, map[netip.Addr]bool{}
	for i := range s.Len("instances") {
		var in ElectionInstance
		var list []string
		item := s.Item("instances", i, section.Keys{"name": &in.Name, "interface": &in.Interface, "addresses": &list})
		if !item.Given("name") {
			item.Missing("name", "a name such as api")
		} else if names[in.Name] {
			item.Refuse("name", "a name that another instance has", "one that none has")
		}
		names[in.Name] = true
		in.Addresses = addresses(item, "addresses", list)
		for _, ip := range in.Addresses {
			if seen[ip.Addr()] {
				item.Refuse("addresses", ip.Addr().String()+" a second time", "each address once")
			}
			seen[ip.Addr()] = true
		}
		if item.Empty("addresses") {
			item.Missing("addresses", "those that have one owner, such as [192.0.2.254]")
		}
		if !item.Given("interface") {
			in.Interface = e.Interface
		} else if !interfaceName(in.Interface) {
			item.Refuse("interface", "", "the name of a network interface, such as eth0")
		}
		e.Instances = append(e.Instances, in)
	}
	if !top.Given("election") {
		return
	}
	refused := top.Given("provider") && c.Provider == ""
	bare := len(e.Instances) == 0 || slices.ContainsFunc(e.Instances, func(in ElectionInstance) bool { return in.Interface == "" })
	if !s.Given("interface") && bare && c.Pointing(false) == Nothing && !refused {
		s.Missing("interface", "the name of the one that gets the addresses, such as eth0")
	}
	if s.Empty("instances") {
		s.Missing("instances", "some, such as [{name: api, addresses: [192.0.2.254]}]")
	}
}

// choose checks on-etcd-loss, whose text stands in its place already.
func choose(s *section.Section, to *string, words ...string) {
	s.Choice("on-etcd-loss", to, *to, words...)
}

package config

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/internal/section"
	"berth/vrrp"

	"gopkg.in/yaml.v3"
)

// fill puts what the document says in the place of the defaults, and returns all
// that is wrong with it.
func fill(c *Config, doc *yaml.Node, o Options) []*section.Problem {
	var provider, listen string
	var managed []string
	keys := section.Keys{
		"lock-file-template":   &c.LockFileTemplate,
		"lock-timeout":         section.Duration{To: &c.LockTimeout},
		"keepalived-config":    &c.KeepalivedConfig,
		"keepalived-config-id": &c.KeepalivedConfigID,
		"keepalived-version":   &c.KeepalivedVersion,
		"keepalived-pid-file":  &c.KeepalivedPIDFile,
		"run-directory":        &c.RunDirectory,
		"log-file":             &c.LogFile,
		"managed-addresses":    &managed,
		"refresh-interval":     section.Duration{To: &c.RefreshInterval},
		"refresh-timeout":      section.Duration{To: &c.RefreshTimeout},
		"back-off":             section.Any,
		"metrics":              section.Any,
		"etcd":                 section.Any,
		"fencing":              section.Any,
		"election":             section.Any,
		"provider":             &provider,
	}
	for name := range o.Sections {
		keys[name] = section.Any
	}
	s := section.Read("", doc, keys)

	s.Path("keepalived-config", c.KeepalivedConfig, "/etc/keepalived/keepalived.conf")
	s.Path("keepalived-pid-file", c.KeepalivedPIDFile, "/run/keepalived.pid")
	s.Path("run-directory", c.RunDirectory, "/run/berth")
	s.Path("log-file", c.LogFile, "/var/log/berth.log or /proc/1/fd/2")
	own := filepath.Join(c.RunDirectory, "lock", "%s.lock")
	if c.OwnLockDirectory = c.LockFileTemplate == "" || c.LockFileTemplate == own; c.OwnLockDirectory {
		c.LockFileTemplate = own
	} else if t := c.LockFileTemplate; strings.Count(t, "%s") != 1 || strings.Count(t, "%") != 1 {
		s.Refuse("lock-file-template", "", "a path with exactly one %s, for the name of the instance, and no other %, such as /run/lock/berth-%s.lock")
	} else {
		s.Path("lock-file-template", t, "/run/lock/berth-%s.lock")
	}
	if v := c.KeepalivedVersion; strings.Trim(v, "0123456789.") != "" || len(v) > 16 {
		s.Refuse("keepalived-version", "", "a version such as 2.2.7")
	}
	if len(o.Sections) > 0 {
		s.Choice("provider", &c.Provider, provider, slices.Sorted(maps.Keys(o.Sections))...)
	} else {
		c.Provider = provider
	}
	fillBackOff(s, c)

	m := s.Sub("metrics", section.Keys{"listen": &listen, "textfile": &c.Metrics.Textfile})
	if listen != "" && !isListen(listen) {
		m.Refuse("listen", "", "an address and a port, such as 127.0.0.1:9100")
	}
	c.Metrics.Listen = listen
	m.Path("textfile", c.Metrics.Textfile, "/var/lib/prometheus/node-exporter/berth.prom")
	// The collector reads no file of another name, and does not say so.
	if file := c.Metrics.Textfile; file != "" && section.IsPath(file) && !strings.HasSuffix(file, ".prom") {
		m.Refuse("textfile", "a path that does not end in .prom", "one that does, such as /var/lib/prometheus/node-exporter/berth.prom")
	}

	// An address that is there twice is moved once, as by floaty.
	seen := map[netip.Addr]bool{}
	for _, ip := range addresses(s, "managed-addresses", managed) {
		if !seen[ip.Addr()] {
			seen[ip.Addr()] = true
			c.ManagedAddresses = append(c.ManagedAddresses, ip)
		}
	}
	fillEtcd(s, c)
	fillElection(s, c)
	all := problemsOf(s.Err())
	for _, name := range slices.Sorted(maps.Keys(o.Sections)) {
		if node := s.Node(name); node != nil {
			all = append(all, problemsOf(o.Sections[name](node))...)
			c.Sections[name] = *node
		}
	}
	return all
}

func fillBackOff(s *section.Section, c *Config) {
	b := &c.BackOff
	sub := s.Sub("back-off", section.Keys{
		"initial-interval": section.Duration{To: &b.InitialInterval},
		"multiplier":       &b.Multiplier,
		"max-interval":     section.Duration{To: &b.MaxInterval},
		"max-elapsed-time": section.Duration{To: &b.MaxElapsedTime, OrZero: true},
	})
	if m := b.Multiplier; !(m >= 1 && m <= 1000) {
		sub.Refuse("multiplier", "", "a number from 1 to 1000")
	}
	if b.InitialInterval <= b.MaxInterval {
		return
	}
	// A file that sets only one of the two must not become invalid by the default
	// of the other; the one it set counts.
	switch {
	case !sub.Given("initial-interval"):
		b.InitialInterval = b.MaxInterval
	case !sub.Given("max-interval"):
		b.MaxInterval = b.InitialInterval
	default:
		sub.Refuse("initial-interval", b.InitialInterval.String(), "no more than back-off.max-interval, which is "+b.MaxInterval.String())
	}
}

// isListen reports whether a text is an address and a port to listen at.
func isListen(text string) bool {
	_, port, err := net.SplitHostPort(text)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n > 0
}

// problemsOf takes joined problems apart.
func problemsOf(err error) []*section.Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*section.Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problemsOf(e)...)
		}
		return all
	}
	if p, ok := errors.AsType[*section.Problem](err); ok {
		return []*section.Problem{p}
	}
	return []*section.Problem{{Text: err.Error()}}
}

// addresses reads a list of addresses. Empty entries say nothing.
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

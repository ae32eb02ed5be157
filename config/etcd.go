package config

import (
	"net/url"
	"os"
	"strings"
	"time"

	"berth/internal/section"
)

// Etcd is where an etcd cluster is, and as which user and member this host speaks
// to it.
type Etcd struct {
	Endpoints    []string
	CAFile       string // instead of the system's authorities
	CertFile     string
	KeyFile      string
	Username     string
	Password     Secret
	PasswordFile string
	Prefix       string // ends in a slash
	Member       string // empty: host name
	LeaseTTL     time.Duration
}

// MemberName returns the name of this host's member: the configured one, or else the
// name of the host, "unknown" if the kernel tells none.
func (e *Etcd) MemberName() string {
	if e.Member != "" {
		return e.Member
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// EtcdPrefix returns the prefix of the elections in etcd, or that of the pool where
// nothing else is in use: then no key outside of it is read.
func (c *Config) EtcdPrefix() string {
	if c.Pool.Enabled && len(c.Election.Instances) == 0 && !c.Fencing.Enabled {
		return c.Pool.Prefix
	}
	return c.Etcd.Prefix
}

// Least lease times, see docs/fencing.md.
const (
	minElectTTL   = 4 * time.Second
	minFencingTTL = 2 * time.Second
)

func defaultEtcd() Etcd { return Etcd{Prefix: "/berth/", LeaseTTL: 6 * time.Second} }

// fillEtcd reads the section, which must be complete where fencing or an election
// needs it; these must have been read.
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
	if password != "" {
		e.Password = Secret(password)
	}
	checkEndpoints(s, e, endpoints)
	s.Path("ca-file", e.CAFile, "/etc/berth/ca.pem")
	s.Path("cert-file", e.CertFile, "/etc/berth/client.pem")
	s.Path("key-file", e.KeyFile, "/etc/berth/client-key.pem")
	s.Path("password-file", e.PasswordFile, "/etc/berth/etcd-password")
	s.Path("prefix", e.Prefix, "/berth/")
	if !strings.HasSuffix(e.Prefix, "/") {
		e.Prefix += "/"
	}
	s.Pair("cert-file", "key-file")
	if !s.Given("username") && (s.Given("password") || s.Given("password-file")) {
		s.Missing("username", "the name of the user whose password is given")
	}
	c.Follow.refuse(s, "endpoints")
	election := (top.Given("election") || c.Pool.Enabled) && !c.Follow.Decides()
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
	if !c.Fencing.Enabled && !election {
		return // the modes that act on keepalived's events do not connect to etcd and start without it
	}
	s.Exclusive("password", "password-file")
	if !s.Given("endpoints") {
		s.MissingFor(neededOn(top, election), "endpoints", "the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them"+c.Follow.needs())
	}
}

// neededOn returns the line of the section, or of what needs it if the file does not
// have it.
func neededOn(top *section.Section, election bool) int {
	switch {
	case top.Node("etcd") != nil:
		return top.Line("etcd")
	case election && top.Node("election") != nil:
		return top.Line("election")
	case election:
		return top.Line("pool")
	}
	return top.Line("fencing")
}

// checkEndpoints takes the endpoints that are URLs of etcd members.
func checkEndpoints(s *section.Section, e *Etcd, list []string) {
	tls := false
	for i, text := range list {
		if found, ok := isEndpoint(text); !ok {
			s.RefuseItem("endpoints", i, found, "the URL of an etcd member, such as https://192.0.2.1:2379")
			continue
		}
		tls = tls || strings.HasPrefix(text, "https:")
		e.Endpoints = append(e.Endpoints, strings.TrimSuffix(text, "/"))
	}
	if tls || len(e.Endpoints) == 0 || len(e.Endpoints) < len(list) {
		return
	}
	for _, key := range []string{"ca-file", "cert-file"} {
		if s.Given(key) {
			s.Refuse(key, "endpoints without TLS", "endpoints that begin with https://, or leave this key out")
		}
	}
}

// isEndpoint reports whether a text is the URL of an etcd member. For a URL that is
// not, found says why.
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

package config

import (
	"net/netip"
	"net/url"
	"strconv"

	"berth/internal/section"
)

// Follow is another system that decides who owns an address, or takes part in that.
type Follow struct{ Patroni Patroni }

// Patroni is the REST interface of Patroni on this host, and the role that is followed.
type Patroni struct {
	Followed   bool
	URL        string // scheme, loopback address and port
	Role       string // Leader, Replica or SyncStandby
	ServerName string // in Patroni's certificate; empty: the address
	CAFile     string // instead of the system's authorities
	CertFile   string
	KeyFile    string
}

// The roles of a host in Patroni's cluster.
const (
	Leader      = "leader"       // Patroni sees to it that there is one
	Replica     = "replica"      // can be true on several hosts
	SyncStandby = "sync-standby" // too
)

// Decides reports whether Patroni decides who owns the instances, so that there is no
// etcd. With another role the election decides, among the hosts that have the role.
func (f *Follow) Decides() bool { return f.Patroni.Followed && f.Patroni.Role == Leader }

// NeedsEtcd reports whether etcd has a part in who owns an address.
func (c *Config) NeedsEtcd() bool {
	return c.Fencing.Enabled || c.Elects() && !c.Follow.Decides()
}

func defaultFollow() Follow {
	return Follow{Patroni{URL: "http://127.0.0.1:8008", Role: Leader}}
}

// fillFollow reads the section. The pool must have been read.
func fillFollow(top *section.Section, c *Config) {
	s := top.Sub("follow", section.Keys{"patroni": section.Any})
	p := &c.Follow.Patroni
	if p.Followed = s.Given("patroni"); !p.Followed {
		if top.Given("follow") && len(top.Node("follow").Content) == 0 { // else another key was found
			s.Missing("patroni", "what is followed, such as {role: leader}")
		}
		return
	}
	role := p.Role
	sub := s.Sub("patroni", section.Keys{
		"url":         &p.URL,
		"role":        &role,
		"server-name": &p.ServerName,
		"ca-file":     &p.CAFile,
		"cert-file":   &p.CertFile,
		"key-file":    &p.KeyFile,
	})
	sub.Choice("role", &p.Role, role, Leader, Replica, SyncStandby)
	sub.Path("ca-file", p.CAFile, "/etc/patroni/ca.pem")
	sub.Path("cert-file", p.CertFile, "/etc/patroni/client.pem")
	sub.Path("key-file", p.KeyFile, "/etc/patroni/client-key.pem")
	sub.Pair("cert-file", "key-file")
	if !top.Given("election") && !c.Pool.Enabled {
		top.MissingFor(top.Line("follow"), "election", "its interface and instances; follow says who owns their addresses")
	}
	u, found := loopbackURL(p.URL)
	if u == nil {
		sub.Refuse("url", found, "a loopback address of Patroni's REST interface, such as http://127.0.0.1:8008; Patroni listens there as well where its restapi.listen is 0.0.0.0:8008")
		return
	}
	p.URL = u.Scheme + "://" + u.Host
	for _, key := range []string{"server-name", "ca-file", "cert-file"} {
		if u.Scheme == "http" && sub.Given(key) {
			sub.Refuse(key, "a url without TLS", "a url that begins with https://, or leave this key out")
		}
	}
}

// loopbackURL returns the URL in a text, if it has a loopback address and a port and
// nothing else. Otherwise found says why not. Another host's Patroni would go on to say
// yes while this host is frozen, and a host name would have to be looked up.
func loopbackURL(text string) (u *url.URL, found string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, ""
	}
	a, err := netip.ParseAddr(u.Hostname())
	port, perr := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.User != nil:
		return nil, "a URL with a user or password (Patroni asks for none at the paths that berth reads)"
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, "a URL with more than scheme, address and port (follow.patroni.role says what is asked)"
	case err != nil:
		return nil, "a URL with a host name"
	case !a.IsLoopback():
		return nil, "a URL with the address of a network (only the Patroni of this host counts)"
	case perr != nil || port == 0:
		return nil, "a URL without a port"
	}
	return u, ""
}

// refuse refuses keys that say what to do about etcd where Patroni decides.
func (f *Follow) refuse(s *section.Section, keys ...string) {
	for _, key := range keys {
		if f.Decides() && s.Given(key) {
			s.Refuse(key, "a key about etcd, although Patroni alone decides (follow.patroni.role is leader)", "no such key, or another role")
		}
	}
}

// needs says why etcd is needed beside a role that does not decide; "" where none is
// followed.
func (f *Follow) needs() string {
	if p := f.Patroni; p.Followed && p.Role != Leader {
		return ", and so does follow.patroni with the role " + p.Role + ", which several hosts can have"
	}
	return ""
}

package config

import (
	"net"
	"net/netip"
	"strings"

	"berth/internal/section"
)

// API is where the management API is served, and to whom.
type API struct {
	Listen       string // address and port; empty: nowhere
	Username     string // empty: without credentials, to this host alone
	Password     Secret
	PasswordFile string
	TLSCertFile  string // with TLSKeyFile; empty: HTTP without TLS
	TLSKeyFile   string
	// ServerNames are names of this server beside those that the server knows by itself. A
	// request for any other name is refused.
	ServerNames []string
}

// fillAPI reads the section.
func fillAPI(top *section.Section, c *Config) {
	a := &c.API
	var password string
	var names []string
	s := top.Sub("api", section.Keys{
		"listen":        &a.Listen,
		"username":      &a.Username,
		"password":      &password,
		"password-file": &a.PasswordFile,
		"tls-cert-file": &a.TLSCertFile,
		"tls-key-file":  &a.TLSKeyFile,
		"server-names":  &names,
	})
	if password != "" {
		a.Password = Secret(password)
	}
	s.Path("password-file", a.PasswordFile, "/etc/berth/api-password")
	s.Path("tls-cert-file", a.TLSCertFile, "/etc/berth/api.pem")
	s.Path("tls-key-file", a.TLSKeyFile, "/etc/berth/api-key.pem")
	s.Pair("tls-cert-file", "tls-key-file")
	s.Exclusive("password", "password-file")
	// Basic authentication separates the two by a colon, see RFC 7617, section 2.
	if strings.ContainsFunc(a.Username, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
		s.Refuse("username", "a name with a colon or a control character", "a name without these, such as admin")
	}
	for i, name := range names {
		if !isServerName(name) {
			s.RefuseItem("server-names", i, "", "the name of a host, such as lb1.example.com, without scheme and port")
			continue
		}
		a.ServerNames = append(a.ServerNames, name)
	}
	credentials := s.Given("username")
	if !credentials && (s.Given("password") || s.Given("password-file")) {
		s.Missing("username", "the name of the user whose password is given")
		credentials = true // the missing name is the one mistake
	}
	switch {
	case a.Listen == "":
	case !isListen(a.Listen):
		s.Refuse("listen", "", "an address and a port, such as 127.0.0.1:1313")
	case !credentials && !isLoopback(a.Listen):
		s.Refuse("listen", "an address that other hosts can reach, without username and password",
			"a loopback address such as 127.0.0.1:1313, or username and password-file as well")
	}
}

// isServerName reports whether a text can be the name of a host.
func isServerName(text string) bool {
	return text != "" && len(text) <= 253 && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// isLoopback reports whether only this host can reach an address and port. The name
// localhost stands for loopback addresses, see RFC 6761, section 6.3; any other name would
// have to be looked up.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"berth/internal/certs"
)

// hosts are the names of this server. A browser that was led here by the name of another
// site, whose DNS gives the address of this server, sends that name (DNS rebinding).
type hosts struct {
	names map[string]bool // as plainHost writes them
	pair  *certs.Pair     // whose names count as well; may be nil
}

func newHosts(o Options, pair *certs.Pair) hosts {
	h := hosts{names: map[string]bool{"localhost": true}, pair: pair}
	all := o.ServerNames
	if name, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(name, ".")
		all = append([]string{name, short}, all...)
	}
	if host, _, err := net.SplitHostPort(o.Listen); err == nil {
		all = append([]string{host}, all...)
	}
	for _, name := range all {
		if name = plainHost(name); name != "" {
			h.names[name] = true
		}
	}
	return h
}

// own reports whether the Host of a request is this server. An address is: a page of
// another site has another origin then. A request of HTTP/1.0 need not have a Host, and no
// browser sends that.
func (h hosts) own(hostport string) bool {
	if hostport == "" {
		return true
	}
	host, _, ok := splitHost(hostport)
	if !ok {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil || h.names[host] {
		return true
	}
	return h.pair != nil && h.pair.Names(host)
}

// splitHost takes a host and an optional port apart. The port of another kind than a number
// is not ok.
func splitHost(hostport string) (host, port string, ok bool) {
	host = hostport
	if inner, bracketed := strings.CutPrefix(hostport, "["); bracketed {
		var rest string
		if host, rest, ok = strings.Cut(inner, "]"); !ok || rest != "" && rest[0] != ':' {
			return "", "", false
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", "", false
		}
		port = strings.TrimPrefix(rest, ":")
	} else if host, port, _ = strings.Cut(hostport, ":"); strings.Contains(port, ":") {
		return "", "", false
	}
	host = plainHost(host)
	return host, port, host != "" && strings.Trim(port, "0123456789") == ""
}

// plainHost returns a name in the one form in which names are compared.
func plainHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isLoopback reports whether only this host can reach an address and port to listen at.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	a, aerr := netip.ParseAddr(host)
	return err == nil && (aerr == nil && a.Unmap().IsLoopback() || plainHost(host) == "localhost")
}

// sameOrigin reports whether a request comes from no page of another site. Browsers send
// an Origin with each write and with what scripts read from other sites, and Sec-Fetch-Site
// with all requests (Fetch Standard; Fetch Metadata Request Headers). Programs send
// neither. Another site may have a link to this server.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		link := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if !link {
			return false
		}
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if len(origins) > 1 || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return false
	}
	if r.TLS != nil && u.Scheme != "https" {
		return false // who is on the network can change such a page
	}
	host, port, ok := splitHost(u.Host)
	own, ownPort, ownOK := splitHost(r.Host)
	usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port == "" {
		port = usual
	}
	if ownPort == "" {
		ownPort = usual // of a proxy that has the TLS
	}
	return ok && ownOK && host == own && port == ownPort
}

package config

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"berth/internal/section"

	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"
)

// fillKind reads the one kind of a check, and returns the name of a check without a name.
func fillKind(item *section.Section, h *Health) (name string) {
	var given []string
	for _, kind := range []string{"http", "tcp", "exec", "postgres", "grpc"} {
		if item.Given(kind) {
			given = append(given, kind)
		}
	}
	switch len(given) {
	case 0:
		item.Missing("http", "what to check: one of http, tcp, exec, postgres and grpc, such as http: {url: \"http://127.0.0.1/\"}")
		return ""
	case 1:
	default:
		item.Exclusive(given[0], given[1])
		return ""
	}
	kind := given[0]
	h.line, h.place = item.Line(kind), item.Name(kind)
	switch kind {
	case "http":
		name = fillHTTP(item, h)
	case "tcp":
		name = fillTCP(item, h)
	case "exec":
		name = fillExec(item, h)
	case "postgres":
		name = fillPostgres(item, h)
	case "grpc":
		name = fillGRPC(item, h)
	}
	if name == "" {
		return ""
	}
	if strings.ContainsFunc(name, unprintable) {
		item.Refuse("name", "a target with characters that cannot be shown", nameWanted)
		return ""
	}
	return shortened(strings.TrimSpace(kind + " " + strings.TrimSpace(name)))
}

// shortened cuts a name that would not fit into a line of a table.
func shortened(name string) string {
	if len(name) > maxName {
		return strings.ToValidUTF8(name[:maxName-3], "") + "..."
	}
	return name
}

func fillHTTP(item *section.Section, h *Health) (name string) {
	var matches string
	c := &HTTPCheck{Method: "GET", Codes: [][2]int{{200, 299}}}
	h.HTTP = c
	s := item.Sub("http", section.Keys{
		"url":              &c.URL,
		"method":           &c.Method,
		"code":             section.Any,
		"contains":         &c.Contains,
		"matches":          &matches,
		"headers":          &c.Headers,
		"ca-file":          &c.CAFile,
		"cert-file":        &c.CertFile,
		"key-file":         &c.KeyFile,
		"follow-redirects": &c.FollowRedirects,
	})
	if !s.Given("url") {
		s.Missing("url", "the URL to ask, such as http://127.0.0.1:8080/healthz")
	}
	target := ""
	if s.Given("url") && !s.Wrong("url") {
		u, found := checkURL(c.URL)
		if u == nil {
			s.Refuse("url", found, "a URL such as http://127.0.0.1:8080/healthz")
		} else {
			// A query may have a key in it.
			target = u.Scheme + "://" + u.Host + u.EscapedPath()
			if !oneUser(u, c.URL) {
				target = " "
			}
			fillTLS(s, c, u.Scheme == "https")
		}
	}
	if !httpguts.ValidHeaderFieldName(c.Method) { // RFC 9110, 9.1: a method is a token, too
		s.Refuse("method", "", "a method of HTTP such as GET or HEAD")
	}
	for _, key := range []string{"contains", "matches"} {
		if c.Method == "HEAD" && s.Given(key) {
			s.Refuse(key, "a text for the body, which an answer to HEAD does not have", "another method, such as GET, or leave this key out")
		}
	}
	fillCodes(s, c)
	if matches != "" {
		var err error
		if c.Matches, err = regexp.Compile(matches); err != nil {
			s.Refuse("matches", "", "a regular expression as RE2 has them, see https://github.com/google/re2/wiki/Syntax")
		}
	}
	for key, value := range c.Headers {
		if !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
			s.RefuseEntry("headers", key, "", "a name and a text of one line, such as Host: api.example.com")
		}
	}
	return target
}

// checkURL returns a URL that can be asked, or what is wrong with it.
func checkURL(text string) (u *url.URL, found string) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, ""
	case u.User != nil:
		return nil, "a URL with a user or password (headers: {Authorization: ...} is for these)"
	case u.Port() != "" && !isPort(u.Port()):
		return nil, "a URL whose port is not a number from 1 to 65535"
	}
	return u, ""
}

func fillTLS(s *section.Section, c *HTTPCheck, tls bool) {
	s.Path("ca-file", c.CAFile, "/etc/berth/ca.pem")
	s.Path("cert-file", c.CertFile, "/etc/berth/client.pem")
	s.Path("key-file", c.KeyFile, "/etc/berth/client-key.pem")
	s.Pair("cert-file", "key-file")
	for _, key := range []string{"ca-file", "cert-file", "key-file"} {
		if !tls && s.Given(key) {
			s.Refuse(key, "a url without TLS", "a url that begins with https://, or leave this key out")
		}
	}
}

// fillCodes reads a status code, a range of them, or a list of both.
func fillCodes(s *section.Section, c *HTTPCheck) {
	node := s.Node("code")
	if node == nil || !s.Given("code") { // a misspelt key may mean it
		return
	}
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		nodes = node.Content
	}
	c.Codes = nil
	if len(nodes) == 0 {
		s.Missing("code", "some, or leave the key out for 200-299")
	}
	for _, n := range nodes {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		first, last, isRange := strings.Cut(n.Value, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(strings.TrimSpace(first))
		to, err2 := strconv.Atoi(strings.TrimSpace(last))
		if n.Kind != yaml.ScalarNode || err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
			s.Refuse("code", "", `a status code from 100 to 599, a range such as "200-299", or a list of these`)
			return
		}
		c.Codes = append(c.Codes, [2]int{from, to})
	}
}

func fillTCP(item *section.Section, h *Health) (name string) {
	c := &TCPCheck{}
	h.TCP = c
	s := item.Sub("tcp", section.Keys{"address": &c.Address, "banner": &c.Banner})
	return fillAddress(s, c.Address, "127.0.0.1:5432")
}

func fillGRPC(item *section.Section, h *Health) (name string) {
	c := &GRPCCheck{}
	h.GRPC = c
	s := item.Sub("grpc", section.Keys{"address": &c.Address, "service": &c.Service})
	name = fillAddress(s, c.Address, "127.0.0.1:50051")
	if name != "" && c.Service != "" {
		name += " " + c.Service
	}
	return name
}

// fillAddress checks the address of a server, and returns it if it is one.
func fillAddress(s *section.Section, address, example string) string {
	if !s.Given("address") {
		s.Missing("address", "host and port, such as "+example)
		return ""
	}
	if path, unix := strings.CutPrefix(address, "unix:"); unix && strings.HasPrefix(path, "/") {
		return address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) || strings.ContainsAny(host, "/ \t\n") {
		s.Refuse("address", "", "host and port such as "+example+", or unix: and an absolute path")
		return ""
	}
	return address
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func fillExec(item *section.Section, h *Health) (name string) {
	c := &ExecCheck{}
	h.Exec = c
	s := item.Sub("exec", section.Keys{"command": &c.Command, "environment": &c.Environment})
	if s.Empty("command") {
		s.Missing("command", "the program and its arguments as a list, such as [/usr/local/bin/healthy]")
		return ""
	}
	if s.Wrong("command") || len(c.Command) == 0 {
		return ""
	}
	if p := c.Command[0]; p == "" || !strings.HasPrefix(p, "/") && strings.Contains(p, "/") {
		s.RefuseItem("command", 0, "", "the absolute path of a program, or its name, which PATH leads to")
		return ""
	}
	for key := range c.Environment {
		if key == "" || strings.ContainsAny(key, "=\x00") {
			s.RefuseEntry("environment", key, "", "variables as NAME: text")
		}
	}
	return c.Command[0] // an argument can be a secret
}

func fillPostgres(item *section.Section, h *Health) (name string) {
	var dsn string
	c := &PostgresCheck{Query: "SELECT 1"}
	h.Postgres = c
	s := item.Sub("postgres", section.Keys{"dsn": &dsn, "dsn-file": &c.DSNFile, "query": &c.Query, "expect": &c.Expect})
	c.DSN = Secret(dsn)
	s.Path("dsn-file", c.DSNFile, "/etc/berth/dsn")
	s.Exclusive("dsn", "dsn-file")
	switch {
	case s.Given("dsn"):
		return " " + database(dsn)
	case s.Given("dsn-file"):
		return c.DSNFile
	}
	s.Missing("dsn", "a connection string such as \"host=/run/postgresql user=berth dbname=postgres\", or dsn-file, the path of a file that has one")
	return ""
}

// database returns the host and the database of a connection string, for a name; it is
// empty where the form of the string leaves a doubt what is a password.
func database(dsn string) string {
	host, name := "", ""
	if u, err := url.Parse(dsn); strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		if err != nil || !oneUser(u, dsn) {
			return ""
		}
		host, name = u.Host, u.Path
	} else {
		if strings.ContainsAny(dsn, `'\`) {
			return ""
		}
		parts := map[string]string{}
		for field := range strings.FieldsSeq(dsn) {
			key, value, _ := strings.Cut(field, "=")
			if key == "" || value == "" { // spaces around the sign, after which a password may come
				return ""
			}
			parts[key] = value
		}
		if parts["port"] != "" {
			parts["host"] += ":" + parts["port"]
		}
		host, name = parts["host"], " "+parts["dbname"]
	}
	// A name of a database can be a connection string to libpq.
	if strings.ContainsAny(host+name, "@=") || strings.Contains(host+name, "://") {
		return ""
	}
	return strings.TrimSpace(host + name)
}

// oneUser reports whether the sign that ends user and password is the only one of its kind
// in the text of a URL: otherwise a password that is not escaped may have been taken for
// a host, a port or a path.
func oneUser(u *url.URL, text string) bool {
	n := strings.Count(text, "@")
	return n == 0 && u.User == nil || n == 1 && u.User != nil
}

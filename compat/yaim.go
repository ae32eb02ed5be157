package compat

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/config"

	"go.uber.org/zap"
)

// yaimVariables are the first letters of the variables that stand before yaim's keys.
const yaimVariables = "YAIM_"

// yaimKeys are the keys of yaim.yml that have a value. yaim reads some with a dash that
// its documentation spells with an underscore, and knows no other spelling.
var yaimKeys = []string{
	"dcs-namespace", "dcs-clustername", "dcs-type", "interval", "ttl", "retry-num", "retry-after",
	"etcd-user", "etcd-password", "etcd-ca-file", "etcd-cert-file", "etcd-key-file",
	"checker-type", "http-url", "http-expected-code", "http-expected-response", "http-expected-response-contains",
	"interface", "netmask", "nodename", "label", "log-level",
}

// yaimLists are the keys that have a list, or a text with commas.
var yaimLists = []string{"dcs-endpoints"}

// Defaults of yaim.
const (
	yaimEndpoint   = "http://127.0.0.1:2379"
	yaimTries      = 3
	yaimRetryAfter = 250
)

// Bounds of the numbers: a day in milliseconds, and what berth takes as a fall.
const (
	maxMilliseconds = 24 * 60 * 60 * 1000
	maxTries        = 100
)

const (
	// minLease is the shortest lease with which the kernel's lifetime of an address can
	// end inside the lease, see docs/fencing.md.
	minLease = 4
	// A check begins no more often than minSpacing, and need not wait longer for yaim's
	// loop than maxLoop.
	minSpacing = 100 * time.Millisecond
	maxLoop    = time.Second
)

// Yaim translates the file at path, a yaim.yml, with the variables of the environment
// that stand before its keys. o has what else a configuration depends on. The error joins
// one *config.Problem for each mistake.
func Yaim(path string, getenv func(string) string, o config.Options) (*Translation, error) {
	text, _, err := config.Read(path)
	if err != nil {
		return nil, err
	}
	return yaim(text, path, getenv, o)
}

// yaim is Yaim with the text of the file.
func yaim(text, path string, getenv func(string) string, o config.Options) (*Translation, error) {
	s, err := readSettings(text, path, yaimVariables, getenv, yaimKeys, yaimLists)
	if err != nil {
		return nil, err
	}
	y := &yaimFile{newDraft(s)}
	file := newBlock()
	o.EtcdPassword = y.etcd(file.block("etcd"))
	file.block("election").text("on-etcd-loss", config.Free)
	y.pool(file.block("pool"))
	file.text("provider", "none")
	y.log()
	if y.t.Text, err = encode(file); err != nil {
		return nil, fmt.Errorf("translate %s: %w", path, err)
	}
	if err := y.t.read(s.problems, o); err != nil {
		return nil, err
	}
	return y.t, nil
}

// yaimFile is a yaim.yml under translation.
type yaimFile struct{ *draft }

// prefix returns the path in etcd below which all keys lie.
func (y *yaimFile) prefix() string {
	prefix := "/"
	for part := range strings.SplitSeq(y.text("dcs-namespace")+"/"+y.text("dcs-clustername"), "/") {
		if part != "" {
			prefix += part + "/"
		}
	}
	return prefix
}

// etcd writes the section, and returns the password, which stands beside the text.
func (y *yaimFile) etcd(to block) (password config.Secret) {
	y.choice("dcs-type", "etcd", "etcd")
	y.endpoints(to)
	y.copy(to, "etcd", "ca-file", "etcd-ca-file")
	y.copy(to, "etcd", "cert-file", "etcd-cert-file")
	y.copy(to, "etcd", "key-file", "etcd-key-file")
	password = y.user(to)
	y.made("etcd.prefix", "dcs-namespace")
	to.text("prefix", y.prefix())
	y.copy(to, "etcd", "member", "nodename")
	y.lease(to)
	return password
}

func (y *yaimFile) endpoints(to block) {
	const key = "dcs-endpoints"
	y.made("etcd.endpoints", key)
	given := y.all[key]
	for part := range strings.SplitSeq(given.value, ",") {
		given.items = append(given.items, item{given.line, part})
	}
	var urls []string
	for _, i := range given.items {
		if u := strings.TrimSpace(i.value); u != "" {
			urls = append(urls, u)
			y.t.origins[fmt.Sprintf("etcd.endpoints, number %d", len(urls))] = origin{name: fmt.Sprintf("%s, number %d", given.name, len(urls)), line: i.line}
		}
	}
	if len(urls) == 0 {
		urls = []string{yaimEndpoint}
	}
	to.list("endpoints", urls)
}

// user writes the name of the user, and returns the password.
func (y *yaimFile) user(to block) (password config.Secret) {
	y.copy(to, "etcd", "username", "etcd-user")
	y.made("etcd.password", "etcd-password")
	const key, elsewhere = "etcd-password", "give systemd the credential etcd.password (LoadCredential=etcd.password:FILE)"
	missing := y.t.origins["etcd.password"]
	missing.want = "it or set YAIM_ETCD_PASSWORD; or " + elsewhere + ", or set BERTH_ETCD_PASSWORD"
	y.t.origins["etcd.password"] = missing
	switch {
	case y.given(key) && !y.given("etcd-user"):
		y.missing("etcd-user", "the name of the user whose password is given")
	case y.given(key):
		password = config.Secret(y.text(key))
		y.note(note{kind: passwordWritten}, key)
	}
	if y.given("etcd-user") {
		to.comment("The password is not shown. In a file of berth, write password-file: FILE here, or\n" + elsewhere + ".")
	}
	return password
}

// lease writes the time to live of the lease, in whole seconds, as etcd counts it.
func (y *yaimFile) lease(to block) {
	y.made("etcd.lease-ttl", "ttl")
	const want = "the time after which a node that has died loses its addresses, in milliseconds, such as 6000"
	if !y.given("ttl") {
		y.missing("ttl", want)
		return
	}
	seconds := y.number("ttl", 0, 1, maxMilliseconds, want) / 1000
	if seconds < minLease {
		y.note(note{ttlRaised, []zap.Field{zap.String("ttl", y.text("ttl")), zap.Int("seconds", minLease)}}, "ttl")
		seconds = minLease
	}
	to.word("lease-ttl", strconv.Itoa(seconds)+"s")
}

func (y *yaimFile) pool(to block) {
	to.word("enabled", "true")
	y.made("pool.interface", "interface")
	if y.text("interface") == "" {
		y.missing("interface", "the name of the network interface that gets the addresses, such as eth0")
	}
	to.text("interface", y.text("interface"))
	y.made("pool.prefix", "dcs-namespace")
	to.text("prefix", y.prefix())
	y.health(to.item("health"))
	const length = "the length of a prefix, such as 32"
	if y.given("netmask") {
		if n := y.number("netmask", 32, 0, 128, length); n != 32 && n != 128 {
			y.note(note{kind: netmaskUnused}, "netmask")
		}
	}
	if y.text("label") != "" {
		y.note(note{kind: labelUnused}, "label")
	}
}

// health writes the check. yaim made it once in each loop, and again after retry_after,
// retry_num times in all, where no answer came. berth makes it at one rhythm.
func (y *yaimFile) health(to block) {
	y.choice("checker-type", "", "http")
	if !y.given("checker-type") {
		y.missing("checker-type", "http")
	}
	http := to.block("http")
	for _, k := range [][2]string{{"url", "http-url"}, {"code", "http-expected-code"}, {"contains", "http-expected-response-contains"}, {"matches", "http-expected-response"}} {
		y.made("pool.health, number 1, http, "+k[0], k[1])
	}
	if !y.given("http-url") {
		y.missing("http-url", "the URL of the health check, such as http://127.0.0.1:8080/health")
	} else if u, err := url.Parse(y.text("http-url")); err == nil && u.User != nil {
		y.refuse("http-url", "a URL with a user or password", "it without these; a file of berth has headers for them, see docs/migrating.md")
	}
	http.text("url", y.text("http-url"))
	if y.given("http-expected-code") {
		http.word("code", strconv.Itoa(y.number("http-expected-code", 200, 100, 599, "a status code of HTTP such as 200")))
	}
	// yaim looks at http-expected-response-contains only without http-expected-response.
	if exact := y.text("http-expected-response"); exact != "" {
		http.text("matches", `\A`+regexp.QuoteMeta(exact)+`\z`)
	} else {
		http.text("contains", y.text("http-expected-response-contains"))
	}
	http.word("follow-redirects", "true")

	const loop = "the time between two rounds of yaim, in milliseconds, such as 1000"
	if !y.given("interval") {
		y.missing("interval", loop)
	}
	interval := milliseconds(y.number("interval", 1000, 1, maxMilliseconds, loop))
	after := milliseconds(y.number("retry-after", yaimRetryAfter, 0, maxMilliseconds, "the time between two attempts of the health check, in milliseconds, such as 250"))
	spacing := max(after, min(interval, maxLoop), minSpacing).String()
	to.word("interval", spacing)
	to.word("timeout", spacing)
	to.word("rise", "1")
	to.word("fall", strconv.Itoa(y.number("retry-num", yaimTries, 1, maxTries, "how many attempts of the health check must fail, from 1 to 100")))
}

func (y *yaimFile) log() {
	level := y.choice("log-level", "info", "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
	y.t.Verbose = level == "trace" || level == "debug"
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

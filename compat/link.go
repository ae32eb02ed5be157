package compat

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/config"

	"go.uber.org/zap"
)

// linkVariables are the variables of LinK's environment that have a meaning in berth.
var linkVariables = []string{
	"INTERFACE", "HOSTNAME", "USER", "PASSWORD", "PORT",
	"ETCD_HOSTS", "ETCD_TLS_CERT", "ETCD_TLS_KEY", "ETCD_CACERT",
	"KEEPALIVE_INTERVAL", "ARP_GRATUITOUS_INTERVAL", "ARP_GRATUITOUS_COUNT", "LOGGER_LEVEL", "LOGGER_TYPE",
	serverNames,
}

// serverNames is a variable of berth's own: LinK served a client whatever name of the host
// was in the URL.
const serverNames = "BERTH_API_SERVER_NAMES"

// linkUnused are the variables of LinK, versions 1 to 3, that have no effect in berth, each
// with the reason.
var linkUnused = [][2]string{
	{"KEEPALIVE_RETRY", "berth counts the time of the lease, and not the attempts to renew it"},
	{"HEALTH_CHECK_INTERVAL", "an address has a healthcheck_interval of its own"},
	{"HEALTH_CHECK_TIMEOUT", "the timeout of a check follows from its interval"},
	{"FAIL_COUNT_BEFORE_FAILOVER", "an address fails after three bad runs of a check in a row"},
	{"PLUGIN_ENSURE_INTERVAL", "berth watches the interface, and binds an address again as soon as it is removed"},
	{"PLUGIN_ENSURE_MAX_BACKOFF_INTERVAL", "berth watches the interface, and binds an address again as soon as it is removed"},
	{"MAX_NUMBER_OF_ENDPOINTS", "a member has 1000 addresses at most"},
	{"SECRET_STORAGE_ENCRYPTION_KEY", "berth stores no secret in etcd"},
	{"SECRET_STORAGE_ALTERNATE_KEYS", "berth stores no secret in etcd"},
	{"OUTSCALE_PUBLIC_IP_REFRESH_INTERVAL", "berth has no plugin for Outscale"},
	{"WEBHOOK_REFRESH_INTERVAL", "an address that is added at run time has no webhook"},
	{"PPROF_ENABLED", "berth shows no profiles"},
	{"ROLLBAR_TOKEN", "berth sends its log to no other server"},
}

// Defaults of LinK, and its rules.
const (
	linkPort      = 1313
	linkKeepalive = 3 * time.Second
	// A lease lasts as long as linkLeases keepalive intervals, cut to whole seconds.
	linkLeases = 5
	// linkPrefix lies below LinK's own directory, so that the etcd user of LinK may use it,
	// and beside all of LinK's keys.
	linkPrefix = "/link/berth/"
)

// maxAnnounce is how often an owner can announce an address, see config.Announce.
const maxAnnounce = 100

// Link translates the environment of LinK. o has what else a configuration depends on. The
// error joins one *config.Problem for each mistake.
func Link(getenv func(string) string, o config.Options) (*Translation, error) {
	l := &linkEnvironment{newDraft(readVariables(getenv, linkVariables)), getenv}
	file := newBlock()
	l.etcd(file.block("etcd"))
	l.election(file.block("election"))
	o.APIPassword = l.api(file.block("api"))
	file.text("provider", "none")
	l.log()
	l.unused()
	var err error
	if l.t.Text, err = encode(file); err != nil {
		return nil, fmt.Errorf("translate the environment: %w", err)
	}
	if err := l.t.read(l.problems, o); err != nil {
		return nil, err
	}
	return l.t, nil
}

// linkEnvironment is an environment of LinK under translation.
type linkEnvironment struct {
	*draft
	getenv func(string) string
}

func (l *linkEnvironment) etcd(to block) {
	l.endpoints(to)
	l.copy(to, "etcd", "ca-file", "ETCD_CACERT")
	l.copy(to, "etcd", "cert-file", "ETCD_TLS_CERT")
	l.copy(to, "etcd", "key-file", "ETCD_TLS_KEY")
	l.want("etcd.cert-file", "the path of the certificate of ETCD_TLS_KEY")
	l.want("etcd.key-file", "the path of the key of ETCD_TLS_CERT")
	to.text("prefix", linkPrefix)
	l.copy(to, "etcd", "member", "HOSTNAME")
	l.lease(to)
}

// want says what to write where a key of berth is missing.
func (l *linkEnvironment) want(berths, text string) {
	from := l.t.origins[berths]
	from.want = text
	l.t.origins[berths] = from
}

// endpoints writes the list. LinK spoke TLS with all members if one URL began with
// https://, and could not read a host and a port alone.
func (l *linkEnvironment) endpoints(to block) {
	l.made("etcd.endpoints", "ETCD_HOSTS")
	all := l.parts("ETCD_HOSTS")
	secure := slices.ContainsFunc(all, func(u string) bool { return strings.HasPrefix(u, "https://") })
	if len(all) == 0 {
		l.missing("ETCD_HOSTS", "the URLs of the etcd members, such as ETCD_HOSTS=http://192.0.2.1:2379,http://192.0.2.2:2379")
		return
	}
	for i, u := range all {
		host, plain := strings.CutPrefix(u, "http://")
		switch {
		case plain && secure, !strings.Contains(u, "://") && (secure || l.given("ETCD_CACERT") || l.given("ETCD_TLS_CERT")):
			all[i] = "https://" + host
		case !strings.Contains(u, "://"):
			all[i] = "http://" + u
		}
	}
	to.list("endpoints", all)
}

// parts returns the parts of a list with commas between them.
func (l *linkEnvironment) parts(key string) (all []string) {
	for part := range strings.SplitSeq(l.text(key), ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// lease writes the time to live of the lease.
func (l *linkEnvironment) lease(to block) {
	const key = "KEEPALIVE_INTERVAL"
	l.made("etcd.lease-ttl", key)
	ttl := linkLeases * l.duration(key, linkKeepalive, time.Millisecond, 24*time.Hour, "a length of time such as KEEPALIVE_INTERVAL=3s")
	seconds := int(ttl / time.Second)
	if seconds < minLease {
		l.note(note{ttlRaised, []zap.Field{zap.String("ttl", ttl.String()), zap.Int("seconds", minLease)}}, key)
		seconds = minLease
	}
	to.word("lease-ttl", strconv.Itoa(seconds)+"s")
}

func (l *linkEnvironment) election(to block) {
	l.made("election.interface", "INTERFACE")
	if !l.given("INTERFACE") {
		l.missing("INTERFACE", "the name of the network interface that gets the addresses, such as INTERFACE=eth0")
	}
	to.text("interface", l.text("INTERFACE"))
	to.text("on-etcd-loss", config.Claim)
	const count, interval = "ARP_GRATUITOUS_COUNT", "ARP_GRATUITOUS_INTERVAL"
	if !l.given(count) && !l.given(interval) {
		return
	}
	announce := to.block("announce")
	if l.given(count) {
		announce.word("count", strconv.Itoa(l.number(count, 1, 1, maxAnnounce, "how often an owner announces an address at first, from 1 to 100, such as "+count+"=3")))
	}
	if l.given(interval) {
		announce.word("interval", l.duration(interval, time.Second, time.Millisecond, 24*time.Hour, "a length of time such as "+interval+"=1s").String())
	}
}

// api writes the section, and returns the password, which stands beside the text. LinK
// listened on all addresses, also without a password; every host of the network could then
// move its addresses.
func (l *linkEnvironment) api(to block) (password config.Secret) {
	port := strconv.Itoa(l.number("PORT", linkPort, 1, 65535, "a port from 1 to 65535, such as PORT=1313"))
	l.made("api.listen", "PORT")
	l.made("api.username", "USER")
	l.made("api.password", "PASSWORD")
	l.made("api.server-names", serverNames)
	if names := l.parts(serverNames); len(names) > 0 {
		to.list("server-names", names)
	}
	const user, key = "USER", "PASSWORD"
	named, given := l.given(user), l.given(key)
	given = given || config.SecretSource{CredentialPrefix: "api.", Getenv: l.getenv}.Provided("password", "BERTH_API_PASSWORD")
	if named && given {
		if l.given(key) {
			password = config.Secret(l.text(key))
			l.note(note{kind: apiPasswordWritten}, key)
		}
		to.text("listen", ":"+port)
		to.text("username", l.text(user))
		to.comment("The password is not shown. In a file of berth, write password-file: FILE here, or\n" +
			"give systemd the credential api.password (LoadCredential=api.password:FILE).")
		return password
	}
	switch {
	case named:
		l.note(note{kind: userWithoutPassword}, user)
	case given:
		l.missing(user, "the name of the user whose password is given, such as USER=link")
	}
	to.text("listen", net.JoinHostPort("127.0.0.1", port))
	to.comment("Without a password the management API serves this host alone; LinK listened on all\n" +
		"addresses. With USER and PASSWORD berth does so too.")
	return ""
}

func (l *linkEnvironment) log() {
	level := l.choice("LOGGER_LEVEL", "info", "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
	l.t.Verbose = level == "trace" || level == "debug"
	l.t.JSONLog = l.choice("LOGGER_TYPE", "text", "text", "json") == "json"
}

// unused notes the variables that are set and have no effect.
func (l *linkEnvironment) unused() {
	for _, v := range linkUnused {
		if l.getenv(v[0]) != "" {
			l.t.notes = append(l.t.notes, note{variableUnused, []zap.Field{zap.String("key", v[0]), zap.String("reason", v[1])}})
		}
	}
}

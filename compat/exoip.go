package compat

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/config"

	"go.uber.org/zap"
)

// ExoipMode is what exoip is asked to do.
type ExoipMode string

// The modes.
const (
	ExoipWatch      ExoipMode = "-W"
	ExoipAssociate  ExoipMode = "-A"
	ExoipDissociate ExoipMode = "-D"
	ExoipValidate   ExoipMode = "-n" // whichever of the others is given, too
)

// Variables of exoip's environment. Its documentation has the first spelling of the address
// to bind to, and its code the second one. The zone is a variable of berth's own, in the
// manner of the others: a stanza of ifupdown has exoscale-zone for it.
const (
	exoipBind, exoipBindTo = "IF_BIND_ADDRESS", "IF_BIND_TO"
	exoipZone              = "IF_EXOSCALE_ZONE"
)

// ExoipFlags are the flags of exoip: those of its documentation, in their order, and those
// of its code.
var ExoipFlags = []Flag{
	{Name: "A", Usage: "associate the elastic IP with this instance, and exit"},
	{Name: "D", Usage: "dissociate the elastic IP from this instance, and exit"},
	{Name: "W", Usage: "watch: exchange heartbeats with the peers; the host with the lowest priority has the elastic IP"},
	{Name: "P", Variables: []string{"IF_HOST_PRIORITY"}, Value: "int", Usage: "priority of this host, from 0 to 255; the lowest wins", Default: "10"},
	{Name: "l", Variables: []string{exoipBind, exoipBindTo}, Value: "string", Usage: "address and port to listen on", Default: ":12345"},
	{Name: "i", Variables: []string{"IF_EXOSCALE_INSTANCE_ID"}, Value: "string", Usage: "id of this instance; without it the one that the metadata service tells"},
	{Name: "p", Variables: []string{"IF_EXOSCALE_PEERS"}, Value: "string", Usage: "peers, with commas between them; the flag may be repeated", Repeated: true},
	{Name: "G", Variables: []string{"IF_EXOSCALE_PEER_GROUP"}, Value: "string", Usage: "security group whose instances are the peers, instead of -p"},
	{Name: "r", Variables: []string{"IF_DEAD_RATIO"}, Value: "int", Usage: "intervals after which a silent peer is dead", Default: "3"},
	{Name: "t", Variables: []string{"IF_ADVERTISEMENT_INTERVAL"}, Value: "int", Usage: "seconds between two heartbeats", Default: "1"},
	{Name: "xi", Variables: []string{"IF_ADDRESS"}, Value: "string", Usage: "elastic IP, an IPv4 address"},
	{Name: "xk", Variables: []string{"IF_EXOSCALE_API_KEY"}, Value: "string", Usage: "key of Exoscale's API", Secret: true},
	{Name: "xs", Variables: []string{"IF_EXOSCALE_API_SECRET"}, Value: "string", Usage: "secret of that key", Secret: true},
	{Name: "xe", Variables: []string{"IF_EXOSCALE_API_ENDPOINT"}, Value: "string", Usage: "URL of the API; without it that of the zone, which the metadata service tells, or " + exoipZone},
	{Name: "n", Usage: "check the configuration and exit"},
	{Name: "v", Usage: "log more"},
	{Name: "O", Usage: "no effect: the log goes to standard error in any case"},
}

// Bounds of exoip's numbers: those of the heartbeat in berth.
const (
	maxExoipPriority = 255
	minExoipRatio    = 2
	maxExoipRatio    = 100
	maxExoipInterval = 60
)

const (
	exoipElastic = "the elastic IP, such as -xi 198.51.100.50, or set IF_ADDRESS"
	exoipPeers   = "the peers, such as -p 192.0.2.11,192.0.2.12, or the security group that they are in, such as -G load-balancer; or set IF_EXOSCALE_PEERS or IF_EXOSCALE_PEER_GROUP"
	// exoipSecrets are the forms in which berth reads the secrets from files.
	exoipSecrets = "the credentials key and secret of systemd (LoadCredential=secret:FILE), or key-file and secret-file in a configuration of berth, which --print-config prints"
)

// Exoip translates a command line of exoip and the environment of that program. o has what
// else a configuration depends on. The error is one of readCommandLine, or joins one
// *config.Problem for each mistake.
func Exoip(args []string, getenv func(string) string, o config.Options) (*Translation, ExoipMode, error) {
	s, err := readCommandLine(args, ExoipFlags, getenv)
	if err != nil {
		return nil, "", err
	}
	if getenv(exoipZone) != "" {
		s.all[exoipZone] = setting{name: exoipZone, path: environment, shown: true, value: getenv(exoipZone)}
		s.printable(exoipZone)
	}
	e := &exoipLine{newCommandLine(s, ExoipFlags, exoipSecrets)}
	e.t.Verbose = e.t.Verbose || e.on("-v")
	mode := e.mode()
	file := newBlock()
	e.address(file, mode)
	file.text("provider", "exoscale")
	o.Secrets = e.exoscale(file.block("exoscale"))
	if e.exclusive(); mode == ExoipWatch {
		e.heartbeat(file.block("heartbeat"))
	}
	e.tell(getenv)
	if e.t.Text, err = encode(file); err != nil {
		return nil, "", fmt.Errorf("translate the command line: %w", err)
	}
	if err := e.t.read(s.problems, o); err != nil {
		return nil, "", err
	}
	if e.on("-n") {
		mode = ExoipValidate
	}
	return e.t, mode, nil
}

// exoipLine is a command line of exoip under translation.
type exoipLine struct{ *draft }

// mode returns which of the three flags is given.
func (e *exoipLine) mode() (mode ExoipMode) {
	const want = "one of -A, which associates the elastic IP with this instance, -D, which dissociates it, and -W, which watches over it"
	for _, m := range []ExoipMode{ExoipAssociate, ExoipDissociate, ExoipWatch} {
		switch {
		case !e.on(string(m)):
		case mode != "":
			e.add(0, string(m), "found beside "+string(mode)+"; write "+want)
			return mode
		default:
			mode = m
		}
	}
	if mode == "" {
		e.add(0, "-W", "missing; write "+want)
	}
	return mode
}

// has reports whether a flag or its variable has a value.
func (e *exoipLine) has(flag string) bool { return e.given(flag) && e.text(flag) != "" }

func (e *exoipLine) address(to block, mode ExoipMode) {
	const key, berths = "-xi", "managed-addresses"
	e.made(berths, key)
	if !e.has(key) {
		e.add(0, key, "missing; write "+exoipElastic)
		return
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(e.text(key), "/32"))
	switch {
	case err == nil && ip.Is6():
		e.refuse(key, "", "an IPv4 address, as exoip has no other; berth watch has IPv6 addresses too, and several of them")
		return
	case err != nil || !ip.IsGlobalUnicast():
		e.refuse(key, "", exoipElastic)
		return
	}
	to.list(berths, []string{ip.String()})
	switch mode {
	case ExoipWatch:
		to.comment("berth watch does with this file what exoip -W does.")
	case ExoipAssociate:
		to.comment("berth associate does with this file what exoip -A does.")
	case ExoipDissociate:
		to.comment("berth dissociate does with this file what exoip -D does.")
	}
}

// exoscale writes the section, and returns the secrets, which stand beside the text.
func (e *exoipLine) exoscale(to block) map[string]config.Secret {
	secrets := map[string]config.Secret{}
	for _, k := range [][3]string{{"key", "-xk", "IF_EXOSCALE_API_KEY"}, {"secret", "-xs", "IF_EXOSCALE_API_SECRET"}} {
		berths := "exoscale." + k[0]
		e.made(berths, k[1])
		from := e.t.origins[berths]
		from.want = "the " + k[0] + " of Exoscale's API, or set " + k[2] + "; or give systemd the credential " + k[0] + " (LoadCredential=" + k[0] + ":FILE)"
		e.t.origins[berths] = from
		if e.has(k[1]) {
			secrets[berths] = config.Secret(e.text(k[1]))
		}
	}
	to.empty("key-file")
	to.comment("The API key and its secret are not shown. Write the paths of files that have them, or\n" +
		"give systemd the credentials key and secret (LoadCredential=secret:FILE).")
	to.empty("secret-file")
	e.copy(to, "exoscale", "fallback-zone", exoipZone)
	e.endpoint(to)
	e.copy(to, "exoscale", "instance-id", "-i")
	return secrets
}

// endpoint writes the URL of the API. exoip spoke the API of CloudStack, which Exoscale has
// retired: a URL of it at Exoscale can only mean the API that Exoscale has now.
func (e *exoipLine) endpoint(to block) {
	const key, berths = "-xe", "exoscale.endpoint"
	text := e.text(key)
	e.made(berths, key)
	if strings.Contains(text, "@") { // a password may stand before it
		from := e.t.origins[berths]
		from.value = ""
		e.t.origins[berths] = from
	}
	u, err := url.Parse(text)
	if err != nil {
		to.text("endpoint", text) // which config.Parse refuses
		return
	}
	host, path := u.Hostname(), strings.TrimRight(u.Path, "/")
	old := strings.HasSuffix(path, "/compute") || strings.HasSuffix(path, "/v1")
	switch ours := strings.HasSuffix(host, ".exoscale.ch") || strings.HasSuffix(host, ".exoscale.com"); {
	case ours && (old || host == "api.exoscale.ch"):
		e.note(note{endpointRetired, []zap.Field{zap.String("endpoint", "https://api-ZONE.exoscale.com/v2")}}, key)
	case old && u.User == nil:
		e.refuse(key, "", "the URL of version 2 of Exoscale's API, such as https://api-ch-gva-2.exoscale.com/v2; the API of CloudStack, which has this path, is retired")
	default:
		to.text("endpoint", text)
	}
}

// exclusive reports that both kinds of peers are given.
func (e *exoipLine) exclusive() {
	if e.has("-p") && e.has("-G") {
		e.wrong("-G", "found beside "+e.all["-p"].name+"; write one of the two: a list of peers, or the security group that they are in")
	}
}

func (e *exoipLine) heartbeat(to block) {
	e.made("heartbeat.listen", "-l")
	to.text("listen", e.listen())
	e.made("heartbeat.interval", "-t")
	seconds := e.whole("-t", 1, 1, maxExoipInterval, "the seconds between two heartbeats, from 1 to 60, such as -t 1")
	to.word("interval", (time.Duration(seconds) * time.Second).String())
	e.made("heartbeat.dead-ratio", "-r")
	to.word("dead-ratio", strconv.Itoa(e.whole("-r", 3, minExoipRatio, maxExoipRatio, "the intervals after which a silent peer is dead, from 2 to 100, such as -r 3")))
	e.made("heartbeat.priority", "-P")
	to.word("priority", strconv.Itoa(e.whole("-P", 10, 0, maxExoipPriority, "a priority from 0 to 255, such as -P 10; the lowest wins")))
	if peers := e.list(); len(peers) > 0 {
		to.list("peers", peers)
	}
	e.copy(to, "heartbeat", "security-group", "-G")
	to.word("release-on-stop", "true")
	to.comment("exoip detaches the elastic IP when it ends; berth does so if no peer lives to take it.")
}

// list returns the peers. Each has the place of its mistakes.
func (e *exoipLine) list() (all []string) {
	const key = "-p"
	e.made("heartbeat.peers", key)
	from := e.t.origins["heartbeat.peers"]
	from.want = exoipPeers
	e.t.origins["heartbeat.peers"] = from
	for part := range strings.SplitSeq(strings.Join(e.each(key), ","), ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
			number := fmt.Sprintf(", number %d", len(all))
			e.t.origins["heartbeat.peers"+number] = origin{name: from.name + number, path: from.path, value: part}
		}
	}
	return all
}

// whole returns a number. For 010 Go's flag package reads 8, and a person 10.
func (e *exoipLine) whole(key string, without, least, most int, want string) int {
	if text := e.text(key); len(text) > 1 && strings.HasPrefix(text, "0") {
		e.refuse(key, "", want)
		return without
	}
	return e.number(key, without, least, most, want)
}

// listen returns address and port. An address alone gets the port of exoip.
func (e *exoipLine) listen() string {
	const key, port = "-l", "12345"
	text := e.text(key)
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), port)
	}
	if n, err := strconv.Atoi(text); err == nil {
		want := "an address and a port, such as :" + port
		if n > 0 && n < 1<<16 {
			want = ":" + text + ", which is that port of all addresses"
		}
		e.refuse(key, "", want)
		return ":" + port
	}
	return text
}

// tell notes what has no effect.
func (e *exoipLine) tell(getenv func(string) string) {
	bind := e.all["-l"]
	if other := getenv(exoipBindTo); bind.name == exoipBind && other != "" && other != bind.value {
		e.note(note{kind: bindTwice}, "-l")
	}
	if e.on("-O") {
		e.note(note{optionUnused, []zap.Field{zap.String("reason", "the log goes to standard error, and without it to the journal or to syslog")}}, "-O")
	}
}

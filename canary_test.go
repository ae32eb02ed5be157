package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// canary is a secret that an operator pasted into the wrong place.
const canary = "eyJhbGci0iJIUzI1NiJ9.S3CRETcanary-7f3a9c"

// everyKey has each key of each section, with a value of its own kind. Names that
// an operator gives, which every command shows, are in shownByDesign.
const everyKey = `lock-file-template: "%[1]s/lock-%%s"
lock-timeout: 20ms
keepalived-config: "%[1]s/keepalived.conf"
keepalived-config-id: id
keepalived-version: 2.2.7
keepalived-pid-file: "%[1]s/pid"
run-directory: "%[1]s/run"
log-file: "%[1]s/log"
managed-addresses: [192.0.2.1]
refresh-interval: 1m
refresh-timeout: 1s
back-off: {initial-interval: 1s, multiplier: 1.1, max-interval: 2s, max-elapsed-time: 0}
metrics: {listen: "127.0.0.1:1", textfile: "%[1]s/berth.prom"}
etcd: {endpoints: ["https://127.0.0.1:1"], ca-file: "", cert-file: "", key-file: "", username: "", password: "", password-file: "", prefix: /x/, member: m, lease-ttl: 6s}
fencing: {enabled: false, on-etcd-loss: refuse}
api: {listen: "127.0.0.1:2", username: u, password: p, password-file: "", tls-cert-file: "", tls-key-file: "", server-names: [lb1]}
provider: %[2]s
cloudscale: {endpoint: "http://127.0.0.1:1", token: t, token-file: "", ca-file: "", server-uuid: "", hostname-to-server-uuid: {}}
exoscale: {endpoint: "http://127.0.0.1:1", zone: ch-gva-2, key: k, key-file: "", secret: s, secret-file: "", ca-file: "", instance-id: "", peers: []}
hetzner: {endpoint: "http://127.0.0.1:1", token: t, token-file: "", ca-file: "", server-id: "1"}
exec: {command: [/bin/false], environment: {}, timeout: 1s, repeat-interval: 5m}
webhook: {url: "http://127.0.0.1:1/", secret: s, secret-file: "", ca-file: "", repeat-interval: 5m}
none: {}
fake: {}
`

// election is the section that everyKey lacks: with it the commands are about
// elections instead of keepalived.
const election = "election: {interface: lo, on-etcd-loss: release, instances: [{name: api, addresses: [192.0.2.1]}], announce: {count: 5, interval: 1s, refresh: 1m}}\n"

// shownByDesign are names that an operator gives to things, so that commands show
// them.
var shownByDesign = []string{"keepalived-config-id", "etcd.member", "etcd.username", "election.name"}

// places returns configurations in each of which value stands in the place of one
// key's value, or beside the keys of one section, by the name of that place.
func places(text, value string) map[string]string {
	all := map[string]string{}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		key, rest, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		with := func(name, changed string) {
			all[name] = strings.Join(lines[:i], "") + changed + "\n" + strings.Join(lines[i+1:], "")
		}
		with(key, key+": "+value)
		inner, isMap := strings.CutPrefix(strings.TrimSuffix(rest, "}\n"), "{")
		if !isMap {
			continue
		}
		with(key+" has more", strings.TrimSuffix(line, "}\n")+strings.Repeat(", ", min(1, len(inner)))+"unknown: "+value+"}")
		for name := range strings.SplitSeq(inner, ": ") {
			name = name[strings.LastIndex(name, " ")+1:]
			name = strings.Trim(name, "{}[]")
			at := strings.Index(inner, name+": ")
			if name == "" || at < 0 {
				continue
			}
			from := at + len(name) + 2
			to := len(inner)
			depth := 0
			for j, r := range inner[from:] {
				if strings.ContainsRune("[{", r) {
					depth++
				} else if strings.ContainsRune("]}", r) {
					depth--
				} else if r == ',' && depth == 0 {
					to = from + j
					break
				}
			}
			with(key+"."+name, key+": {"+inner[:from]+value+inner[to:]+"}")
		}
	}
	return all
}

// No command prints a secret that stands in the place of a value, whether as the
// whole value, as an item, a key or a value below it, or as a part of a URL.
func TestASecretAtAnyWrongKeyIsNeverShown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keepalived.conf"), []byte(oneInstance), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // a relative path must not lead into the source tree
	forms := map[string]string{
		"text":       canary,
		"item":       "[" + canary + "]",
		"map key":    "{" + canary + ": x}",
		"map value":  "{x: " + canary + "}",
		"deep":       "[{x: [" + canary + "]}]",
		"alias":      "*" + canary,
		"tag":        "!" + canary + " x",
		"unfinished": "\"" + canary,
		"user":       "https://root:" + canary + "@127.0.0.1:1/",
		"query":      "https://127.0.0.1:1/?token=" + canary,
		"broken URL": "'https://root:" + canary + "@%zz/'",
		"duration":   canary + "s",
	}
	tried := 0
	try := func(text string, wanted func(section string) bool) {
		for form, value := range forms {
			for place, changed := range places(text, value) {
				section, _, _ := strings.Cut(place, ".")
				section, _, _ = strings.Cut(section, " ")
				if !wanted(section) || slices.Contains(shownByDesign, place) {
					continue
				}
				tried++
				checkSilence(t, dir, place+", "+form, changed)
			}
		}
	}
	for _, provider := range []string{"cloudscale", "exoscale", "hetzner", "exec", "webhook"} {
		try(fmt.Sprintf(everyKey, dir, provider), func(section string) bool { return section == provider })
	}
	clouds := []string{"cloudscale", "exoscale", "hetzner", "exec", "webhook"}
	try(fmt.Sprintf(everyKey, dir, "none"), func(section string) bool { return !slices.Contains(clouds, section) })
	try(fmt.Sprintf(everyKey, dir, "none")+election, func(section string) bool { return section == "election" })
	if tried < 500 {
		t.Errorf("only %d places tried", tried)
	}
	t.Logf("%d places", tried)
}

// checkSilence runs the commands that read a configuration and fails the test if
// one of them prints the secret.
func checkSilence(t *testing.T, dir, what, text string) {
	t.Helper()
	path := filepath.Join(dir, "berth.yml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out output
	commands := [][]string{{"config", "check", path}}
	if berth(t, &out, "config", "check", path) == 0 {
		// The other commands must not show it either where the check accepts it.
		commands = [][]string{{"show", path}, {"--test", path}, {"status", "--run-directory", filepath.Join(dir, "run")},
			{"-v", path, "INSTANCE", "VI_1", "BACKUP", "100"}, {"--json-log", "show", "--offline", path}}
	}
	for _, args := range commands {
		berth(t, &out, args...)
		if strings.Contains(out.String(), "canary") {
			t.Errorf("%s: berth %s shows it:\n%s", what, strings.Join(args, " "), &out)
			return
		}
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && bytes.Contains(log, []byte("canary")) {
		t.Errorf("%s: the log file shows it:\n%s", what, log)
	}
}

// output collects what several goroutines of a program write.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// berth runs the program in this process and returns its exit status.
func berth(t *testing.T, out *output, args ...string) int {
	t.Helper()
	return run(t.Context(), append([]string{"berth"}, args...), func(string) string { return "" }, out, out)
}

package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/config"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"
)

// options know one provider, whose section takes only the key token.
var options = config.Options{Sections: map[string]config.SectionCheck{
	"cloudscale": func(n *yaml.Node) error {
		if n.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value != "token" {
				return fmt.Errorf("line %d: cloudscale: unknown key %q", n.Content[i].Line, n.Content[i].Value)
			}
		}
		return nil
	},
}}

func parse(text string) (*config.Config, error) {
	return config.Parse(strings.NewReader(text), "berth.yml", options)
}

// shown is what of a Config can be compared.
func shown(c *config.Config) string {
	var addrs []string
	for _, a := range c.ManagedAddresses {
		addrs = append(addrs, a.String())
	}
	return fmt.Sprintf("lock %s %v; keepalived %s id=%q version=%q pid=%s; run %s; managed %v; refresh %v/%v; back-off %+v; metrics %+v; provider %q",
		c.LockFileTemplate, c.LockTimeout, c.KeepalivedConfig, c.KeepalivedConfigID, c.KeepalivedVersion, c.KeepalivedPIDFile,
		c.RunDirectory, addrs, c.RefreshInterval, c.RefreshTimeout, c.BackOff, c.Metrics, c.Provider)
}

const defaultsShown = `lock /var/lock/berth-%s.lock 10s; keepalived /etc/keepalived/keepalived.conf id="" version="" pid=/run/keepalived.pid; run /run/berth; managed []; refresh 1m0s/10s; back-off {InitialInterval:1s Multiplier:1.1 MaxInterval:10s MaxElapsedTime:0s}; metrics {Listen: Textfile:}; provider ""`

func TestFilesThatSayNothingHaveTheDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"only a comment":  "# nothing\n",
		"null document":   "null\n",
		"document marker": "---\n",
		"null values":     "lock-timeout:\nback-off:\nmetrics:\nmanaged-addresses:\nprovider: ~\ncloudscale:\nkeepalived-config: null\n",
		"empty values":    "lock-timeout: \"\"\nlock-file-template: ''\nmanaged-addresses: []\nback-off: {}\nprovider: ''\n",
		"null in back-off": `
back-off:
  initial-interval:
  multiplier:
  max-interval: ""
  max-elapsed-time: ~`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(defaultsShown, shown(c)); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryKey(t *testing.T) {
	c, err := parse(`
lock-file-template: /a/%s.x
lock-timeout: 1m30s
keepalived-config: /k
keepalived-config-id: id
keepalived-version: 2.2.7
keepalived-pid-file: /p
run-directory: /r
managed-addresses: [192.0.2.1/24, 192.0.2.2, "2001:db8::1", 192.0.2.1]
refresh-interval: 2m
refresh-timeout: 500ms
back-off: {initial-interval: 2s, multiplier: 2, max-interval: 20s, max-elapsed-time: 0}
metrics: {listen: "[::1]:9100", textfile: /m/berth.prom}
provider: cloudscale
cloudscale: {token: x}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `lock /a/%s.x 1m30s; keepalived /k id="id" version="2.2.7" pid=/p; run /r; managed [192.0.2.1/24 192.0.2.2/32 2001:db8::1/128]; refresh 2m0s/500ms; back-off {InitialInterval:2s Multiplier:2 MaxInterval:20s MaxElapsedTime:0s}; metrics {Listen:[::1]:9100 Textfile:/m/berth.prom}; provider "cloudscale"`
	if diff := cmp.Diff(want, shown(c)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if _, ok := c.Sections["cloudscale"]; !ok {
		t.Error("the provider's section is lost")
	}
}

// etcdOf is a complete section with a lease of this length.
func etcdOf(ttl string) string {
	return "etcd: {endpoints: [\"http://192.0.2.9:2379\"], lease-ttl: " + ttl + "}\n"
}

func TestElection(t *testing.T) {
	c, err := parse(`
etcd: {endpoints: ["https://192.0.2.9:2379/", "https://[2001:db8::9]:2379"], ca-file: /ca, cert-file: /c, key-file: /k, username: u, password: S3CRET, prefix: /x, member: m, lease-ttl: 8s}
fencing: {enabled: true, on-etcd-loss: allow}
election:
  interface: eth1
  on-etcd-loss: keep
  instances: [{name: a b, addresses: [192.0.2.1, "2001:db8::1/64"]}, {name: c, addresses: [192.0.2.3/24]}]
  announce: {count: 2, interval: 3s, refresh: 4s}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `{[https://192.0.2.9:2379 https://[2001:db8::9]:2379] /ca /c /k u *****  /x/ m 8s} {true allow} {eth1 keep [{a b [192.0.2.1/32 2001:db8::1/64]} {c [192.0.2.3/24]}] {2 3s 4s}}`
	if diff := cmp.Diff(want, fmt.Sprint(c.Etcd, c.Fencing, c.Election)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestMistakes(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"unknown key", "a: 1\nlock-timeout: 1s\n", `berth.yml:1: unknown key "a"`},
		{"unknown key in back-off", "back-off:\n  max: 1s\n", `berth.yml:2: unknown key "max"`},
		{"unknown key in a provider's section", "cloudscale:\n  tokn: x\n", `berth.yml:2: cloudscale: unknown key "tokn"`},
		{"all mistakes at once, in the order of lines", "lock-timeout: x\nb: 1\nrefresh-timeout: y\n",
			"berth.yml:1: \"x\" is no duration; write it with its unit, such as 30s or 1m30s\nberth.yml:2: unknown key \"b\"\nberth.yml:3: \"y\" is no duration; write it with its unit, such as 30s or 1m30s"},
		{"key twice", "provider: a\nprovider: b\n", `berth.yml:2: mapping key "provider" already defined at line 1`},
		{"duration without unit", "refresh-interval: 60\n", `berth.yml:1: "60" is no duration; write it with its unit, such as 30s or 1m30s`},
		{"negative duration", "lock-timeout: -1s\n", "berth.yml:1: -1s is negative; a duration is 0 or more"},
		{"duration that must not be 0", "refresh-interval: 0\n", "berth.yml:1: refresh-interval is 0; it must be longer"},
		{"lock template without %s", "lock-file-template: /x\n", `berth.yml:1: lock-file-template "/x" must hold exactly one %s, for the name of the instance, and no other %`},
		{"lock template with two %s", "lock-file-template: /%s%s\n", `berth.yml:1: lock-file-template "/%s%s" must hold exactly one %s, for the name of the instance, and no other %`},
		{"lock template with %d", "lock-file-template: /%s%d\n", `berth.yml:1: lock-file-template "/%s%d" must hold exactly one %s, for the name of the instance, and no other %`},
		{"no address", "managed-addresses:\n  - 192.0.2.1\n  - foo\n", `berth.yml:3: managed-addresses: "foo" is no IP address; write one such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10`},
		{"address with zone", "managed-addresses: ['fe80::1%eth0']\n", `berth.yml:1: managed-addresses: "fe80::1%eth0" is no IP address; write one such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10`},
		{"list where a text is due", "provider: [a]\n", "berth.yml:1: expects text, found a list"},
		{"text where a map is due does not show the text", "back-off: SECRET\n", "berth.yml:1: expects a map, found text"},
		{"multiplier below 1", "back-off: {multiplier: 0.5}\n", "berth.yml:1: back-off.multiplier is 0.5; it must be from 1 to 1000"},
		{"multiplier that is no number", "back-off: {multiplier: .nan}\n", "berth.yml:1: back-off.multiplier is NaN; it must be from 1 to 1000"},
		{"initial interval above the maximum", "back-off: {initial-interval: 5s, max-interval: 2s}\n", "berth.yml:1: back-off.initial-interval 5s is longer than back-off.max-interval 2s"},
		{"unknown key in metrics", "metrics:\n  path: /x\n", `berth.yml:2: unknown key "path"`},
		{"metrics without a port", "metrics: {listen: 127.0.0.1}\n", `berth.yml:1: metrics.listen "127.0.0.1" is no address and port, such as 127.0.0.1:9100`},
		{"metrics at a port that is none", "metrics: {listen: \":70000\"}\n", `berth.yml:1: metrics.listen ":70000" is no address and port, such as 127.0.0.1:9100`},
		{"metrics in a file that nobody would read", "metrics: {textfile: /m/berth.txt}\n", `berth.yml:1: metrics.textfile "/m/berth.txt" must end in .prom`},
		{"fencing without etcd", "fencing: {enabled: true}\n", "berth.yml: etcd.endpoints is missing; fencing and election need it, such as [https://192.0.2.1:2379]"},
		{"endpoint without scheme", "etcd:\n  endpoints: [192.0.2.1:2379]\n", `berth.yml:1: etcd.endpoints: "192.0.2.1:2379" is no URL of an etcd member, such as https://192.0.2.1:2379`},
		{"endpoint with a path", "etcd: {endpoints: [\"http://192.0.2.1:2379/v3\"]}\n", `berth.yml:1: etcd.endpoints: "http://192.0.2.1:2379/v3" is no URL of an etcd member, such as https://192.0.2.1:2379`},
		{"endpoint without a port", "etcd: {endpoints: [\"https://192.0.2.1\"]}\n", `berth.yml:1: etcd.endpoints: "https://192.0.2.1" is no URL of an etcd member, such as https://192.0.2.1:2379`},
		{"instance whose only address says nothing", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, addresses: [\"\"]}]}\n",
			`berth.yml:2: election.instances: "a" has no addresses`},
		{"certificate without key", "etcd: {endpoints: [\"https://192.0.2.1:2379\"], cert-file: /c}\n", "berth.yml:1: etcd: cert-file and key-file go together; one is missing"},
		{"certificate without TLS", "etcd: {endpoints: [\"http://192.0.2.1:2379\"], ca-file: /c}\n", "berth.yml:1: etcd: ca-file and cert-file are for endpoints that begin with https://"},
		{"password without user", "etcd: {password-file: /p}\n", "berth.yml:1: etcd: a password without username"},
		{"lease too short for fencing", "etcd: {lease-ttl: 1s}\n", "berth.yml:1: etcd.lease-ttl is 1s; it must be 2s at least"},
		{"lease too short for an election", etcdOf("3s") + "election: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:1: etcd.lease-ttl is 3s; an election needs 4s at least"},
		{"lease of half a second", "etcd: {lease-ttl: 4500ms}\n", "berth.yml:1: etcd.lease-ttl is 4.5s; etcd counts whole seconds"},
		{"policy that fencing does not have", "fencing: {on-etcd-loss: keep}\n", `berth.yml:1: fencing.on-etcd-loss "keep" is not one of refuse, allow`},
		{"policy that elections do not have", etcdOf("5s") + "election: {interface: eth0, on-etcd-loss: allow, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			`berth.yml:2: election.on-etcd-loss "allow" is not one of release, keep`},
		{"election of nothing", etcdOf("5s") + "election: {interface: eth0}\n",
			"berth.yml:2: election.instances is missing; write one such as {name: api, addresses: [192.0.2.254]}"},
		{"election without interface and provider", etcdOf("5s") + "election: {instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.interface is missing; it is the one that gets the addresses, such as eth0"},
		{"instance without name", etcdOf("5s") + "election: {interface: eth0, instances: [{addresses: [192.0.2.1]}]}\n", "berth.yml:2: election.instances: number 1 has no name"},
		{"instance twice", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}, {name: a, addresses: [192.0.2.2]}]}\n",
			`berth.yml:2: election.instances: "a" is there twice`},
		{"instance without addresses", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a}]}\n", `berth.yml:2: election.instances: "a" has no addresses`},
		{"address in two instances", etcdOf("5s") + "election:\n  interface: eth0\n  instances:\n    - {name: a, addresses: [192.0.2.1]}\n    - {name: b, addresses: [192.0.2.1/24]}\n",
			"berth.yml:2: election.instances: 192.0.2.1 is there twice"},
		{"announcing never", etcdOf("5s") + "election: {interface: eth0, announce: {count: 0}, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.announce.count is 0; it must be from 1 to 100"},
		{"list at the top", "- a\n", "berth.yml:1: the top level is no map; write lines of the form key: value"},
		{"two documents", "provider: a\n---\nprovider: b\n", "berth.yml:2: a second YAML document; berth reads one document per file"},
		{"no YAML", "x: 1\na: b: c\n", "berth.yml:2: mapping values are not allowed in this context"},
		{"too large", "# " + strings.Repeat("x", 1<<20), "berth.yml: larger than 1048576 bytes; this is no berth configuration"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := parse(row.text)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(row.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackOffOfOneKeyIsNotMadeInvalidByTheDefaultOfAnother(t *testing.T) {
	c, err := parse("back-off: {initial-interval: 30s}\n")
	if err != nil || c.BackOff.MaxInterval != 30*time.Second {
		t.Errorf("got %+v, %v; want max-interval 30s", c, err)
	}
	c, err = parse("back-off: {max-interval: 100ms}\n")
	if err != nil || c.BackOff.InitialInterval != 100*time.Millisecond {
		t.Errorf("got %+v, %v; want initial-interval 100ms", c, err)
	}
}

func TestLockFileEscapesTheName(t *testing.T) {
	c, err := parse("lock-file-template: /l/%s.lock\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"VI_1":     "/l/VI_1.lock",
		"-odd":     "/l/-odd.lock",
		"a b":      "/l/a%20b.lock",
		"../../x":  "/l/..%2F..%2Fx.lock",
		"..":       "/l/%2E%2E.lock",
		"%s":       "/l/%25s.lock",
		"\xff\x00": "/l/%FF%00.lock",
	} {
		if got := c.LockFile(name); got != want {
			t.Errorf("lock of %q is %s, want %s", name, got, want)
		}
	}
}

func TestLoadTellsWhoCanReadTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.yml")
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.WriteFile(path, []byte("provider: fake\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, options)
		if err != nil || c.OthersCanRead != want {
			t.Errorf("mode %v: others can read %v, %v; want %v", mode, c.OthersCanRead, err, want)
		}
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "none"), options); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := config.Secret("hunter2")
	j, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zap.Field{zap.Any("s", s), zap.Stringer("t", s), zap.Reflect("r", struct{ S config.Secret }{s})})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%s %v %q %#v %+v", s, s, s, s, struct{ S config.Secret }{s}), string(j), string(y), z.String()} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, config.Stars) {
			t.Errorf("printed %s", text)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", " from-file\n", 0o640)
	open := file("open", "from-file", 0o644)
	empty := file("empty", "\n", 0o600)
	file("token", "from-credentials", 0o400)
	for _, row := range []struct {
		name         string
		inline, file string
		env          map[string]string
		othersRead   bool
		want, err    string
		warned       bool
	}{
		{name: "inline", inline: "x", env: map[string]string{"V": "v"}, want: "x"},
		{name: "inline in a file for everybody", inline: "x", othersRead: true, want: "x", warned: true},
		{name: "file, trimmed", file: good, want: "from-file"},
		{name: "both", inline: "x", file: good, err: "token and token-file are both given; keep one"},
		{name: "file for everybody", file: open, err: "token-file " + open + " can be read by everybody; run: chmod o= " + open},
		{name: "empty file", file: empty, err: "token-file " + empty + " is empty"},
		{name: "missing file", file: dir + "/none", err: "read token-file: open " + dir + "/none: no such file or directory"},
		{name: "directory", file: dir, err: "read token-file: " + dir + " is a directory"},
		{name: "systemd credential", env: map[string]string{"CREDENTIALS_DIRECTORY": dir, "V": "v"}, want: "from-credentials"},
		{name: "no such credential, then the vendor's variable", env: map[string]string{"CREDENTIALS_DIRECTORY": "/none", "V": "v"}, want: "v"},
		{name: "none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			warned := false
			s := config.SecretSource{
				Getenv:         func(k string) string { return row.env[k] },
				OthersCanRead:  row.othersRead,
				InlineReadable: func(string) { warned = true },
			}
			got, err := s.Resolve("token", config.Secret(row.inline), row.file, "V")
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got.Reveal() != row.want || text != row.err || warned != row.warned {
				t.Errorf("got %q, warned %v, error %q; want %q, %v, %q", got.Reveal(), warned, text, row.want, row.warned, row.err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("provider: cloudscale\ncloudscale: {token: x}\n")
	f.Add("back-off: {multiplier: 1e9}\nmanaged-addresses: [::1/0]\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if (c == nil) == (err == nil) {
			t.Errorf("configuration %v and error %v", c, err)
		}
	})
}

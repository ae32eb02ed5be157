package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/config"
	"berth/internal/section"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// options know two providers; the section of one takes only the key token.
var options = config.Options{Sections: map[string]config.SectionCheck{
	"cloudscale": func(n *yaml.Node) error {
		return section.Read("cloudscale", n, section.Keys{"token": new(string)}).Err()
	},
	"none": func(n *yaml.Node) error { return section.Read("none", n, nil).Err() },
}}

func parse(text string) (*config.Config, error) { return parseWith(text, options) }

func parseWith(text string, o config.Options) (*config.Config, error) {
	return config.Parse(text, "berth.yml", o)
}

// shown returns the fields of a Config that can be compared.
func shown(c *config.Config) string {
	var addrs []string
	for _, a := range c.ManagedAddresses {
		addrs = append(addrs, a.String())
	}
	return fmt.Sprintf("lock %s %v; keepalived %s id=%q version=%q pid=%s; run %s log=%q; managed %v; refresh %v/%v; back-off %+v; metrics %+v; provider %q",
		c.LockFileTemplate, c.LockTimeout, c.KeepalivedConfig, c.KeepalivedConfigID, c.KeepalivedVersion, c.KeepalivedPIDFile,
		c.RunDirectory, c.LogFile, addrs, c.RefreshInterval, c.RefreshTimeout, c.BackOff, c.Metrics, c.Provider)
}

const defaultsShown = `lock /run/berth/lock/%s.lock 10s; keepalived /etc/keepalived/keepalived.conf id="" version="" pid=/run/keepalived.pid; run /run/berth log=""; managed []; refresh 1m0s/10s; back-off {InitialInterval:1s Multiplier:1.1 MaxInterval:10s MaxElapsedTime:0s}; metrics {Listen: Textfile:}; provider ""`

func TestFilesWithoutKeysHaveTheDefaults(t *testing.T) {
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
state-directory: /s
log-file: /l
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
	want := `lock /a/%s.x 1m30s; keepalived /k id="id" version="2.2.7" pid=/p; run /r log="/l"; managed [192.0.2.1/24 192.0.2.2/32 2001:db8::1/128]; refresh 2m0s/500ms; back-off {InitialInterval:2s Multiplier:2 MaxInterval:20s MaxElapsedTime:0s}; metrics {Listen:[::1]:9100 Textfile:/m/berth.prom}; provider "cloudscale"`
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

// Without fencing and without an election berth does not connect to etcd.
func TestAnUnusedSectionOfEtcdMayHaveTwoPasswords(t *testing.T) {
	c, err := parse("etcd: {endpoints: [\"http://192.0.2.1:2379\"], username: u, password: S3CRET, password-file: /p}\n")
	if err != nil || c.Etcd.PasswordFile != "/p" {
		t.Errorf("got %v", err)
	}
}

func TestElection(t *testing.T) {
	c, err := parse(`
etcd: {endpoints: ["https://192.0.2.9:2379/", "https://[2001:db8::9]:2379"], ca-file: /ca, cert-file: /c, key-file: /k, username: u, password: S3CRET, prefix: /x, member: m, lease-ttl: 8s}
fencing: {enabled: true, on-etcd-loss: allow}
election:
  interface: eth1
  on-etcd-loss: keep
  instances: [{name: a b, addresses: [192.0.2.1, "2001:db8::1/64"]}, {name: c, key: /c/d, interface: wan0, addresses: [192.0.2.3/24]}]
  announce: {count: 2, interval: 3s, refresh: 4s}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := `{[https://192.0.2.9:2379 https://[2001:db8::9]:2379] /ca /c /k u *****  /x/ m 8s} {true allow} {eth1 keep wait [] [{a b  eth1 [192.0.2.1/32 2001:db8::1/64] []} {c /c/d wan0 [192.0.2.3/24] []}] {2 3s 4s}}`
	if diff := cmp.Diff(want, fmt.Sprint(c.Etcd, c.Fencing, c.Election)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// The candidates stand where those of etcd's own recipe stand for the same name.
func TestTheKeyOfAnInstanceIsTakenAsItIs(t *testing.T) {
	for key, want := range map[string]string{"/govip/": "/govip//", "/govip": "/govip/", "govip": "govip/", "/a//b": "/a//b/", "/": "//", "/berth": "/berth/", "/berths": "/berths/"} {
		text := strings.Replace(etcdOf("5s"), "{", "{prefix: /berth/x, ", 1) + "election: {interface: eth0, instances: [{name: a, key: " + key + ", addresses: [192.0.2.1]}, {name: b, addresses: [192.0.2.2]}]}\n"
		c, err := parse(text)
		if key == "/berth" {
			if err == nil {
				t.Errorf("%s: want a refusal of a key above the prefix", key)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if diff := cmp.Diff(map[string]string{"a": want}, c.Election.Places()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// electedBy is a section of an election on eth0.
const electedBy = "election: {interface: eth0}\n"

func TestPool(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"defaults", electedBy + "pool: {enabled: true}\n", "{true /berth/pool/ eth0 1 []}"},
		{"below a prefix of etcd", "pool: {enabled: true, interface: eth1, weight: 3}\n" + electedBy, "{true /berth/pool/ eth1 3 []}"},
		{"a prefix of its own", electedBy + "pool: {enabled: true, prefix: /service/yaim}\n", "{true /service/yaim/ eth0 1 []}"},
		{"with floating IPs alone", "provider: cloudscale\npool: {enabled: true}\n", "{true /berth/pool/  1 []}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(etcdOf("5s") + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(c.Pool); got != tt.want || !c.Elects() {
				t.Errorf("want %s, got %s, elects %t", tt.want, got, c.Elects())
			}
			if _, ok := c.OnInterfaces()[c.Pool.Interface]; ok != (c.Pool.Interface != "") {
				t.Errorf("want the interface of the pool among all, got %v", c.OnInterfaces())
			}
		})
	}
	if c, err := parse("pool: {weight: 2}\n"); err != nil || c.Elects() {
		t.Errorf("want that a pool that is not enabled needs nothing, got %v", err)
	}
}

const knownKeys = "known are api, back-off, cloudscale, election, etcd, fencing, follow, health, heartbeat, keepalived-config, keepalived-config-id, keepalived-pid-file, " +
	"keepalived-version, lock-file-template, lock-timeout, log-file, managed-addresses, metrics, none, pool, provider, refresh-interval, refresh-timeout, run-directory, state-directory"

// elected is a section of an election with an instance.
const elected = "election: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}]}\n"

// leads is a section that follows Patroni, with these keys.
func leads(keys string) string { return "follow: {patroni: {" + keys + "}}\n" }

const (
	loopback = "; write a loopback address of Patroni's REST interface, such as http://127.0.0.1:8008; Patroni listens there as well where its restapi.listen is 0.0.0.0:8008"
	beside   = "a key about etcd, although Patroni alone decides (follow.patroni.role is leader); write no such key, or another role"
)

func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		decides          bool
	}{
		{"defaults", "follow: {patroni: {}}\n" + elected, "{true http://127.0.0.1:8008 leader    }", true},
		{"TLS", leads(`url: "https://[::1]:8009/", server-name: db1, ca-file: /ca, cert-file: /c, key-file: /k`) + elected,
			"{true https://[::1]:8009 leader db1 /ca /c /k}", true},
		{"a replica", etcdOf("5s") + leads("role: replica") + elected, "{true http://127.0.0.1:8008 replica    }", false},
		{"a synchronous standby in a pool", etcdOf("5s") + leads("role: sync-standby") + "pool: {enabled: true, interface: eth0}\n", "{true http://127.0.0.1:8008 sync-standby    }", false},
		{"nothing", etcdOf("5s") + elected, "{false http://127.0.0.1:8008 leader    }", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(c.Follow.Patroni); got != tt.want || c.Follow.Decides() != tt.decides || c.NeedsEtcd() == tt.decides {
				t.Errorf("want %s, got %s, decides %t, needs etcd %t", tt.want, got, c.Follow.Decides(), c.NeedsEtcd())
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"unknown key", "a: 1\nlock-timeout: 1s\n", `berth.yml:1: unknown key "a"; ` + knownKeys},
		{"unknown key in back-off", "back-off:\n  max: 1s\n", `berth.yml:2: back-off: unknown key "max"; known are initial-interval, max-elapsed-time, max-interval, multiplier`},
		{"unknown key in a provider's section", "cloudscale:\n  tokn: x\n", `berth.yml:2: cloudscale: unknown key "tokn"; did you mean token?`},
		{"all mistakes at once, in the order of lines", "lock-timeout: x\nb: 1\nrefresh-timeout: y\n",
			"berth.yml:1: lock-timeout: found a text of 1 character; write a duration with its unit, such as 30s or 1m30s\nberth.yml:2: unknown key \"b\"; " + knownKeys + "\nberth.yml:3: refresh-timeout: found a text of 1 character; write a duration with its unit, such as 30s or 1m30s"},
		{"key twice", "provider: none\nprovider: none\n", "berth.yml:2: provider: the key is there twice; keep one"},
		{"duration without unit", "refresh-interval: 60\n", "berth.yml:1: refresh-interval: found a number; write a duration with its unit, such as 30s or 1m30s"},
		{"negative duration", "lock-timeout: -1s\n", "berth.yml:1: lock-timeout: found -1s; write a longer duration, such as 30s"},
		{"duration that must not be 0", "refresh-interval: 0\n", "berth.yml:1: refresh-interval: found 0s; write a longer duration, such as 30s"},
		{"lock template without %s", "lock-file-template: /x\n", "berth.yml:1: lock-file-template: found a text of 2 characters; write a path with exactly one %s, for the name of the instance, and no other %, such as /run/lock/berth-%s.lock"},
		{"lock template with two %s", "lock-file-template: /%s%s\n", "berth.yml:1: lock-file-template: found a text of 5 characters; write a path with exactly one %s, for the name of the instance, and no other %, such as /run/lock/berth-%s.lock"},
		{"lock template with %d", "lock-file-template: /%s%d\n", "berth.yml:1: lock-file-template: found a text of 5 characters; write a path with exactly one %s, for the name of the instance, and no other %, such as /run/lock/berth-%s.lock"},
		{"text that is not an address", "managed-addresses:\n  - 192.0.2.1\n  - foo\n", "berth.yml:3: managed-addresses, number 2: found a text of 3 characters; write an IP address such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10"},
		{"address with zone", "managed-addresses: ['fe80::1%eth0']\n", "berth.yml:1: managed-addresses, number 1: found a text of 12 characters; write an IP address such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10"},
		{"list where a text is due", "provider: [a]\n", "berth.yml:1: provider: found a list; write a text"},
		{"text where a map is due does not show the text", "back-off: SECRET\n", "berth.yml:1: back-off: found a text of 6 characters; write keys and values"},
		{"multiplier below 1", "back-off: {multiplier: 0.5}\n", "berth.yml:1: back-off.multiplier: found a number; write a number from 1 to 1000"},
		{"multiplier that is not a number", "back-off: {multiplier: .nan}\n", "berth.yml:1: back-off.multiplier: found a number; write a number from 1 to 1000"},
		{"initial interval above the maximum", "back-off: {initial-interval: 5s, max-interval: 2s}\n", "berth.yml:1: back-off.initial-interval: found 5s; write no more than back-off.max-interval, which is 2s"},
		{"unknown key in metrics", "metrics:\n  path: /x\n", `berth.yml:2: metrics: unknown key "path"; known are listen, textfile`},
		{"metrics without a port", "metrics: {listen: 127.0.0.1}\n", "berth.yml:1: metrics.listen: found a text of 9 characters; write an address and a port, such as 127.0.0.1:9100"},
		{"metrics at a port that does not exist", "metrics: {listen: \":70000\"}\n", "berth.yml:1: metrics.listen: found a text of 6 characters; write an address and a port, such as 127.0.0.1:9100"},
		{"metrics in a file that the collector ignores", "metrics: {textfile: /m/berth.txt}\n", "berth.yml:1: metrics.textfile: found a path that does not end in .prom; write a path that does, such as /var/lib/prometheus/node-exporter/berth.prom"},
		{"fencing without etcd", "fencing: {enabled: true}\n", "berth.yml:1: etcd.endpoints: missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them"},
		{"endpoint without scheme", "etcd:\n  endpoints: [192.0.2.1:2379]\n", "berth.yml:2: etcd.endpoints, number 1: found a text of 14 characters; write the URL of an etcd member, such as https://192.0.2.1:2379"},
		{"endpoint with a path", "etcd: {endpoints: [\"http://192.0.2.1:2379/v3\"]}\n", "berth.yml:1: etcd.endpoints, number 1: found a URL with more than scheme, host and port; write the URL of an etcd member, such as https://192.0.2.1:2379"},
		{"endpoint without a port", "etcd: {endpoints: [\"https://192.0.2.1\"]}\n", "berth.yml:1: etcd.endpoints, number 1: found a URL without a port; write the URL of an etcd member, such as https://192.0.2.1:2379"},
		{"instance whose only address says nothing", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, addresses: [\"\"]}]}\n",
			"berth.yml:2: election.instances, number 1, addresses: missing; write the addresses that have one owner, such as [192.0.2.254]"},
		{"certificate without key", "etcd: {endpoints: [\"https://192.0.2.1:2379\"], cert-file: /c}\n", "berth.yml:1: etcd.key-file: missing; write the path of the key of cert-file"},
		{"certificate without TLS", "etcd: {endpoints: [\"http://192.0.2.1:2379\"], ca-file: /c}\n", "berth.yml:1: etcd.ca-file: found endpoints without TLS; write endpoints that begin with https://, or leave this key out"},
		{"password without user", "etcd: {password-file: /p}\n", "berth.yml:1: etcd.username: missing; write the name of the user whose password is given"},
		{"lease too short for fencing", "etcd: {lease-ttl: 1s}\n", "berth.yml:1: etcd.lease-ttl: found 1s; write 2s or more"},
		{"lease too short for an election", etcdOf("3s") + "election: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:1: etcd.lease-ttl: found 3s; write 4s or more, which an election needs"},
		{"lease of half a second", "etcd: {lease-ttl: 4500ms}\n", "berth.yml:1: etcd.lease-ttl: found 4.5s; write whole seconds, as etcd counts these, such as 6s"},
		{"policy that fencing does not have", "fencing: {on-etcd-loss: keep}\n", "berth.yml:1: fencing.on-etcd-loss: found a text of 4 characters; write one of refuse, allow"},
		{"policy that elections do not have", etcdOf("5s") + "election: {interface: eth0, on-etcd-loss: allow, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.on-etcd-loss: found a text of 5 characters; write one of release, keep, claim"},
		{"an end without etcd beside a policy that goes on without it", etcdOf("5s") + "election: {interface: eth0, on-etcd-loss: claim, without-etcd: exit, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.without-etcd: found exit beside on-etcd-loss: claim, which goes on without etcd; write wait, or on-etcd-loss: release"},
		{"key of an instance below the prefix", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, key: /berth/elections/a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.instances, number 1, key: found a key that lies below etcd.prefix, or the other way round; write a key of its own, such as /other/place, or leave the key out"},
		{"key of an instance that is the prefix", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, key: /berth, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.instances, number 1, key: found a key that lies below etcd.prefix, or the other way round; write a key of its own, such as /other/place, or leave the key out"},
		{"key of an instance above the prefix", strings.Replace(etcdOf("5s"), "{", "{prefix: /a/b, ", 1) + "election: {interface: eth0, instances: [{name: a, key: /a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.instances, number 1, key: found a key that lies below etcd.prefix, or the other way round; write a key of its own, such as /other/place, or leave the key out"},
		{"key of an instance within the pool", etcdOf("5s") + "pool: {enabled: true, prefix: /pool}\nelection: {interface: eth0, instances: [{name: a, key: /pool/a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:3: election.instances, number 1, key: found a key that lies below pool.prefix, or the other way round; write a key of its own, such as /other/place, or leave the key out"},
		{"two instances with one key", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, key: /x, addresses: [192.0.2.1]}, {name: b, key: /x/, addresses: [192.0.2.2]}]}\n",
			"berth.yml:2: election.instances, number 2, key: found the key of instance a, or one that lies below it or above; write a key of its own"},
		{"an instance that is called like an address of the pool", etcdOf("5s") + "pool: {enabled: true, prefix: /berth}\nelection: {interface: eth0, instances: [{name: 192.0.2.9, addresses: [192.0.2.1]}]}\n",
			"berth.yml:3: election.instances, number 1, name: found an address, beside a pool below the same prefix; write another name, or a pool.prefix that is not etcd.prefix"},
		{"election of nothing", etcdOf("5s") + "election: {interface: eth0}\n",
			"berth.yml:2: election.instances: missing; write some, such as [{name: api, addresses: [192.0.2.254]}]"},
		{"election without interface and provider", etcdOf("5s") + "election: {instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.interface: missing; write the name of the network interface that gets the addresses, such as eth0"},
		{"election with an interface for one instance of two", etcdOf("5s") + "election: {instances: [{name: a, interface: eth0, addresses: [192.0.2.1]}, {name: b, addresses: [192.0.2.2]}]}\n",
			"berth.yml:2: election.interface: missing; write the name of the network interface that gets the addresses, such as eth0"},
		{"instance on an interface that no kernel has", etcdOf("5s") + "election: {instances: [{name: a, interface: a/b, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.instances, number 1, interface: found a text of 3 characters; write the name of a network interface, such as eth0"},
		{"instance without name", etcdOf("5s") + "election: {interface: eth0, instances: [{addresses: [192.0.2.1]}]}\n", "berth.yml:2: election.instances, number 1, name: missing; write a name such as api"},
		{"instance twice", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}, {name: a, addresses: [192.0.2.2]}]}\n",
			"berth.yml:2: election.instances, number 2, name: found a name that another instance has; write a name of its own"},
		{"instance without addresses", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a}]}\n", "berth.yml:2: election.instances, number 1, addresses: missing; write the addresses that have one owner, such as [192.0.2.254]"},
		{"address in two instances", etcdOf("5s") + "election:\n  interface: eth0\n  instances:\n    - {name: a, addresses: [192.0.2.1]}\n    - {name: b, addresses: [192.0.2.1/24]}\n",
			"berth.yml:6: election.instances, number 2, addresses: found 192.0.2.1 a second time; write each address once"},
		{"announcing never", etcdOf("5s") + "election: {interface: eth0, announce: {count: 0}, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.announce.count: found a number; write a whole number from 1 to 100"},
		{"provider that is misspelt", "provider: Clodscale\n", `berth.yml:1: provider: found "Clodscale"; write one of cloudscale, none`},
		{"token as the provider", "provider: 5up3rS3cretT0ken\n", "berth.yml:1: provider: found a text of 16 characters; write one of cloudscale, none"},
		{"token as a key", "5up3rS3cretT0ken: x\n", "berth.yml:1: unknown key (a text of 16 characters); " + knownKeys},
		{"token as an alias", "provider: *5up3rS3cretT0ken\n", "berth.yml:1: an alias of an anchor that the file does not have; a value with other characters than letters and digits may need quotes around it"},
		{"token as a file", "keepalived-config: 5up3rS3cretT0ken\n", "berth.yml:1: keepalived-config: found a text of 16 characters; write a path such as /etc/keepalived/keepalived.conf"},
		{"endpoint with a password", "etcd: {endpoints: [\"https://root:secret@192.0.2.1:2379\"]}\n",
			"berth.yml:1: etcd.endpoints, number 1: found a URL with a user or password (etcd.username and etcd.password-file are for these); write the URL of an etcd member, such as https://192.0.2.1:2379"},
		{"endpoint with a password in its query", "etcd: {endpoints: [\"https://192.0.2.1:2379?password=secret\"]}\n",
			"berth.yml:1: etcd.endpoints, number 1: found a URL with more than scheme, host and port; write the URL of an etcd member, such as https://192.0.2.1:2379"},
		{"wrong endpoints are not missing as well", "etcd: {endpoints: none}\nfencing: {enabled: true}\n", "berth.yml:1: etcd.endpoints: found a text of 4 characters; write a list"},
		{"wrong instances are not missing as well", etcdOf("5s") + "election: {interface: eth0, instances: none}\n", "berth.yml:2: election.instances: found a text of 4 characters; write a list"},
		{"wrong addresses are not missing as well", etcdOf("5s") + "election: {interface: eth0, instances: [{name: a, addresses: none}]}\n",
			"berth.yml:2: election.instances, number 1, addresses: found a text of 4 characters; write a list"},
		{"after a wrong provider it is unknown whether an interface is missing", etcdOf("5s") + "provider: hetzner\nelection: {instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: provider: found a text of 7 characters; write one of cloudscale, none"},
		{"endpoints of an election without an etcd section are missing where the election stands", "provider: none\nelection: {interface: eth0, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: etcd.endpoints: missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them"},
		{"pool without etcd", "pool: {enabled: true, interface: eth0}\n",
			"berth.yml:1: etcd.endpoints: missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them"},
		{"pool without interface and provider", etcdOf("5s") + "pool: {enabled: true}\n",
			"berth.yml:2: pool.interface: missing; write the name of the network interface that gets the addresses, such as eth0"},
		{"pool with a short lease", etcdOf("3s") + "pool: {enabled: true, interface: eth0}\n", "berth.yml:1: etcd.lease-ttl: found 3s; write 4s or more, which an election needs"},
		{"member of a pool without weight", etcdOf("5s") + "pool: {enabled: true, interface: eth0, weight: 0}\n",
			"berth.yml:2: pool.weight: found a number; write a whole number from 1 to 1000; a drained member has no addresses (berth pool drain)"},
		{"pool among the keys of the elections", etcdOf("5s") + "pool: {enabled: true, interface: eth0, prefix: /berth/elections/pool}\n",
			"berth.yml:2: pool.prefix: found a path below that of the elections; write a path of its own, such as /berth/pool/, or leave the key out"},
		{"pool among the keys of members", etcdOf("5s") + "pool: {enabled: true, interface: eth0, prefix: /berth/members/}\n",
			"berth.yml:2: pool.prefix: found a path below that of the elections; write a path of its own, such as /berth/pool/, or leave the key out"},
		{"pool among the keys of addresses that are added", etcdOf("5s") + "pool: {enabled: true, interface: eth0, prefix: /berth/added}\n",
			"berth.yml:2: pool.prefix: found a path below that of the elections; write a path of its own, such as /berth/pool/, or leave the key out"},
		{"instance with the name of the pool", etcdOf("5s") + "pool: {enabled: true}\nelection: {interface: eth0, instances: [{name: pool, addresses: [192.0.2.1]}]}\n",
			"berth.yml:3: election.instances, number 1, name: found the name that the pool has in status and log; write another name, or leave pool.enabled out"},
		{"follow without an election", "follow: {patroni: {role: leader}}\n", "berth.yml:1: election: missing; write its interface and instances; follow says who owns their addresses"},
		{"follow without what", etcdOf("5s") + "follow: {}\n" + elected, "berth.yml:2: follow.patroni: missing; write what is followed, such as {role: leader}"},
		{"follow another", etcdOf("5s") + "follow: {stolon: {}}\n" + elected, `berth.yml:2: follow: unknown key "stolon"; known are patroni`},
		{"role that Patroni does not have", leads("role: master") + elected, "berth.yml:1: follow.patroni.role: found a text of 6 characters; write one of leader, replica, sync-standby"},
		{"Patroni of another host", leads(`url: "http://192.0.2.1:8008"`) + elected, "berth.yml:1: follow.patroni.url: found a URL with the address of a network (only the Patroni of this host counts)" + loopback},
		{"Patroni by name", leads(`url: "http://localhost:8008"`) + elected, "berth.yml:1: follow.patroni.url: found a URL with a host name" + loopback},
		{"Patroni without a port", leads(`url: "http://127.0.0.1"`) + elected, "berth.yml:1: follow.patroni.url: found a URL without a port" + loopback},
		{"Patroni with a path", leads(`url: "http://127.0.0.1:8008/leader"`) + elected, "berth.yml:1: follow.patroni.url: found a URL with more than scheme, address and port (follow.patroni.role says what is asked)" + loopback},
		{"Patroni with a password", leads(`url: "http://u:S3CRET@127.0.0.1:8008"`) + elected, "berth.yml:1: follow.patroni.url: found a URL with a user or password (Patroni asks for none at the paths that berth reads)" + loopback},
		{"Patroni by something else", leads("url: S3CRET") + elected, "berth.yml:1: follow.patroni.url: found a text of 6 characters" + loopback},
		{"certificate without TLS", leads("ca-file: /ca, server-name: db") + elected, "berth.yml:1: follow.patroni.server-name: found a url without TLS; write a url that begins with https://, or leave this key out\n" +
			"berth.yml:1: follow.patroni.ca-file: found a url without TLS; write a url that begins with https://, or leave this key out"},
		{"certificate of a client without key", leads(`url: "https://127.0.0.1:8008", cert-file: /c`) + elected, "berth.yml:1: follow.patroni.key-file: missing; write the path of the key of cert-file"},
		{"policy for etcd where Patroni decides", leads("role: leader") + "election: {interface: eth0, on-etcd-loss: keep, instances: [{name: a, addresses: [192.0.2.1]}]}\n", "berth.yml:2: election.on-etcd-loss: found " + beside},
		{"etcd where Patroni decides", leads("role: leader") + etcdOf("5s") + elected, "berth.yml:2: etcd.endpoints: found " + beside},
		{"pool where Patroni decides", leads("role: leader") + "pool: {enabled: true}\n" + elected, "berth.yml:2: pool.enabled: found " + beside},
		{"fencing where Patroni decides", leads("role: leader") + "fencing: {enabled: true}\n" + elected, "berth.yml:2: fencing.enabled: found " + beside},
		{"fencing where Patroni decides, with etcd", leads("role: leader") + etcdOf("3s") + "fencing: {enabled: true}\n" + elected,
			"berth.yml:2: etcd.endpoints: found " + beside + "\nberth.yml:3: fencing.enabled: found " + beside},
		{"checks of instances without instances", etcdOf("5s") + "pool: {enabled: true}\nelection: {interface: eth0, health: [{tcp: {address: \"h:1\"}}]}\n",
			"berth.yml:3: election.health: found the checks of instances, of which there are none; write these below pool.health, or below health at the top of the file"},
		{"checks of instances with a list of none", etcdOf("5s") + "pool: {enabled: true}\nelection: {interface: eth0, instances: [], health: [{tcp: {address: \"h:1\"}}]}\n",
			"berth.yml:3: election.health: found the checks of instances, of which there are none; write these below pool.health, or below health at the top of the file"},
		{"checks beside misspelt instances", etcdOf("5s") + "pool: {enabled: true}\nelection: {interface: eth0, instance: [{name: a, addresses: [192.0.2.1]}], health: [{tcp: {address: \"h:1\"}}]}\n",
			`berth.yml:3: election: unknown key "instance"; did you mean instances?`},
		{"replica without etcd", leads("role: replica") + elected,
			"berth.yml:2: etcd.endpoints: missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them, and so does follow.patroni with the role replica, which several hosts can have"},
		{"sync-standby in a pool without etcd", leads("role: sync-standby") + "pool: {enabled: true, interface: eth0}\n",
			"berth.yml:2: etcd.endpoints: missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]; fencing and elections need them, and so does follow.patroni with the role sync-standby, which several hosts can have"},
		{"misspelt endpoints are not missing as well", "etcd: {endpoint: [\"http://192.0.2.1:2379\"]}\nfencing: {enabled: true}\n", `berth.yml:1: etcd: unknown key "endpoint"; did you mean endpoints?`},
		{"misspelt instances are not missing as well", etcdOf("5s") + "election: {interface: eth0, instance: [{name: a, addresses: [192.0.2.1]}]}\n", `berth.yml:2: election: unknown key "instance"; did you mean instances?`},
		{"misspelt etcd is not missing as well", "etc: {endpoints: [\"http://192.0.2.1:2379\"]}\nfencing: {enabled: true}\n", `berth.yml:1: unknown key "etc"; did you mean etcd?`},
		{"etcd that is a text misses no endpoints", "etcd: here\nfencing: {enabled: true}\n", "berth.yml:1: etcd: found a text of 4 characters; write keys and values"},
		{"endpoint that is a list is told once", "etcd: {endpoints: [[a]]}\n", "berth.yml:1: etcd.endpoints, number 1: found a list; write a text"},
		{"wrong initial interval is told once", "back-off: {initial-interval: x, max-interval: 100ms}\n", "berth.yml:1: back-off.initial-interval: found a text of 1 character; write a duration with its unit, such as 30s or 1m30s"},
		{"wrong maximum is told once", "back-off: {initial-interval: 1m, max-interval: x}\n", "berth.yml:1: back-off.max-interval: found a text of 1 character; write a duration with its unit, such as 30s or 1m30s"},
		{"password twice", "etcd: {endpoints: [\"http://192.0.2.1:2379\"], username: u, password: S3CRET, password-file: /p}\nfencing: {enabled: true}\n", "berth.yml:1: etcd.password-file: found beside etcd.password; write one of the two"},
		{"token as an alias further below", "provider: none\nlog-file: *5up3rS3cretT0ken\n", "berth.yml:2: an alias of an anchor that the file does not have; a value with other characters than letters and digits may need quotes around it"},
		{"interface that no kernel has", etcdOf("5s") + "election: {interface: enp0s31f6-bridge, instances: [{name: a, addresses: [192.0.2.1]}]}\n",
			"berth.yml:2: election.interface: found a text of 16 characters; write the name of a network interface, such as eth0"},
		{"version that is not a number", "keepalived-version: newest\n", "berth.yml:1: keepalived-version: found a text of 6 characters; write a version such as 2.2.7"},
		{"list at the top", "- a\n", "berth.yml:1: found a list; write keys and values"},
		{"two documents", "provider: none\n---\nprovider: none\n", "berth.yml:2: a second YAML document; berth reads one document per file"},
		{"text that is not YAML", "x: 1\na: b: c\n", "berth.yml:2: mapping values are not allowed in this context; a value with other characters than letters and digits may need quotes around it"},
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

func FuzzParse(f *testing.F) {
	f.Add("provider: cloudscale\ncloudscale: {token: x}\n")
	f.Add("back-off: {multiplier: 1e9}\nmanaged-addresses: [::1/0]\n")
	f.Add("a: &a [*a]\n")
	f.Add(watched("peers: [\"[::1]:1,a,1.2.3.4:5\"], listen: \":0\", witness: a:b"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if (c == nil) == (err == nil) {
			t.Errorf("configuration %v and error %v", c, err)
		}
	})
}

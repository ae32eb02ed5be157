package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/config"

	"github.com/google/go-cmp/cmp"
)

// watched is a configuration with these keys of the section heartbeat.
func watched(keys string) string {
	return "managed-addresses: [192.0.2.10]\nheartbeat: {" + keys + "}\n"
}

func TestHeartbeat(t *testing.T) {
	for _, tt := range []struct{ name, keys, want string }{
		{"defaults", "peers: [192.0.2.2]", "{true :12345 1s 3 10 [192.0.2.2:12345]   false  false}"},
		{"every key", `listen: "192.0.2.1:7", interval: 100ms, dead-ratio: 2, priority: 0, peers: [192.0.2.2], key-file: /k, key-rollover: true, witness: "gw.example.com:443", release-on-stop: true`,
			"{true 192.0.2.1:7 100ms 2 0 [192.0.2.2:7]  /k true gw.example.com:443 true}"},
		{"a group", `security-group: load balancer, priority: 255, dead-ratio: 100, interval: 1m`, "{true :12345 1m0s 100 255 [] load balancer  false  false}"},
		{"each form of a peer", `peers: ["192.0.2.2, 192.0.2.3:9,LB2.example.com", "lb3:9", "2001:db8::1", "[2001:db8::2]", "[2001:db8::3]:9", "::ffff:192.0.2.2", ""]`,
			"{true :12345 1s 3 10 [192.0.2.2:12345 192.0.2.3:9 lb2.example.com:12345 lb3:9 [2001:db8::1]:12345 [2001:db8::2]:12345 [2001:db8::3]:9]   false  false}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(watched(tt.keys))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, fmt.Sprint(c.Heartbeat)); d != "" || !c.Watches() || c.Elects() {
				t.Errorf("watches %t, elects %t; section (-want +got):\n%s", c.Watches(), c.Elects(), d)
			}
		})
	}
	if c, err := parse("provider: none\n"); err != nil || c.Watches() {
		t.Errorf("want that nothing is watched without the section, got %v", err)
	}
}

const (
	peersWanted = "write an address or a name, with or without a port, such as 192.0.2.2, lb2.example.com:12345 or [2001:db8::2]:12345"
	twoDeciders = "found a section beside heartbeat, so that two parts would decide who owns an address; write one of the two: leave heartbeat out, for berth elect, or "
)

func TestMistakesInTheHeartbeat(t *testing.T) {
	const at = "berth.yml:2: heartbeat."
	for name, tt := range map[string]struct{ text, want string }{
		"no peers":                          {watched("priority: 1"), at + "peers: missing; write the other hosts, such as [192.0.2.2, lb3.example.com], or security-group"},
		"peers and a group":                 {watched("peers: [192.0.2.2], security-group: g"), at + "security-group: found beside heartbeat.peers; write one of the two"},
		"no addresses":                      {"heartbeat: {peers: [192.0.2.2]}\n", "berth.yml:1: managed-addresses: missing; write the floating IPs whose owner the heartbeats decide, such as [192.0.2.10]"},
		"an interval too short":             {watched("peers: [a], interval: 99ms"), at + "interval: found 99ms; write a duration from 100ms to 1m"},
		"an interval too long":              {watched("peers: [a], interval: 61s"), at + "interval: found 1m1s; write a duration from 100ms to 1m"},
		"a ratio of one":                    {watched("peers: [a], dead-ratio: 1"), at + "dead-ratio: found 1; write a whole number from 2 to 100"},
		"a ratio too large":                 {watched("peers: [a], dead-ratio: 101"), at + "dead-ratio: found 101; write a whole number from 2 to 100"},
		"a priority too large":              {watched("peers: [a], priority: 256"), at + "priority: found 256; write a whole number from 0 to 255; the host with the lowest one is the owner"},
		"a priority below 0":                {watched("peers: [a], priority: -1"), at + "priority: found -1; write a whole number from 0 to 255; the host with the lowest one is the owner"},
		"a key file that is no path":        {watched("peers: [a], key-file: \"a\\0\""), at + "key-file: found a text of 2 characters; write a path such as /etc/berth/heartbeat-key"},
		"a rollover without a key":          {watched("peers: [a], key-rollover: true"), at + "key-rollover: found true without key-file, so that no heartbeat is signed; write key-file as well, or leave this key out"},
		"a port alone":                      {watched("peers: [a], listen: \"12345\""), at + "listen: found a text of 5 characters; write a UDP port, such as :12345, or an address of this host and a port, such as 192.0.2.1:12345"},
		"a name to listen at":               {watched("peers: [a], listen: \"eth0:1\""), at + "listen: found a text of 6 characters; write a UDP port, such as :12345, or an address of this host and a port, such as 192.0.2.1:12345"},
		"a witness without a port":          {watched("peers: [a], witness: 192.0.2.1"), at + "witness: found a text of 9 characters; write an address or a name with a TCP port, such as 192.0.2.1:443"},
		"an address with a mistake":         {watched("peers: [192.0.2.300]"), at + "peers, number 1: found a text of 11 characters; " + peersWanted},
		"a port that no one has":            {watched("peers: [a, \"b:0\"]"), at + "peers, number 2: found a text of 3 characters; " + peersWanted},
		"IPv6 with a bare port":             {watched("peers: [\"2001:db8::1:12345x\"]"), at + "peers, number 1: found a text of 18 characters; " + peersWanted},
		"all hosts as a peer":               {watched("peers: [0.0.0.0]"), at + "peers, number 1: found a text of 7 characters; " + peersWanted},
		"a state directory that is no path": {watched("peers: [a]") + "state-directory: \"a\\0\"\n", "berth.yml:3: state-directory: found a text of 2 characters; write a path such as /var/lib/berth"},
		"a pool":                            {watched("peers: [a]") + etcdOf("5s") + electedBy + "pool: {enabled: true}\n", "berth.yml:4: election: " + twoDeciders + "election, for berth watch\nberth.yml:5: pool: " + twoDeciders + "pool, for berth watch"},
		"Patroni":                           {watched("peers: [a]") + leads("") + elected, "berth.yml:3: follow: " + twoDeciders + "follow, for berth watch\nberth.yml:4: election: " + twoDeciders + "election, for berth watch"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.text)
			if d := cmp.Diff(tt.want, fmt.Sprint(err)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestTheKeyOfHeartbeatsIsRefusedIfOthersCanReadItOrItIsShort(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := strings.Repeat("k", config.MinKey)
	for name, tt := range map[string]struct{ path, key, want string }{
		"none":            {"", "", ""},
		"good":            {write("good", good+"\n", 0o600), good, ""},
		"every user":      {write("open", good, 0o604), "", "heartbeat.key-file: every user can read " + dir + "/open; run: chmod o= " + dir + "/open"},
		"too short":       {write("short", "SHORTSECRET\n", 0o600), "", "heartbeat.key-file: " + dir + "/short has less than 16 bytes; make a key with: openssl rand -base64 32"},
		"not there":       {dir + "/none", "", "heartbeat.key-file: open " + dir + "/none: no such file or directory"},
		"a whole program": {write("large", strings.Repeat("k", 70000), 0o600), "", "heartbeat.key-file: " + dir + "/large is larger than 65536 bytes; this is not a secret"},
	} {
		key, err := (&config.Heartbeat{KeyFile: tt.path}).Key()
		if got := fmt.Sprint(err); string(key) != tt.key || got != tt.want && !(err == nil && tt.want == "") {
			t.Errorf("%s: got %q, %v; want %q, %s", name, key, err, tt.key, tt.want)
		}
	}
}

func TestTheStateDirectoryIsTheConfiguredOneElseThatOfSystemd(t *testing.T) {
	for _, tt := range []struct{ key, systemd, want string }{
		{"", "", "/var/lib/berth"},
		{"", "/var/lib/private/berth:/var/lib/other", "/var/lib/private/berth"},
		{"/s", "/var/lib/private/berth", "/s"},
	} {
		c := config.Config{StateDirectory: tt.key}
		if got := c.StateDirectoryIn(func(string) string { return tt.systemd }); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

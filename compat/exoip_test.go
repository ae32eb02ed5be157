package compat_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/compat"
	"berth/config"
	"berth/internal/journal"
	"berth/internal/section"
	"berth/providers/exoscale"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// exoipLeast is what exoip cannot work without.
var exoipLeast = []string{"-xi", "198.51.100.50", "-xk", "EXOkey", "-xs", "secret-of-exoip", "-p", "192.0.2.12"}

// exoipOptions know the section of Exoscale, as berth does.
var exoipOptions = config.Options{Sections: map[string]config.SectionCheck{"exoscale": exoscale.Entry.Check}}

// exoiped translates a command line of exoip.
func exoiped(args []string, variables map[string]string) (*compat.Translation, compat.ExoipMode, error) {
	return compat.Exoip(args, func(name string) string { return variables[name] }, exoipOptions)
}

// The environment that ifup gives for the stanza of exoip's description.
func TestExoipStanza(t *testing.T) {
	tr, _, err := exoiped([]string{"-W"}, map[string]string{
		"IFACE": "lo:1", "METHOD": "static", "MODE": "start", "IF_ADDRESS": "198.51.100.50", "IF_NETMASK": "255.255.255.255",
		"IF_BROADCAST": "198.51.100.50", "IF_EXOSCALE_PEER_GROUP": "load-balancer", "IF_EXOSCALE_API_KEY": "EXOkey", "IF_EXOSCALE_API_SECRET": "secret-of-exoip",
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `# berth watch does with this file what exoip -W does.
managed-addresses: [198.51.100.50]
provider: exoscale
exoscale:
  # The API key and its secret are not shown. Write the paths of files that have them, or
  # give systemd the credentials key and secret (LoadCredential=secret:FILE).
  key-file: ""
  secret-file: ""
heartbeat:
  listen: :12345
  interval: 1s
  dead-ratio: 3
  priority: 10
  security-group: load-balancer
  # exoip detaches the elastic IP when it ends; berth does so if no peer lives to take it.
  release-on-stop: true
`
	if diff := cmp.Diff(want, tr.Text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", tr, tr), "secret-of-exoip") {
		t.Error("the secret is in what is printed")
	}
	source := config.SecretSource{Section: "exoscale", Getenv: func(string) string { return "" }, Config: tr.Config}
	for key, want := range map[string]string{"key": "EXOkey", "secret": "secret-of-exoip"} {
		if got, err := source.Resolve(key, "", "", "NONE"); err != nil || got.Reveal() != want {
			t.Errorf("%s: got %q, %v", key, got.Reveal(), err)
		}
	}
}

// Each row is an option or a variable of exoip, and what berth does.
func TestExoipOptions(t *testing.T) {
	heartbeat := func(c *config.Config) string {
		h := c.Heartbeat
		return fmt.Sprint(h.Listen, " ", h.Interval, " x", h.DeadRatio, " P", h.Priority, " ", h.Peers, " ", h.SecurityGroup, " ", h.ReleaseOnStop)
	}
	cloud := func(c *config.Config) string {
		var v struct {
			Endpoint string
			Zone     string `yaml:"fallback-zone"`
			Instance string `yaml:"instance-id"`
		}
		node := c.Sections["exoscale"]
		node.Decode(&v)
		return fmt.Sprint(c.ManagedAddresses, v)
	}
	const uuid = "11111111-1111-4111-8111-111111111111"
	for _, test := range []struct {
		name      string
		args      []string // behind exoipLeast, in place of it if the first is "only"
		variables map[string]string
		got       func(*config.Config) string
		want      string
	}{
		{"the defaults", nil, nil, heartbeat, ":12345 1s x3 P10 [192.0.2.12:12345]  true"},
		{"-P", []string{"-P", "0"}, nil, heartbeat, ":12345 1s x3 P0 [192.0.2.12:12345]  true"},
		{"-P before its variable", []string{"-P=255"}, map[string]string{"IF_HOST_PRIORITY": "7"}, heartbeat, ":12345 1s x3 P255 [192.0.2.12:12345]  true"},
		{"IF_HOST_PRIORITY", nil, map[string]string{"IF_HOST_PRIORITY": "7"}, heartbeat, ":12345 1s x3 P7 [192.0.2.12:12345]  true"},
		{"-l", []string{"-l", "192.0.2.11:4000"}, nil, heartbeat, "192.0.2.11:4000 1s x3 P10 [192.0.2.12:4000]  true"},
		{"-l with an address alone", []string{"-l", "192.0.2.11"}, nil, heartbeat, "192.0.2.11:12345 1s x3 P10 [192.0.2.12:12345]  true"},
		{"-l with an IPv6 address alone", []string{"-l", "::1"}, nil, heartbeat, "[::1]:12345 1s x3 P10 [192.0.2.12:12345]  true"},
		{"IF_BIND_ADDRESS, as exoip documents it", nil, map[string]string{"IF_BIND_ADDRESS": ":4000"}, heartbeat, ":4000 1s x3 P10 [192.0.2.12:4000]  true"},
		{"IF_BIND_TO, as exoip reads it", nil, map[string]string{"IF_BIND_TO": ":4001"}, heartbeat, ":4001 1s x3 P10 [192.0.2.12:4001]  true"},
		{"both", nil, map[string]string{"IF_BIND_ADDRESS": ":4000", "IF_BIND_TO": ":4001"}, heartbeat, ":4000 1s x3 P10 [192.0.2.12:4000]  true"},
		{"-l before both", []string{"-l", ":4002"}, map[string]string{"IF_BIND_ADDRESS": ":4000", "IF_BIND_TO": ":4001"}, heartbeat, ":4002 1s x3 P10 [192.0.2.12:4002]  true"},
		{"-p again", []string{"-p", "192.0.2.13, 192.0.2.14:4000", "-p=lb5.example.com"}, nil, heartbeat, ":12345 1s x3 P10 [192.0.2.12:12345 192.0.2.13:12345 192.0.2.14:4000 lb5.example.com:12345]  true"},
		{"-p instead of the list of the variable", nil, map[string]string{"IF_EXOSCALE_PEERS": "192.0.2.88"}, heartbeat, ":12345 1s x3 P10 [192.0.2.12:12345]  true"},
		{"IF_EXOSCALE_PEERS", []string{"only", "-xi", "198.51.100.50"}, map[string]string{"IF_EXOSCALE_PEERS": "192.0.2.88,192.0.2.89"}, heartbeat, ":12345 1s x3 P10 [192.0.2.88:12345 192.0.2.89:12345]  true"},
		{"-G", []string{"only", "-xi", "198.51.100.50", "-G", "lb"}, nil, heartbeat, ":12345 1s x3 P10 [] lb true"},
		{"-G before its variable", []string{"only", "-xi", "198.51.100.50", "-G", "lb"}, map[string]string{"IF_EXOSCALE_PEER_GROUP": "other"}, heartbeat, ":12345 1s x3 P10 [] lb true"},
		{"an empty -G, which takes that of the environment away", []string{"-G", ""}, map[string]string{"IF_EXOSCALE_PEER_GROUP": "other"}, heartbeat, ":12345 1s x3 P10 [192.0.2.12:12345]  true"},
		{"-r and -t", []string{"-r", "5", "-t", "2"}, nil, heartbeat, ":12345 2s x5 P10 [192.0.2.12:12345]  true"},
		{"IF_DEAD_RATIO and IF_ADVERTISEMENT_INTERVAL", nil, map[string]string{"IF_DEAD_RATIO": "4", "IF_ADVERTISEMENT_INTERVAL": "3"}, heartbeat, ":12345 3s x4 P10 [192.0.2.12:12345]  true"},
		{"two dashes", []string{"--t", "2", "--xi=198.51.100.51"}, nil, cloud, "[198.51.100.51/32] {  }"},
		{"-xi before its variable", nil, map[string]string{"IF_ADDRESS": "198.51.100.52"}, cloud, "[198.51.100.50/32] {  }"},
		{"IF_ADDRESS with a length", []string{"only", "-G", "lb"}, map[string]string{"IF_ADDRESS": "198.51.100.52/32"}, cloud, "[198.51.100.52/32] {  }"},
		{"-i", []string{"-i", uuid}, map[string]string{"IF_EXOSCALE_INSTANCE_ID": "x"}, cloud, "[198.51.100.50/32] {  " + uuid + "}"},
		{"IF_EXOSCALE_INSTANCE_ID", nil, map[string]string{"IF_EXOSCALE_INSTANCE_ID": uuid}, cloud, "[198.51.100.50/32] {  " + uuid + "}"},
		{"IF_EXOSCALE_ZONE", nil, map[string]string{"IF_EXOSCALE_ZONE": "ch-gva-2"}, cloud, "[198.51.100.50/32] { ch-gva-2 }"},
		{"-xe", []string{"-xe", "https://api-de-fra-1.exoscale.com/v2"}, nil, cloud, "[198.51.100.50/32] {https://api-de-fra-1.exoscale.com/v2  }"},
		{"IF_EXOSCALE_API_ENDPOINT", nil, map[string]string{"IF_EXOSCALE_API_ENDPOINT": "http://127.0.0.1:8080"}, cloud, "[198.51.100.50/32] {http://127.0.0.1:8080  }"},
		{"the retired endpoint", []string{"-xe", "https://api.exoscale.ch/compute"}, nil, cloud, "[198.51.100.50/32] {  }"},
		{"another of its spellings", []string{"-xe", "https://api.exoscale.com/v1/"}, nil, cloud, "[198.51.100.50/32] {  }"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(slices.Clone(exoipLeast), test.args...)
			if len(test.args) > 0 && test.args[0] == "only" {
				args = append([]string{"-xk", "k", "-xs", "s"}, test.args[1:]...)
			}
			tr, _, err := exoiped(append(args, "-W"), test.variables)
			if err != nil {
				t.Fatal(err)
			}
			if got := test.got(tr.Config); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Associating needs no peers, and its file has no heartbeats.
func TestExoipModes(t *testing.T) {
	for flags, want := range map[string]compat.ExoipMode{"-A": compat.ExoipAssociate, "-D": compat.ExoipDissociate, "-W": compat.ExoipWatch, "-W=0 -A": compat.ExoipAssociate, "-W -n": compat.ExoipValidate} {
		args := append(strings.Fields(flags), "-P", "99", "-xi", "198.51.100.50")
		if strings.HasPrefix(flags, "-W") {
			args = append(args, "-G", "lb")
		}
		tr, mode, err := exoiped(args, nil)
		if err != nil || mode != want {
			t.Fatalf("%s: got mode %q, %v", flags, mode, err)
		}
		watches := mode == compat.ExoipWatch || mode == compat.ExoipValidate
		if got := strings.Contains(tr.Text, "heartbeat:"); got != watches || tr.Config.Watches() != watches {
			t.Errorf("%s: got\n%s", flags, tr.Text)
		}
	}
}

// exoipModes is what messages say of the modes.
const exoipModes = "one of -A, which associates the elastic IP with this instance, -D, which dissociates it, and -W, which watches over it"

func TestExoipMistakes(t *testing.T) {
	for _, test := range []struct {
		name      string
		args      []string // behind exoipLeast and -W, in place of them if the first is "only"
		variables map[string]string
		want      string // all lines
	}{
		{"no mode", []string{"only"}, nil, "command line: -W: missing; write " + exoipModes + "\ncommand line: -xi: missing; write the elastic IP, such as -xi 198.51.100.50, or set IF_ADDRESS"},
		{"two modes", []string{"-A"}, nil, "command line: -W: found beside -A; write " + exoipModes},
		{"an unknown option", []string{"-z"}, nil, "command line: -z: unknown flag; write one of -A, -D, -W, -P, -l, -i, -p, -G, -r, -t, -xi, -xk, -xs, -xe, -n, -v, -O, -print-config, -verbose, -json-log, -dry-run, -version"},
		{"an option without its value", []string{"-P"}, nil, "command line: -P: missing; write -P and its value"},
		{"a secret without a space before it", []string{"-xsLZsecret"}, nil, "command line: flags: unknown flag; write one of -A, -D, -W, -P, -l, -i, -p, -G, -r, -t, -xi, -xk, -xs, -xe, -n, -v, -O, -print-config, -verbose, -json-log, -dry-run, -version"},
		{"an argument", []string{"start", "-P", "1"}, nil, "command line: arguments: found 3 behind the flags; write flags alone, and a value with spaces in quotes"},
		{"nothing", []string{"only", "-W"}, nil, "command line: -xi: missing; write the elastic IP, such as -xi 198.51.100.50, or set IF_ADDRESS\n" +
			"command line: -p: missing; write the peers, such as -p 192.0.2.11,192.0.2.12, or the security group that they are in, such as -G load-balancer; or set IF_EXOSCALE_PEERS or IF_EXOSCALE_PEER_GROUP"},
		{"both kinds of peers", []string{"-G", "lb"}, nil, "command line: -G: found beside -p; write one of the two: a list of peers, or the security group that they are in"},
		{"both kinds of peers, one in a variable", nil, map[string]string{"IF_EXOSCALE_PEER_GROUP": "lb"}, "environment: IF_EXOSCALE_PEER_GROUP: found beside -p; write one of the two: a list of peers, or the security group that they are in"},
		{"a priority that is too high", []string{"-P", "256"}, nil, "command line: -P: found 256; write a priority from 0 to 255, such as -P 10; the lowest wins"},
		{"a priority that is none", nil, map[string]string{"IF_HOST_PRIORITY": "first"}, `environment: IF_HOST_PRIORITY: found "first"; write a priority from 0 to 255, such as -P 10; the lowest wins`},
		{"a number that has two meanings", []string{"-P", "010"}, nil, `command line: -P: found "010"; write a priority from 0 to 255, such as -P 10; the lowest wins`},
		{"-t 0", []string{"-t", "0"}, nil, "command line: -t: found 0; write the seconds between two heartbeats, from 1 to 60, such as -t 1"},
		{"-t with a unit", []string{"-t", "1s"}, nil, `command line: -t: found "1s"; write the seconds between two heartbeats, from 1 to 60, such as -t 1`},
		{"-r 0", []string{"-r", "0"}, nil, "command line: -r: found 0; write the intervals after which a silent peer is dead, from 2 to 100, such as -r 3"},
		{"a port alone", []string{"-l", "12345"}, nil, `command line: -l: found "12345"; write :12345, which is that port of all addresses`},
		{"no port", nil, map[string]string{"IF_BIND_TO": "192.0.2.11:none"}, `environment: IF_BIND_TO: found "192.0.2.11:none"; write a UDP port, such as :12345, or an address of this host and a port, such as 192.0.2.1:12345`},
		{"a peer", []string{"-p", "192.0.2.300"}, nil, `command line: -p, number 2: found "192.0.2.300"; write an address or a name, with or without a port, such as 192.0.2.2, lb2.example.com:12345 or [2001:db8::2]:12345`},
		{"an IPv6 address", []string{"-xi", "2001:db8::1"}, nil, `command line: -xi: found "2001:db8::1"; write an IPv4 address, as exoip has no other; berth watch has IPv6 addresses too, and several of them`},
		{"a network", []string{"-xi", "198.51.100.0/24"}, nil, `command line: -xi: found "198.51.100.0/24"; write the elastic IP, such as -xi 198.51.100.50, or set IF_ADDRESS`},
		{"a comment behind the address", []string{"only", "-W", "-G", "lb"}, map[string]string{"IF_ADDRESS": "198.51.100.50              # change me"}, `environment: IF_ADDRESS: found "198.51.100.50              # change me"; write the elastic IP, such as -xi 198.51.100.50, or set IF_ADDRESS`},
		{"an instance by its name", []string{"-i", "lb1"}, nil, `command line: -i: found "lb1"; write the UUID of an instance`},
		{"a zone", nil, map[string]string{"IF_EXOSCALE_ZONE": "geneva"}, `environment: IF_EXOSCALE_ZONE: found "geneva"; write a zone such as ch-gva-2`},
		{"an endpoint", []string{"-xe", "api-ch-gva-2"}, nil, `command line: -xe: found "api-ch-gva-2"; write a URL such as https://api-ch-gva-2.exoscale.com/v2`},
		{"an endpoint with a password", []string{"-xe", "https://user:LZsecret@api-ch-gva-2.exoscale.com"}, nil, `command line: -xe: found a URL with a user, a query or a fragment; write one without, such as https://api-ch-gva-2.exoscale.com/v2`},
		{"an endpoint of CloudStack elsewhere", []string{"-xe", "https://cloud.example.com/client/api/compute"}, nil, `command line: -xe: found "https://cloud.example.com/client/api/compute"; write the URL of version 2 of Exoscale's API, such as https://api-ch-gva-2.exoscale.com/v2; the API of CloudStack, which has this path, is retired`},
		{"control characters", nil, map[string]string{"IF_EXOSCALE_API_SECRET": "a\x1bb", "IF_HOST_PRIORITY": "1\n"}, "environment: IF_HOST_PRIORITY: found a text with control characters; write a text without them\n" +
			`environment: IF_HOST_PRIORITY: found "1\n"; write a priority from 0 to 255, such as -P 10; the lowest wins`},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(append(slices.Clone(exoipLeast), "-W"), test.args...)
			if len(test.args) > 0 && test.args[0] == "only" {
				args = test.args[1:]
			}
			_, _, err := exoiped(args, test.variables)
			if err == nil {
				t.Fatal("want an error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "LZsecret") || strings.Contains(err.Error(), "secret-of-exoip") {
				t.Error("a secret is in the message")
			}
		})
	}
}

// A mistake that only the provider finds is one of an option, too.
func TestExoipLaterMistakes(t *testing.T) {
	tr, _, err := exoiped([]string{"-A", "-xi", "198.51.100.50"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "command line: -xs: missing; write the secret of Exoscale's API, or set IF_EXOSCALE_API_SECRET; or give systemd the credential secret (LoadCredential=secret:FILE)"
	if got := tr.Config.Located("exoscale", &section.Problem{Key: "exoscale.secret", Text: "missing; write secret"}).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExoipNotes(t *testing.T) {
	for name, test := range map[string]struct {
		args      []string
		variables map[string]string
		want      []string
	}{
		"secrets in flags":              {[]string{"-xk", "EXOkey", "-xs", "secret-of-exoip"}, nil, []string{"warn secret-written [-xk -xs]"}},
		"secrets in the environment":    {nil, map[string]string{"IF_EXOSCALE_API_SECRET": "secret-of-exoip"}, []string{"warn secret-written [IF_EXOSCALE_API_SECRET]"}},
		"secrets elsewhere":             {nil, map[string]string{"EXOSCALE_API_SECRET": "secret-of-exoip"}, nil},
		"both spellings of one address": {nil, map[string]string{"IF_BIND_TO": ":1", "IF_BIND_ADDRESS": ":1"}, nil},
		"both spellings, which differ":  {nil, map[string]string{"IF_BIND_TO": ":1", "IF_BIND_ADDRESS": ":2"}, []string{"warn bind-address-twice IF_BIND_ADDRESS"}},
		"a flag before both":            {[]string{"-l", ":3"}, map[string]string{"IF_BIND_TO": ":1", "IF_BIND_ADDRESS": ":2"}, nil},
		"an endpoint that is retired":   {[]string{"-xe", "https://api.exoscale.ch/compute"}, nil, []string{"warn endpoint-retired -xe"}},
		"-O":                            {[]string{"-O"}, nil, []string{"info option-unused -O"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _, err := exoiped(append([]string{"-W", "-xi", "198.51.100.50", "-G", "lb"}, test.args...), test.variables)
			if err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.DebugLevel)
			tr.Tell(journal.New(zap.New(core)))
			var all []string
			for _, l := range logs.All() {
				m := l.ContextMap()
				key := m["key"]
				if key == nil {
					key = m["keys"]
				}
				all = append(all, fmt.Sprint(l.Level, " ", m["code"], " ", key))
				if strings.Contains(fmt.Sprint(m), "secret-of-exoip") {
					t.Errorf("a note shows the secret: %v", m)
				}
			}
			if diff := cmp.Diff(test.want, all); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The switches that are no modes.
func TestExoipSwitches(t *testing.T) {
	tr, _, err := exoiped(append(slices.Clone(exoipLeast), "-W", "-v", "--print-config", "-json-log", "--dry-run"), nil)
	if err != nil || !tr.Verbose || !tr.Print || !tr.JSONLog || !tr.DryRun {
		t.Errorf("got %+v, %v", tr, err)
	}
	// These need nothing beside them.
	for args, want := range map[string]error{"-version": compat.ErrVersion, "-h": flag.ErrHelp, "--help -W -A": flag.ErrHelp} {
		if _, _, err := exoiped(strings.Fields(args), nil); !errors.Is(err, want) {
			t.Errorf("%s: want %v, got %v", args, want, err)
		}
	}
}

// FuzzExoip holds that no command line and no environment breaks the translation, that what
// it prints is a configuration of berth and means what runs, and that no secret is shown.
func FuzzExoip(f *testing.F) {
	f.Add("-W", "198.51.100.50", "192.0.2.12,lb2:4000", "-G", "lb", "10", ":12345", "https://api-ch-gva-2.exoscale.com")
	f.Add("-A", "198.51.100.50/32", "", "-P=1", "-xs", "0", "12345", "https://api.exoscale.ch/compute")
	f.Add("--D", "::1", "a:b:c,,", "-xsx", "\x00", "-1", "[::]", "://")
	f.Add("-W", "1.2.3.4", "- a: b # c", "-l", "é\u2028", "null", "~", "x y")
	f.Fuzz(func(t *testing.T, mode, address, peers, option, value, priority, listen, endpoint string) {
		const secret = "LZ-the-one-secret"
		args := []string{mode, "-p", peers, option, value}
		variables := map[string]string{"IF_ADDRESS": address, "IF_HOST_PRIORITY": priority, "IF_BIND_TO": listen,
			"IF_EXOSCALE_API_ENDPOINT": endpoint, "IF_EXOSCALE_API_SECRET": secret}
		tr, _, err := exoiped(args, variables)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Fatalf("the secret is shown: %v", err)
			}
			return
		}
		if tr == nil {
			return
		}
		if strings.Contains(tr.Text, secret) {
			t.Fatalf("the secret is shown:\n%s", tr.Text)
		}
		if c := tr.Config; len(c.ManagedAddresses) != 1 || c.Provider != "exoscale" || c.Watches() && !c.Heartbeat.ReleaseOnStop {
			t.Fatalf("got %+v", c)
		}
		again, err := config.Parse(tr.Text, "berth.yml", exoipOptions)
		if err != nil {
			t.Fatalf("the printed text is refused: %v\n%s", err, tr.Text)
		}
		if diff := cmp.Diff(tr.Config.Heartbeat, again.Heartbeat) + cmp.Diff(tr.Config.ManagedAddresses, again.ManagedAddresses); diff != "" {
			t.Fatalf("what is printed means another thing than what runs (-runs +printed):\n%s", diff)
		}
	})
}

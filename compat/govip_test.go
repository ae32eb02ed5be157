package compat_test

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"berth/compat"
	"berth/config"
	"berth/internal/journal"
	"berth/internal/section"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func govip(args ...string) (*compat.Translation, error) { return compat.Govip(args, options) }

// Without a flag, the defaults of govip hold, but for the name of the member.
func TestGovipDefaults(t *testing.T) {
	tr, err := govip()
	if err != nil {
		t.Fatal(err)
	}
	const want = `etcd:
  endpoints: ['https://127.0.0.1:2379']
  ca-file: ca.crt
  cert-file: server.crt
  key-file: server.key
  prefix: /govip/berth/
election:
  interface: eth0
  on-etcd-loss: release
  without-etcd: exit
  instances:
    - name: govip
      key: /govip/
      addresses: [192.168.0.254/32]
provider: none
`
	if diff := cmp.Diff(want, tr.Text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if tr.Print || tr.Verbose || tr.JSONLog || tr.DryRun {
		t.Errorf("want a plain start, got %+v", tr)
	}
}

// Each row is a flag of govip's documentation, and what berth does.
func TestGovipFlags(t *testing.T) {
	endpoints := func(c *config.Config) any { return strings.Join(c.Etcd.Endpoints, " ") }
	files := func(c *config.Config) any { return c.Etcd.CAFile + " " + c.Etcd.CertFile + " " + c.Etcd.KeyFile }
	address := func(c *config.Config) any { return c.Election.Instances[0].Addresses[0].String() }
	place := func(c *config.Config) any { return c.Election.Places()["govip"] + " " + c.Etcd.Prefix }
	const plain = "|-cacert=|-cert=|-key="
	for _, tt := range []struct {
		name, args string
		got        func(*config.Config) any
		want       any
	}{
		{"-etcd", "-etcd|https://192.0.2.1:2379,https://192.0.2.2:2379", endpoints, "https://192.0.2.1:2379 https://192.0.2.2:2379"},
		{"-etcd with spaces and a comma at the end", "-etcd|https://192.0.2.1:2379, ,", endpoints, "https://192.0.2.1:2379"},
		{"-etcd without a scheme", "-etcd|192.0.2.1:2379,[2001:db8::1]:2379", endpoints, "https://192.0.2.1:2379 https://[2001:db8::1]:2379"},
		{"-etcd without a scheme and without TLS", "-etcd|192.0.2.1:2379" + plain, endpoints, "http://192.0.2.1:2379"},
		{"-etcd in clear text", "-etcd|http://192.0.2.1:2379" + plain, endpoints, "http://192.0.2.1:2379"},
		{"-cacert, -cert and -key", "-cacert|a|-cert|/b/c|-key|./d", files, "a /b/c ./d"},
		{"all three empty", plain[1:], files, "  "},
		{"-cacert empty: the authorities of the system", "-cacert=", files, " server.crt server.key"},
		{"no certificate of the client", "-cert=|-key=", files, "ca.crt  "},
		{"-member", "-member|lb1", func(c *config.Config) any { return c.Etcd.Member }, "lb1"},
		{"without -member the name of the host, and not the text hostname", "", func(c *config.Config) any { return c.Etcd.Member }, ""},
		{"-name", "-name|/kube/vip", place, "/kube/vip/ /kube/vip-berth/"},
		{"-name that ends in a slash", "-name|/kube/", place, "/kube// /kube/berth/"},
		{"-name without a slash", "-name|govip", place, "govip/ /govip-berth/"},
		{"-vif", "-vif|bond0.12", func(c *config.Config) any { return c.Election.Instances[0].Interface }, "bond0.12"},
		{"-vip", "-vip|192.0.2.1/32", address, "192.0.2.1/32"},
		{"-vip with the length of its network", "-vip|192.0.2.1/24", address, "192.0.2.1/24"},
		{"-vip of IPv6", "-vip|2001:db8::1/128", address, "2001:db8::1/128"},
		{"two dashes", "--vip=2001:db8::1/64|--member|lb1", address, "2001:db8::1/64"},
		{"the last of two", "-vip|192.0.2.1/32|-vip|192.0.2.2/32", address, "192.0.2.2/32"},
		{"without etcd berth ends", "", func(c *config.Config) any { return c.Election.WithoutEtcd + " " + c.Election.OnEtcdLoss }, "exit release"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := govip(strings.FieldsFunc(tt.args, func(r rune) bool { return r == '|' })...)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.got(tr.Config); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
			again, err := config.Parse(tr.Text, "berth.yml", options)
			if err != nil {
				t.Fatalf("the translation: %v", err)
			}
			if got := tt.got(again); got != tt.want {
				t.Errorf("the printed file: want %v, got %v", tt.want, got)
			}
		})
	}
}

// A mistake names the flag, its value and what to write.
func TestMistakesOfGovip(t *testing.T) {
	const without = ", or -cacert= -cert= -key= for etcd without TLS"
	for _, tt := range []struct{ args, want string }{
		{"-vipp 192.0.2.1/32", "-vipp: unknown flag; write one of -cacert, -cert, -etcd, -key, -member, -name, -vif, -vip, "},
		{"-vip", "-vip: missing; write -vip and its value"},
		{"-etcd https://192.0.2.1:2379, https://192.0.2.2:2379", "arguments: found 1 behind the flags; write flags alone, and a value with spaces in quotes"},
		{"-etcd http://192.0.2.1:2379", "-etcd: found http:// beside certificates; write https://" + without},
		{"-etcd=", `-etcd: found ""; write the URLs of the etcd members, such as `},
		{"-etcd https://192.0.2.1", "-etcd, number 1: found a URL without a port; write "},
		{"-cert=", "-cert: missing; write the certificate of -key" + without},
		{"-key=", "-key: missing; write the key of -cert" + without},
		{"-vif=", `-vif: found ""; write the name of the network interface `},
		{"-vif eth0/1", "-vif: found "},
		{"-vip 192.0.2.1", `-vip: found "192.0.2.1"; write 192.0.2.1/32`},
		{"-vip 2001:db8::1", `-vip: found "2001:db8::1"; write 2001:db8::1/128`},
		{"-vip 192.0.2.1/33", `-vip: found "192.0.2.1/33"; write an address and the length of its prefix, such as 192.168.0.254/32 or 2001:db8::254/128`},
		{"-vip=", `-vip: found ""; write an address and the length`},
		{"-name=", `-name: found ""; write a name that all govips of this address have, such as /govip/`},
		{"-member a\nb", "-member: found a text with control characters; write a text without them"},
	} {
		_, err := govip(strings.Split(tt.args, " ")...)
		if want := "command line: " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want one line\n%s, got\n%v", tt.args, want, err)
		}
	}
	// Also what is found later has the name of the flag.
	tr, err := govip()
	if err != nil {
		t.Fatal(err)
	}
	late := tr.Config.Located("etcd", &section.Problem{Key: "etcd.ca-file", Text: "open ca.crt: no such file"})
	if got := late.Error(); got != "command line: -cacert: open ca.crt: no such file" {
		t.Errorf("got %s", got)
	}
}

func TestGovipAsksForSomethingElse(t *testing.T) {
	for arg, want := range map[string]error{"-h": flag.ErrHelp, "-version": compat.ErrVersion} {
		if _, err := govip("-vip", "192.0.2.1/32", arg); !errors.Is(err, want) {
			t.Errorf("%s: want %v, got %v", arg, want, err)
		}
	}
	core, seen := observer.New(zap.DebugLevel)
	tr, err := govip("-vip", "192.0.2.1/32 eth0:vip", "-print-config", "-verbose")
	if err != nil || !tr.Print || !tr.Verbose {
		t.Fatalf("got %+v, %v", tr, err)
	}
	tr.Tell(journal.New(zap.New(core)))
	if seen.Len() != 1 || fmt.Sprint(seen.All()[0].ContextMap()) != "map[code:label-unused key:-vip]" {
		t.Errorf("want that the label is told, got %v", seen.All())
	}
}

// The translation of each command line, also of a random one, loads as berth's own file, or
// a mistake is reported.
func FuzzGovip(f *testing.F) {
	for _, args := range []string{"", "-vip\n192.0.2.1/32 label\n-name\ngovip", "-etcd\na:1,http://b:2\n-cacert=\n-cert=\n-key=", "-name\n/", "-name\n//a//", "-member\n\"a: b\"", "-name\n'{x}\n-vif\n#"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, args string) {
		tr, err := govip(strings.Split(args, "\n")...)
		if err != nil {
			return
		}
		again, err := config.Parse(tr.Text, "berth.yml", options)
		if err != nil {
			t.Fatalf("%v in\n%s", err, tr.Text)
		}
		if diff := cmp.Diff(fmt.Sprint(tr.Config.Etcd, tr.Config.Election), fmt.Sprint(again.Etcd, again.Election)); diff != "" {
			t.Fatal(diff)
		}
		place, prefix := again.Election.Places()["govip"], again.Etcd.Prefix
		if name := again.Election.Instances[0].Key; place != name+"/" || strings.HasPrefix(place, prefix) || strings.HasPrefix(prefix, place) {
			t.Fatalf("candidates at %q beside %q", place, prefix)
		}
	})
}

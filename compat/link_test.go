package compat_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/compat"
	"berth/config"
	"berth/internal/journal"
	"berth/internal/section"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// linkLeast is what LinK cannot work without.
var linkLeast = map[string]string{"INTERFACE": "eth0", "ETCD_HOSTS": "http://192.0.2.1:2379"}

// linked translates an environment of LinK: linkLeast, in which the given variables stand
// beside or in place of the others.
func linked(variables map[string]string) (*compat.Translation, error) {
	return compat.Link(func(name string) string {
		if v, ok := variables[name]; ok {
			return v
		}
		return linkLeast[name]
	}, options)
}

// The environment that stands in LinK's own sources, with two more etcd members.
func TestLinkEnvironment(t *testing.T) {
	tr, err := linked(map[string]string{
		"LOGGER_LEVEL": "debug", "PPROF_ENABLED": "true", "HOSTNAME": "link-1", "INTERFACE": "eth10",
		"ETCD_HOSTS": "http://172.17.0.1:32379,http://172.17.0.2:32379, http://172.17.0.3:32379", "USER": "link", "PASSWORD": "password-of-link",
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `etcd:
  endpoints: ['http://172.17.0.1:32379', 'http://172.17.0.2:32379', 'http://172.17.0.3:32379']
  prefix: /link/berth/
  member: link-1
  lease-ttl: 15s
election:
  interface: eth10
  on-etcd-loss: claim
api:
  listen: :1313
  # The password is not shown. In a file of berth, write password-file: FILE here, or
  # give systemd the credential api.password (LoadCredential=api.password:FILE).
  username: link
provider: none
`
	if diff := cmp.Diff(want, tr.Text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !tr.Verbose || tr.JSONLog {
		t.Errorf("want LOGGER_LEVEL=debug to be verbose, and no JSON; got %t, %t", tr.Verbose, tr.JSONLog)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", tr, tr), "password-of-link") {
		t.Error("the password is in what is printed")
	}
	if got := tr.Config.API.Password.Reveal(); got != "password-of-link" {
		t.Errorf("got the password %q", got)
	}
}

// Each row is a variable of LinK's documentation or of its code, and what berth does.
func TestLinkVariables(t *testing.T) {
	credentials := t.TempDir()
	if err := os.WriteFile(filepath.Join(credentials, "api.password"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	api := func(c *config.Config) any {
		return c.API.Listen + " " + c.API.Username + ":" + c.API.Password.Reveal()
	}
	endpoints := func(c *config.Config) any { return strings.Join(c.Etcd.Endpoints, " ") }
	announce := func(c *config.Config) any {
		a := c.Election.Announce
		return fmt.Sprint(a.Count, " ", a.Interval, " ", a.Refresh)
	}
	lease := func(c *config.Config) any { return c.Etcd.LeaseTTL }
	for _, test := range []struct {
		name      string
		variables map[string]string
		got       func(*config.Config) any
		want      any
	}{
		{"INTERFACE", map[string]string{"INTERFACE": "eth7"}, func(c *config.Config) any { return c.Election.Interface }, "eth7"},
		{"USER and PASSWORD, on all addresses", map[string]string{"USER": "link", "PASSWORD": "secret"}, api, ":1313 link:secret"},
		{"neither, on loopback", nil, api, "127.0.0.1:1313 :"},
		{"USER of a login shell: no authentication", map[string]string{"USER": "root"}, api, "127.0.0.1:1313 :"},
		{"USER, and a password of berth's own variable", map[string]string{"USER": "link", "BERTH_API_PASSWORD": "secret"}, api, ":1313 link:"},
		{"USER, and a password of systemd", map[string]string{"USER": "link", "CREDENTIALS_DIRECTORY": credentials}, api, ":1313 link:"},
		{"USER, and other credentials of systemd", map[string]string{"USER": "link", "CREDENTIALS_DIRECTORY": filepath.Dir(credentials)}, api, "127.0.0.1:1313 :"},
		{"PORT", map[string]string{"PORT": "1314"}, api, "127.0.0.1:1314 :"},
		{"PORT with a password", map[string]string{"PORT": "1314", "USER": "link", "PASSWORD": "secret"}, api, ":1314 link:secret"},
		{"ETCD_HOSTS: the different endpoints of etcd members", map[string]string{"ETCD_HOSTS": "http://192.0.2.1:2379,http://192.0.2.2:2379/ , ,"}, endpoints,
			"http://192.0.2.1:2379 http://192.0.2.2:2379"},
		{"ETCD_HOSTS: TLS with all if one has it, as in LinK", map[string]string{"ETCD_HOSTS": "http://192.0.2.1:2379,https://192.0.2.2:2379"}, endpoints,
			"https://192.0.2.1:2379 https://192.0.2.2:2379"},
		{"ETCD_HOSTS: host and port", map[string]string{"ETCD_HOSTS": "etcd1:2379,192.0.2.2:2379,[2001:db8::2]:2379"}, endpoints,
			"http://etcd1:2379 http://192.0.2.2:2379 http://[2001:db8::2]:2379"},
		{"ETCD_HOSTS: host and port beside a URL with TLS", map[string]string{"ETCD_HOSTS": "etcd1:2379,https://etcd2:2379"}, endpoints, "https://etcd1:2379 https://etcd2:2379"},
		{"ETCD_HOSTS: host and port, and an authority", map[string]string{"ETCD_HOSTS": "etcd1:2379", "ETCD_CACERT": "/ca.pem"}, endpoints, "https://etcd1:2379"},
		{"ETCD_TLS_CERT, ETCD_TLS_KEY and ETCD_CACERT", map[string]string{"ETCD_HOSTS": "https://192.0.2.1:2379", "ETCD_TLS_CERT": "/c.pem", "ETCD_TLS_KEY": "/k.pem", "ETCD_CACERT": "/ca.pem"},
			func(c *config.Config) any { return c.Etcd.CertFile + c.Etcd.KeyFile + c.Etcd.CAFile }, "/c.pem/k.pem/ca.pem"},
		{"HOSTNAME", map[string]string{"HOSTNAME": "lb10"}, func(c *config.Config) any { return c.Etcd.MemberName() }, "lb10"},
		{"HOSTNAME is not exported: the name of the host", nil, func(c *config.Config) any {
			name, err := os.Hostname()
			return fmt.Sprint(c.Etcd.MemberName() == name, err)
		}, "true <nil>"},
		{"KEEPALIVE_INTERVAL: LinK's default", nil, lease, 15 * time.Second},
		{"KEEPALIVE_INTERVAL: the lease is five of them", map[string]string{"KEEPALIVE_INTERVAL": "2s"}, lease, 10 * time.Second},
		{"KEEPALIVE_INTERVAL: whole seconds", map[string]string{"KEEPALIVE_INTERVAL": "900ms"}, lease, 4 * time.Second},
		{"KEEPALIVE_INTERVAL: shorter than berth can hold", map[string]string{"KEEPALIVE_INTERVAL": "100ms"}, lease, 4 * time.Second},
		{"ARP_GRATUITOUS_COUNT and ARP_GRATUITOUS_INTERVAL", map[string]string{"ARP_GRATUITOUS_COUNT": "3", "ARP_GRATUITOUS_INTERVAL": "500ms"}, announce, "3 500ms 1m0s"},
		{"ARP_GRATUITOUS_COUNT alone", map[string]string{"ARP_GRATUITOUS_COUNT": "7"}, announce, "7 1s 1m0s"},
		{"ARP_GRATUITOUS_INTERVAL alone", map[string]string{"ARP_GRATUITOUS_INTERVAL": "2s"}, announce, "5 2s 1m0s"},
		{"if one agent fails to contact the etcd cluster it will take the IP", nil, func(c *config.Config) any { return c.Election.OnEtcdLoss }, config.Claim},
		{"an etcd user that may use /link/ needs nothing else, and none of LinK's keys", nil, func(c *config.Config) any { return c.EtcdPrefix() }, "/link/berth/"},
		{"BERTH_API_SERVER_NAMES, of berth's own", map[string]string{"BERTH_API_SERVER_NAMES": "vip.example.com, lb1,"}, func(c *config.Config) any { return c.API.ServerNames }, []string{"vip.example.com", "lb1"}},
		{"a variable that is empty counts for nothing", map[string]string{"PORT": "", "PASSWORD": "", "KEEPALIVE_INTERVAL": ""}, api, "127.0.0.1:1313 :"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr, err := linked(test.variables)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, test.got(tr.Config)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLinkMistakes(t *testing.T) {
	for _, test := range []struct {
		name      string
		variables map[string]string
		want      []string
	}{
		{"an empty environment", map[string]string{"INTERFACE": "", "ETCD_HOSTS": ""}, []string{
			"environment: ETCD_HOSTS: missing; write the URLs of the etcd members, such as ETCD_HOSTS=http://192.0.2.1:2379,http://192.0.2.2:2379",
			"environment: INTERFACE: missing; write the name of the network interface that gets the addresses, such as INTERFACE=eth0",
		}},
		{"numbers and times", map[string]string{"PORT": "65536", "KEEPALIVE_INTERVAL": "3", "ARP_GRATUITOUS_COUNT": "0", "ARP_GRATUITOUS_INTERVAL": "-1s"}, []string{
			"environment: KEEPALIVE_INTERVAL: found a text of 1 character; write a length of time such as KEEPALIVE_INTERVAL=3s",
			"environment: ARP_GRATUITOUS_COUNT: found 0; write how often an owner announces an address at first, from 1 to 100, such as ARP_GRATUITOUS_COUNT=3",
			"environment: ARP_GRATUITOUS_INTERVAL: found -1s; write a length of time such as ARP_GRATUITOUS_INTERVAL=1s",
			"environment: PORT: found 65536; write a port from 1 to 65535, such as PORT=1313",
		}},
		{"a port that is none", map[string]string{"PORT": "http"}, []string{"environment: PORT: found a text of 4 characters; write a port from 1 to 65535, such as PORT=1313"}},
		{"words", map[string]string{"LOGGER_LEVEL": "loud", "LOGGER_TYPE": "xml"}, []string{
			`environment: LOGGER_LEVEL: found "loud"; write one of trace, debug, info, warn, warning, error, fatal, panic`,
			`environment: LOGGER_TYPE: found "xml"; write one of text, json`,
		}},
		{"endpoints", map[string]string{"ETCD_HOSTS": "http://192.0.2.1:2379,192.0.2.2,,https://root:secret@192.0.2.3:2379"}, []string{
			"environment: ETCD_HOSTS, number 2: found a URL without a port; write the URL of an etcd member, such as https://192.0.2.1:2379",
			"environment: ETCD_HOSTS, number 3: found a URL with a user or password (etcd.username and etcd.password-file are for these); write the URL of an etcd member, such as https://192.0.2.1:2379",
		}},
		{"a list of nothing", map[string]string{"ETCD_HOSTS": " , "}, []string{
			"environment: ETCD_HOSTS: missing; write the URLs of the etcd members, such as ETCD_HOSTS=http://192.0.2.1:2379,http://192.0.2.2:2379"}},
		{"a password without a user is not an API without a password", map[string]string{"PASSWORD": "secret"}, []string{
			"environment: USER: missing; write the name of the user whose password is given, such as USER=link"}},
		{"a password of berth's own variable without a user", map[string]string{"BERTH_API_PASSWORD": "secret"}, []string{
			"environment: USER: missing; write the name of the user whose password is given, such as USER=link"}},
		{"a user that basic authentication cannot carry", map[string]string{"USER": "a:b", "PASSWORD": "secret"}, []string{
			"environment: USER: found a name with a colon or a control character; write a name without these, such as admin"}},
		{"a certificate without its key", map[string]string{"ETCD_HOSTS": "https://192.0.2.1:2379", "ETCD_TLS_CERT": "/c.pem"}, []string{
			"environment: ETCD_TLS_KEY: missing; write the path of the key of ETCD_TLS_CERT"}},
		{"a key without its certificate", map[string]string{"ETCD_HOSTS": "https://192.0.2.1:2379", "ETCD_TLS_KEY": "/k.pem"}, []string{
			"environment: ETCD_TLS_CERT: missing; write the path of the certificate of ETCD_TLS_KEY"}},
		{"an authority without TLS, which LinK did not use", map[string]string{"ETCD_CACERT": "/ca.pem"}, []string{
			"environment: ETCD_CACERT: found endpoints without TLS; write endpoints that begin with https://, or leave this key out"}},
		{"a name that is none", map[string]string{"BERTH_API_SERVER_NAMES": "lb1,http://lb2"}, []string{
			"environment: BERTH_API_SERVER_NAMES, number 2: found a text of 10 characters; write the name of a host, such as lb1.example.com, without scheme and port"}},
		{"an interface that is none", map[string]string{"INTERFACE": "much-too-long-for-it"}, []string{
			"environment: INTERFACE: found a text of 20 characters; write the name of a network interface, such as eth0"}},
		{"a variable with a line break", map[string]string{"HOSTNAME": "a\nb"}, []string{
			"environment: HOSTNAME: found a text with control characters; write a text without them"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr, err := linked(test.variables)
			if err == nil {
				t.Fatalf("want %q, got\n%s", test.want, tr.Text)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// A mistake that berth finds when it builds its parts names the variable, too.
func TestLinkMistakesThatAreFoundLater(t *testing.T) {
	tr, err := linked(map[string]string{"ETCD_HOSTS": "https://192.0.2.1:2379", "ETCD_CACERT": "/none.pem"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tr.Config.Located("etcd", &section.Problem{Key: "etcd.ca-file", Text: "no such file"}).Error(), "environment: ETCD_CACERT: no such file"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLinkNotes(t *testing.T) {
	for name, test := range map[string]struct {
		variables map[string]string
		want      []string
	}{
		"no credentials":               {nil, nil},
		"a login shell":                {map[string]string{"USER": "root"}, []string{"info user-without-password USER"}},
		"credentials":                  {map[string]string{"USER": "link", "PASSWORD": "secret"}, []string{"warn api-password-written PASSWORD"}},
		"a password from elsewhere":    {map[string]string{"USER": "link", "BERTH_API_PASSWORD": "secret"}, nil},
		"an interval that is raised":   {map[string]string{"KEEPALIVE_INTERVAL": "799ms"}, []string{"warn ttl-raised KEEPALIVE_INTERVAL"}},
		"an interval that is enough":   {map[string]string{"KEEPALIVE_INTERVAL": "800ms"}, nil},
		"a variable without effect":    {map[string]string{"KEEPALIVE_RETRY": "5", "ROLLBAR_TOKEN": "secret"}, []string{"info variable-unused KEEPALIVE_RETRY", "info variable-unused ROLLBAR_TOKEN"}},
		"variables of LinK, version 3": {map[string]string{"MAX_NUMBER_OF_ENDPOINTS": "10", "SECRET_STORAGE_ENCRYPTION_KEY": "secret"}, []string{"info variable-unused MAX_NUMBER_OF_ENDPOINTS", "info variable-unused SECRET_STORAGE_ENCRYPTION_KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := linked(test.variables)
			if err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.DebugLevel)
			tr.Tell(journal.New(zap.New(core)))
			var all []string
			for _, l := range logs.All() {
				m := l.ContextMap()
				all = append(all, fmt.Sprint(l.Level, " ", m["code"], " ", m["key"]))
				if strings.Contains(fmt.Sprint(l.Message, m), "secret") && m["key"] != "SECRET_STORAGE_ENCRYPTION_KEY" {
					t.Errorf("a note shows a secret: %s %v", l.Message, m)
				}
				if m["code"] == "variable-unused" && m["reason"] == "" {
					t.Errorf("want the reason why %v has no effect", m["key"])
				}
			}
			if diff := cmp.Diff(test.want, all); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzLink holds that no environment breaks the translation, and that what it prints is a
// configuration of berth and means what runs.
func FuzzLink(f *testing.F) {
	f.Add("http://192.0.2.1:2379", "eth0", "1313", "3s", "link", "secret", "lb1", "/c.pem")
	f.Add("a:1, https://b:2,,[::1]:3", "e\x1bth", "01", "1h", "é\u2028", "p\x01", "- a: b # c", "")
	f.Add("HTTPS://a:1", "no", "~", "0.1ns", "null", "*a", "\"", "x y")
	f.Fuzz(func(t *testing.T, hosts, device, port, interval, user, password, name, file string) {
		tr, err := linked(map[string]string{"ETCD_HOSTS": hosts, "INTERFACE": device, "PORT": port, "KEEPALIVE_INTERVAL": interval,
			"ARP_GRATUITOUS_INTERVAL": interval, "USER": user, "PASSWORD": password, "HOSTNAME": name, "ETCD_CACERT": file})
		if err != nil {
			return
		}
		c := tr.Config
		if !c.Elects() || c.Election.OnEtcdLoss != config.Claim || c.Etcd.Prefix != "/link/berth/" || c.Etcd.LeaseTTL < 4*time.Second {
			t.Fatalf("got %+v, %+v", c.Election, c.Etcd)
		}
		if (c.API.Username == "") != strings.HasPrefix(c.API.Listen, "127.0.0.1:") || c.API.Password.Reveal() != password {
			t.Fatalf("got %+v", c.API)
		}
		again, err := config.Parse(tr.Text, "berth.yml", options)
		if err != nil {
			t.Fatalf("the printed text is refused: %v\n%s", err, tr.Text)
		}
		again.API.Password = c.API.Password // it is not printed
		if diff := cmp.Diff(c.Etcd, again.Etcd) + cmp.Diff(c.Election, again.Election) + cmp.Diff(c.API, again.API); diff != "" {
			t.Fatalf("what is printed means another thing than what runs (-runs +printed):\n%s", diff)
		}
	})
}

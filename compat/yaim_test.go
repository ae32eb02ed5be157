package compat_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/compat"
	"berth/config"
	"berth/internal/journal"
	"berth/internal/section"
	"berth/providers/none"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// least has what yaim's documentation does not let a user leave out.
const least = `interval: 1000
ttl: 9000
checker-type: http
http-url: http://127.0.0.1/
interface: eth0
`

var options = config.Options{Sections: map[string]config.SectionCheck{"none": none.Entry.Check}}

// translate translates a yaim.yml, with variables of the environment.
func translate(text string, variables map[string]string) (*compat.Translation, error) {
	return compat.YaimText(text, "yaim.yml", func(name string) string { return variables[name] }, options)
}

// read is what berth makes of a yaim.yml that is right.
func read(t *testing.T, text string, variables map[string]string) *config.Config {
	t.Helper()
	tr, err := translate(text, variables)
	if err != nil {
		t.Fatal(err)
	}
	return tr.Config
}

// The example of yaim's own documentation, which spells keys in both ways.
func TestYaimDocumentedFile(t *testing.T) {
	tr, err := translate(`# time (in milliseconds)
interval: 3000
ttl: 9000
retry_num: 2
retry_after: 250
dcs-namespace: "/service/"
dcs-clustername: "yaim"
dcs-type: etcd
dcs-endpoints:
  - http://127.0.0.1:2379
#etcd_user: "patroni"
checker-type: http
interface: lo
netmask: 32
label: yaim
http-url: http://127.0.0.1:2379/v2/keys/test
http-expected-code: 200
http-expected-response-contains: '"value":"foo"'
log-level: Debug
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `etcd:
  endpoints: ['http://127.0.0.1:2379']
  prefix: /service/yaim/
  lease-ttl: 9s
election:
  on-etcd-loss: release
pool:
  enabled: true
  interface: lo
  prefix: /service/yaim/
  health:
    - http:
        url: http://127.0.0.1:2379/v2/keys/test
        code: 200
        contains: '"value":"foo"'
        follow-redirects: true
      interval: 1s
      timeout: 1s
      rise: 1
      fall: 2
provider: none
`
	if diff := cmp.Diff(want, tr.Text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !tr.Verbose {
		t.Error("want log-level Debug to be verbose")
	}
}

// Each row is a line of yaim's documentation, or a key of its code, and what berth does.
func TestYaimKeys(t *testing.T) {
	check := func(c *config.Config) config.Health { return c.Pool.Health[0] }
	for _, test := range []struct {
		name      string
		lines     string // beside, or in place of, those of least
		variables map[string]string
		got       func(*config.Config) any
		want      any
	}{
		{"dcs-namespace and dcs-clustername: keys below /namespace/cluster/", "dcs-namespace: /service/\ndcs-clustername: yaim\n", nil,
			func(c *config.Config) any { return c.Pool.Prefix + " " + c.Etcd.Prefix }, "/service/yaim/ /service/yaim/"},
		{"dcs-namespace without slashes", "dcs-namespace: service\ndcs-clustername: yaim\n", nil, func(c *config.Config) any { return c.Pool.Prefix }, "/service/yaim/"},
		{"dcs-namespace with many slashes", "dcs-namespace: //a//b/\ndcs-clustername: /yaim/\n", nil, func(c *config.Config) any { return c.Pool.Prefix }, "/a/b/yaim/"},
		{"dcs-clustername alone", "dcs-clustername: yaim\n", nil, func(c *config.Config) any { return c.Pool.Prefix }, "/yaim/"},
		{"neither, as yaim's default", "", nil, func(c *config.Config) any { return c.Pool.Prefix }, "/"},
		{"ttl in milliseconds, cut to whole seconds", "ttl: 6900\n", nil, func(c *config.Config) any { return c.Etcd.LeaseTTL }, 6 * time.Second},
		{"ttl shorter than berth can hold", "ttl: 1500\n", nil, func(c *config.Config) any { return c.Etcd.LeaseTTL }, 4 * time.Second},
		{"interval in milliseconds: the rhythm of the check", "interval: 400\n", nil, func(c *config.Config) any { return check(c).Interval }, 400 * time.Millisecond},
		{"interval longer than a second", "interval: 30000\n", nil, func(c *config.Config) any { return check(c).Interval }, time.Second},
		{"interval shorter than berth's shortest", "interval: 10\nretry_after: 0\n", nil, func(c *config.Config) any { return check(c).Interval }, 100 * time.Millisecond},
		{"retry_after: spacing of the attempts", "retry_after: 5000\n", nil, func(c *config.Config) any { return check(c).Interval }, 5 * time.Second},
		{"retry-after spelled with a dash", "retry-after: 5000\n", nil, func(c *config.Config) any { return check(c).Timeout }, 5 * time.Second},
		{"retry_num: attempts that must fail", "retry_num: 5\n", nil, func(c *config.Config) any { return check(c).Fall }, 5},
		{"retry-num spelled with a dash", "retry-num: 5\n", nil, func(c *config.Config) any { return check(c).Fall }, 5},
		{"retry_num: yaim's default", "", nil, func(c *config.Config) any { return check(c).Fall }, 3},
		{"both spellings with one value", "retry-num: 5\nretry_num: 5\n", nil, func(c *config.Config) any { return check(c).Fall }, 5},
		{"one good attempt is enough, as in yaim", "", nil, func(c *config.Config) any { return check(c).Rise }, 1},
		{"dcs-type: etcd", "dcs-type: etcd\n", nil, func(c *config.Config) any { return c.Etcd.Endpoints }, []string{"http://127.0.0.1:2379"}},
		{"dcs-endpoints: a list", "dcs-endpoints: [http://192.0.2.1:2379, 'http://192.0.2.2:2379/']\n", nil,
			func(c *config.Config) any { return c.Etcd.Endpoints }, []string{"http://192.0.2.1:2379", "http://192.0.2.2:2379"}},
		{"dcs-endpoints: a text with commas", "dcs_endpoints: http://192.0.2.1:2379, http://192.0.2.2:2379,\n", nil,
			func(c *config.Config) any { return c.Etcd.Endpoints }, []string{"http://192.0.2.1:2379", "http://192.0.2.2:2379"}},
		{"dcs-endpoints: one text", "dcs-endpoints: http://192.0.2.1:2379\n", nil, func(c *config.Config) any { return c.Etcd.Endpoints }, []string{"http://192.0.2.1:2379"}},
		{"YAIM_DCS_ENDPOINTS before the file", "dcs-endpoints: [http://192.0.2.1:2379]\n", map[string]string{"YAIM_DCS_ENDPOINTS": "http://192.0.2.8:2379,http://192.0.2.9:2379"},
			func(c *config.Config) any { return c.Etcd.Endpoints }, []string{"http://192.0.2.8:2379", "http://192.0.2.9:2379"}},
		{"etcd_user and etcd_password", "etcd_user: yaim\netcd_password: UpiU178\n", nil,
			func(c *config.Config) any { return c.Etcd.Username + " " + c.Etcd.Password.Reveal() }, "yaim UpiU178"},
		{"etcd-user and etcd-password", "etcd-user: yaim\netcd-password: UpiU178\n", nil,
			func(c *config.Config) any { return c.Etcd.Username + " " + c.Etcd.Password.Reveal() }, "yaim UpiU178"},
		{"YAIM_ETCD_PASSWORD", "etcd_user: yaim\n", map[string]string{"YAIM_ETCD_PASSWORD": "UpiU178"}, func(c *config.Config) any { return c.Etcd.Password.Reveal() }, "UpiU178"},
		{"a variable that is empty counts for nothing", "retry_num: 5\n", map[string]string{"YAIM_RETRY_NUM": ""}, func(c *config.Config) any { return check(c).Fall }, 5},
		{"etcd-ca-file, etcd-cert-file and etcd-key-file are used", "dcs-endpoints: https://192.0.2.1:2379\netcd-ca-file: /ca.pem\netcd-cert-file: /c.pem\netcd_key_file: /k.pem\n", nil,
			func(c *config.Config) any { return c.Etcd.CAFile + c.Etcd.CertFile + c.Etcd.KeyFile }, "/ca.pem/c.pem/k.pem"},
		{"checker-type: http, http-url", "http-url: http://127.0.0.1:8080/up\n", nil, func(c *config.Config) any { return check(c).HTTP.Method + " " + check(c).HTTP.URL }, "GET http://127.0.0.1:8080/up"},
		{"redirects are followed, as by yaim", "", nil, func(c *config.Config) any { return check(c).HTTP.FollowRedirects }, true},
		{"http-expected-code", "http-expected-code: 204\n", nil, func(c *config.Config) any { return check(c).HTTP.Codes }, [][2]int{{204, 204}}},
		{"http-expected-response-contains", "http-expected-response-contains: '\"value\":\"foo\"'\n", nil, func(c *config.Config) any { return check(c).HTTP.Contains }, `"value":"foo"`},
		{"http-expected-response is the whole body", "http-expected-response: a.b\n", nil,
			func(c *config.Config) any {
				m := check(c).HTTP.Matches
				return fmt.Sprint(m.MatchString("a.b"), m.MatchString("a.b\n"), m.MatchString("axb"), m.MatchString("ca.b"))
			}, "true false false false"},
		{"http-expected-response before http-expected-response-contains", "http-expected-response: a\nhttp-expected-response-contains: b\n", nil,
			func(c *config.Config) any { return check(c).HTTP.Contains + check(c).HTTP.Matches.String() }, `\Aa\z`},
		{"interface", "interface: eth7\n", nil, func(c *config.Config) any { return c.Pool.Interface }, "eth7"},
		{"nodename", "nodename: node/1\n", nil, func(c *config.Config) any { return c.Etcd.MemberName() }, "node/1"},
		{"the pool, released where etcd is lost", "", nil, func(c *config.Config) any { return fmt.Sprint(c.Pool.Enabled, " ", c.Election.OnEtcdLoss) }, "true release"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var text strings.Builder
			for line := range strings.Lines(least) {
				key, _, _ := strings.Cut(line, ":")
				if !regexp.MustCompile(`(?m)^` + key + `:`).MatchString(test.lines) {
					text.WriteString(line)
				}
			}
			c := read(t, text.String()+test.lines, test.variables)
			if diff := cmp.Diff(test.want, test.got(c)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestYaimMistakes(t *testing.T) {
	for _, test := range []struct {
		name, text string
		variables  map[string]string
		want       []string
	}{
		{"an empty file", "", nil, []string{
			"yaim.yml: ttl: missing; write the time after which a node that has died loses its addresses, in milliseconds, such as 6000",
			"yaim.yml: interface: missing; write the name of the network interface that gets the addresses, such as eth0",
			"yaim.yml: checker-type: missing; write http",
			"yaim.yml: http-url: missing; write the URL of the health check, such as http://127.0.0.1:8080/health",
			"yaim.yml: interval: missing; write the time between two rounds of yaim, in milliseconds, such as 1000",
		}},
		{"numbers that are none", "interval: 1s\nttl: 0\nretry_num: 0\nretry-after: -1\nhttp-expected-code: OK\nnetmask: 255.255.255.0\nchecker-type: http\nhttp-url: http://a/\ninterface: eth0\n", nil, []string{
			"yaim.yml:1: interval: found a text of 2 characters; write the time between two rounds of yaim, in milliseconds, such as 1000",
			"yaim.yml:2: ttl: found 0; write the time after which a node that has died loses its addresses, in milliseconds, such as 6000",
			"yaim.yml:3: retry_num: found 0; write how many attempts of the health check must fail, from 1 to 100",
			"yaim.yml:4: retry-after: found -1; write the time between two attempts of the health check, in milliseconds, such as 250",
			"yaim.yml:5: http-expected-code: found a text of 2 characters; write a status code of HTTP such as 200",
			"yaim.yml:6: netmask: found a text of 13 characters; write the length of a prefix, such as 32",
		}},
		{"words", least + "dcs-type: consul\nlog-level: loud\n", nil, []string{
			`yaim.yml:6: dcs-type: found "consul"; write one of etcd`,
			`yaim.yml:7: log-level: found "loud"; write one of trace, debug, info, warn, warning, error, fatal, panic`,
		}},
		{"an unknown key", least + "http-expected-status: 200\nretry_nmu: 3\n", nil, []string{
			`yaim.yml:6: unknown key "http-expected-status"; did you mean http-expected-code?`,
			`yaim.yml:7: unknown key "retry_nmu"; did you mean retry-num?`,
		}},
		{"a misspelt key is not missing", strings.Replace(least, "ttl:", "ttls:", 1), nil, []string{`yaim.yml:2: unknown key "ttls"; did you mean ttl?`}},
		{"two spellings with two values", least + "retry_num: 3\nretry-num: 4\n", nil, []string{`yaim.yml:7: retry-num: the key is there twice; keep one`}},
		{"a list where a text is expected", least + "nodename: [a]\n", nil, []string{`yaim.yml:6: nodename: found a list; write a text`}},
		{"endpoints", least + "dcs_endpoints:\n  - http://192.0.2.1:2379\n  - 192.0.2.2:2379\n  - {a: b}\n", nil, []string{
			`yaim.yml:8: dcs_endpoints, number 2: found a text of 14 characters; write the URL of an etcd member, such as https://192.0.2.1:2379`,
			`yaim.yml:9: dcs_endpoints, number 3: found keys and values; write a text`,
		}},
		{"an endpoint that berth refuses, at the line of yaim.yml", least + "dcs_endpoints:\n  - http://192.0.2.1:2379\n  - http://root:secret@192.0.2.2:2379\n", nil, []string{
			`yaim.yml:8: dcs_endpoints, number 2: found a URL with a user or password (etcd.username and etcd.password-file are for these); write the URL of an etcd member, such as https://192.0.2.1:2379`,
		}},
		{"an endpoint of the environment", least, map[string]string{"YAIM_DCS_ENDPOINTS": "192.0.2.2:2379"}, []string{
			`yaim.yml: YAIM_DCS_ENDPOINTS, number 1: found a text of 14 characters; write the URL of an etcd member, such as https://192.0.2.1:2379`,
		}},
		{"a number of the environment", least, map[string]string{"YAIM_TTL": "9s"}, []string{
			"yaim.yml: YAIM_TTL: found a text of 2 characters; write the time after which a node that has died loses its addresses, in milliseconds, such as 6000",
		}},
		{"a variable with a line break", least, map[string]string{"YAIM_NODENAME": "a\nb"}, []string{
			"yaim.yml: YAIM_NODENAME: found a text with control characters; write a text without them",
		}},
		{"a password without a user", least + "etcd_password: secret\n", nil, []string{"yaim.yml: etcd-user: missing; write the name of the user whose password is given"}},
		{"a certificate without its key", least + "dcs-endpoints: https://192.0.2.1:2379\netcd_cert_file: /c.pem\n", nil, []string{"yaim.yml: etcd-key-file: missing; write the path of the key of cert-file"}},
		{"an authority without TLS", least + "etcd-ca-file: /ca.pem\n", nil, []string{
			"yaim.yml:6: etcd-ca-file: found endpoints without TLS; write endpoints that begin with https://, or leave this key out"}},
		{"a URL that is none", strings.Replace(least, "http://127.0.0.1/", "127.0.0.1", 1), nil, []string{
			"yaim.yml:4: http-url: found a text of 9 characters; write a URL such as http://127.0.0.1:8080/healthz"}},
		{"a URL with a password", strings.Replace(least, "http://", "http://user:secret@", 1), nil, []string{
			"yaim.yml:4: http-url: found a URL with a user or password; write it without these; a file of berth has headers for them, see docs/migrating.md"}},
		{"an interface that is none", strings.Replace(least, "eth0", "much-too-long-for-it", 1), nil, []string{
			"yaim.yml:5: interface: found a text of 20 characters; write the name of a network interface, such as eth0"}},
		{"no YAML", "interval: 1000\n\tttl: 1\n", nil, []string{"yaim.yml:2: found a tab character that violates indentation; a value with other characters than letters and digits may need quotes around it"}},
		{"two documents", least + "---\na: b\n", nil, []string{"yaim.yml:6: a second YAML document; berth reads one document per file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr, err := translate(test.text, test.variables)
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

// A mistake that berth finds when it builds its parts has the place in yaim.yml too.
func TestYaimMistakesThatAreFoundLater(t *testing.T) {
	c := read(t, least+"etcd_user: yaim\ndcs-endpoints: https://192.0.2.1:2379\netcd_ca_file: /none.pem\n", nil)
	if got, want := c.Located("etcd", &section.Problem{Key: "etcd.ca-file", Text: "no such file"}).Error(), "yaim.yml:8: etcd_ca_file: no such file"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err := config.SecretSource{Section: "etcd", CredentialPrefix: "etcd.", Getenv: func(string) string { return "" }, Config: c}.Resolve("password", c.Etcd.Password, c.Etcd.PasswordFile, "BERTH_ETCD_PASSWORD")
	want := "yaim.yml: etcd-password: missing; write it or set YAIM_ETCD_PASSWORD; or give systemd the credential etcd.password (LoadCredential=etcd.password:FILE), or set BERTH_ETCD_PASSWORD"
	if got := c.Located("etcd", err).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestYaimPasswordIsNotInTheText(t *testing.T) {
	const password = "UpiU178oURwaK4RQ7Gw"
	tr, err := translate(least+"etcd_user: yaim\netcd_password: "+password+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(tr.Text, password) || strings.Contains(fmt.Sprintf("%+v %#v", tr, tr), password) {
		t.Errorf("the password is in\n%s", tr.Text)
	}
	if !strings.Contains(tr.Text, "password-file: FILE") || !strings.Contains(tr.Text, "credential etcd.password") {
		t.Errorf("want the text to say where a password is given, got\n%s", tr.Text)
	}
	const want = `  # The password is not shown. In a file of berth, write password-file: FILE here, or
  # give systemd the credential etcd.password (LoadCredential=etcd.password:FILE).
  username: yaim
`
	if !strings.Contains(tr.Text, want) {
		t.Errorf("want\n%sin\n%s", want, tr.Text)
	}
}

// notes returns what the user is told of a file, as code and fields.
func notes(t *testing.T, text string, variables map[string]string) []string {
	t.Helper()
	tr, err := translate(text, variables)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	tr.Tell(journal.New(zap.New(core)))
	var all []string
	for _, l := range logs.All() {
		m := l.ContextMap()
		all = append(all, fmt.Sprint(l.Level, " ", m["code"], " ", m["key"], " ", m["line"]))
	}
	return all
}

func TestYaimNotes(t *testing.T) {
	for name, test := range map[string]struct {
		lines     string
		variables map[string]string
		want      []string
	}{
		"nothing to say":             {"netmask: 32\n", nil, nil},
		"a ttl that is raised":       {"", map[string]string{"YAIM_TTL": "3999"}, []string{"warn ttl-raised YAIM_TTL <nil>"}},
		"a ttl that is enough":       {"", map[string]string{"YAIM_TTL": "4000"}, nil},
		"a password in the file":     {"etcd_user: a\netcd_password: b\n", nil, []string{"warn etcd-password-written etcd_password 7"}},
		"a password in the variable": {"etcd_user: a\netcd_password: b\n", map[string]string{"YAIM_ETCD_PASSWORD": "c"}, []string{"warn etcd-password-written YAIM_ETCD_PASSWORD <nil>"}},
		"a netmask and a label":      {"netmask: 24\nlabel: yaim\n", nil, []string{"info netmask-unused netmask 6", "info label-unused label 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, notes(t, least+test.lines, test.variables)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestYaimReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "yaim.yml")
	unset := func(string) string { return "" }
	if _, err := compat.Yaim(path, unset, options); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	if tr, err := compat.Yaim(path, unset, options); err != nil || tr.Config.Path != path {
		t.Errorf("got %+v, %v", tr, err)
	}
}

// FuzzYaim holds that no file and no environment break the translation, and that what it
// prints is a configuration of berth and means what runs.
func FuzzYaim(f *testing.F) {
	f.Add(least, "")
	f.Add(least+"dcs-endpoints: [http://a:1, b]\netcd_user: u\netcd_password: \"p\\x01\"\nnodename: \"\\e\"\n", "9000")
	f.Add("a: &a [*a]\n<<: {ttl: 1}\n", "x")
	f.Add(least+"http-expected-response: \"\\0\\n\\r\\u2028é\"\n? [a]\n: b\n", "")
	f.Fuzz(func(t *testing.T, text, variable string) {
		tr, err := translate(text, map[string]string{"YAIM_TTL": variable, "YAIM_HTTP_EXPECTED_RESPONSE": variable, "YAIM_NODENAME": variable})
		if err != nil {
			return
		}
		c := tr.Config
		if !strings.HasPrefix(c.Pool.Prefix, "/") || c.Pool.Prefix != c.Etcd.Prefix || !c.Pool.Enabled || c.Etcd.LeaseTTL < 4*time.Second {
			t.Fatalf("got %+v, %+v", c.Pool, c.Etcd)
		}
		again, err := config.Parse(tr.Text, "berth.yml", options)
		if err != nil {
			t.Fatalf("the printed text is refused: %v\n%s", err, tr.Text)
		}
		again.Etcd.Password = c.Etcd.Password // it is not printed
		if diff := cmp.Diff(c.Etcd, again.Etcd) + cmp.Diff(fmt.Sprintf("%+v", c.Pool.Health[0].HTTP), fmt.Sprintf("%+v", again.Pool.Health[0].HTTP)); diff != "" {
			t.Fatalf("what is printed means another thing than what runs (-runs +printed):\n%s", diff)
		}
	})
}

package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"berth/config"
	"berth/internal/journal"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const everyCheck = `
provider: none
etcd: {endpoints: ["http://192.0.2.9:2379"]}
health:
  - http: {url: "https://127.0.0.1:6443/healthz?key=S3CRET", method: POST, code: [200, "300-399"], contains: ok, matches: '^o', headers: {Host: api}, ca-file: /ca, cert-file: /c, key-file: /k, follow-redirects: true}
  - {tcp: {address: "127.0.0.1:25", banner: ESMTP}, name: mail, interval: 5s, timeout: 3s, rise: 1, fall: 10}
election:
  interface: eth0
  health:
    - exec: {command: [/bin/check, S3CRET], environment: {TOKEN: S3CRET}}
    - postgres: {dsn: "host=/run/postgresql port=5433 user=u password=S3CRET dbname=app", query: SELECT 2, expect: "2"}
  instances:
    - {name: api, addresses: [192.0.2.1], health: [{grpc: {address: "unix:/run/api.sock", service: api.V1}}, {tcp: {address: "127.0.0.1:80"}}]}
    - {name: web, addresses: [192.0.2.2], health: [{tcp: {address: "127.0.0.1:80"}}, {http: {url: "http://[::1]/", code: 204-204}, timeout: 4s}, {tcp: {address: "unix:/s"}, interval: 500ms}]}
`

func TestHealth(t *testing.T) {
	c, err := parse(everyCheck)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range c.HealthChecks() {
		got = append(got, fmt.Sprintf("%s: every %v, %v, %d/%d", h.Name, h.Interval, h.Timeout, h.Rise, h.Fall))
	}
	want := []string{
		"http https://127.0.0.1:6443/healthz: every 2s, 1s, 2/3",
		"mail: every 5s, 3s, 1/10",
		"exec /bin/check: every 2s, 1s, 2/3",
		"postgres /run/postgresql:5433 app: every 2s, 1s, 2/3",
		"grpc unix:/run/api.sock api.V1: every 2s, 1s, 2/3",
		"tcp 127.0.0.1:80: every 2s, 1s, 2/3",
		"http http://[::1]/: every 4s, 4s, 2/3",
		"tcp unix:/s: every 500ms, 500ms, 2/3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks, each once (-want +got):\n%s", diff)
	}
	h := c.Health[0].HTTP
	if h.Matches.String() != "^o" {
		t.Errorf("matches: %v", h.Matches)
	}
	h.Matches = nil
	if diff := cmp.Diff(&config.HTTPCheck{URL: "https://127.0.0.1:6443/healthz?key=S3CRET", Method: "POST", Codes: [][2]int{{200, 200}, {300, 399}}, Contains: "ok",
		Headers: map[string]string{"Host": "api"}, CAFile: "/ca", CertFile: "/c", KeyFile: "/k", FollowRedirects: true}, h); diff != "" {
		t.Errorf("http (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&config.PostgresCheck{DSN: "host=/run/postgresql port=5433 user=u password=S3CRET dbname=app", Query: "SELECT 2", Expect: "2"}, c.Election.Health[1].Postgres); diff != "" {
		t.Errorf("postgres (-want +got):\n%s", diff)
	}
	if got, want := c.HealthOf("api"), []string{want[0][:strings.Index(want[0], ": every")], "mail", "exec /bin/check", "postgres /run/postgresql:5433 app", "grpc unix:/run/api.sock api.V1", "tcp 127.0.0.1:80"}; !cmp.Equal(got, want) {
		t.Errorf("checks of api: got %q, want %q", got, want)
	}
	for check, want := range map[string][]string{"mail": nil, "tcp 127.0.0.1:80": {"api", "web"}, "tcp unix:/s": {"web"}, "none": {}} {
		if got := c.HealthConcerns(check); !cmp.Equal(got, want) {
			t.Errorf("instances of %s: got %q, want %q", check, got, want)
		}
	}
	c, err = parse(etcdOf("5s") + "health: [{tcp: {address: \"h:1\"}}]\n" + electedBy + "pool: {enabled: true, health: [{tcp: {address: \"h:2\"}}, {tcp: {address: \"h:1\"}}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.HealthOf(config.PoolInstance), []string{"tcp h:1", "tcp h:2"}; !cmp.Equal(got, want) || !cmp.Equal(c.HealthConcerns("tcp h:2"), []string{config.PoolInstance}) {
		t.Errorf("checks of the pool: got %q, want %q", got, want)
	}
	c, err = parse("health: [{http: {url: \"http://h/\"}}, {postgres: {dsn-file: /d}}]\n")
	if err != nil {
		t.Fatal(err)
	}
	if h := c.Health[0].HTTP; h.Method != "GET" || !cmp.Equal(h.Codes, [][2]int{{200, 299}}) || c.Health[1].Postgres.Query != "SELECT 1" {
		t.Errorf("defaults: got %+v", h)
	}
}

// No part of a connection string that could be a password is in a name, which is shown.
func TestNamesOfDatabaseChecksHaveNoPassword(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:S3CRET@db.example.com:5432/app?x=S3CRET":      "postgres db.example.com:5432/app",
		"postgres://u:S3C/RET@db/app":                               "postgres",
		"postgres://berth:/S3CRET@127.0.0.1/db":                     "postgres",
		"postgres://u:12#S3CRET@db/app":                             "postgres",
		"postgres://u:12?S3CRET@db/app":                             "postgres",
		"postgres://u:a@S3C/RET@db/app":                             "postgres",
		"postgres://db:5432/app":                                    "postgres db:5432/app",
		"postgres://u@db/app":                                       "postgres db/app",
		"host=h dbname=postgres://u:S3CRET@h/db":                    "postgres",
		"dbname=postgres://u:S3CRET@h/db":                           "postgres",
		"host=h dbname=u:S3CRET@h":                                  "postgres",
		"host=h password= dbname=S3CRET":                            "postgres",
		"host=h password = dbname=S3CRET":                           "postgres",
		"host=h dbname=password=S3CRET":                             "postgres",
		"host=h port=1 dbname=app":                                  "postgres h:1 app",
		"user=u password=S3CRET":                                    "postgres",
		"host=h user=u password='S3CRET host=S3CRET dbname=S3CRET'": "postgres",
		`host=h password=a\ host=S3CRET`:                            "postgres",
	} {
		c, err := parse("health: [{postgres: {dsn: \"" + strings.ReplaceAll(dsn, `\`, `\\`) + "\"}}]\n")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Health[0].Name; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Wherever a password stands in a connection string or a URL, in whatever characters, the
// name is the same as with another password, or says nothing.
func FuzzNamesHaveNoPassword(f *testing.F) {
	for _, s := range []string{"/Xy9secretpw", "12#ab", "12/ab", "12?ab", "a@b", "a@b/c", "a b", "postgres://u:p@h", "%", "a=b", "\x00", "5432", "::", "[1]"} {
		f.Add(s)
	}
	name := func(kind, text string) (string, bool) {
		encoded, err := json.Marshal(text)
		if err != nil {
			return "", false
		}
		c, err := parse("health: [{" + kind + ": " + strings.ReplaceAll(string(encoded), "\x7f", "\\u007f") + "}}]\n")
		if err != nil {
			return "", false
		}
		return c.Health[0].Name, true
	}
	f.Fuzz(func(t *testing.T, secret string) {
		for _, in := range []struct {
			kind, before, after string
			plain               bool // the form has no spaces and quotes in a value
		}{
			{"postgres: {dsn", "postgres://user:", "@db.example.com:5432/app", false},
			{"postgres: {dsn", "postgresql://user:", "@db.example.com/app?sslmode=disable", false},
			{"postgres: {dsn", "postgres://db.example.com/app?password=", "", false},
			{"postgres: {dsn", "host=db.example.com dbname=app password=", "", true},
			{"postgres: {dsn", "host=db.example.com dbname=app password = ", " user=u", true},
			{"postgres: {dsn", "host=db.example.com password=", " dbname=postgres", true},
			{"postgres: {dsn", "dbname=postgres://user:", "@db.example.com/app", true},
			{"http: {url", "http://db.example.com/app?key=", "", false},
			{"http: {url", "http://user:", "@db.example.com/app", false},
		} {
			if in.plain && strings.ContainsFunc(secret, func(r rune) bool { return unicode.IsSpace(r) || r == '\'' || r == '\\' }) {
				continue
			}
			got, ok := name(in.kind, in.before+secret+in.after)
			if !ok {
				continue
			}
			want, _ := name(in.kind, in.before+"x"+in.after)
			if got != want && got != "postgres" && got != "http" {
				t.Errorf("%s%q%s: got the name %q", in.before, secret, in.after, got)
			}
		}
	})
}

func TestMistakesOfHealthChecks(t *testing.T) {
	for _, tt := range []struct{ name, item, want string }{
		{"no kind", "{name: x}", `http: missing; write what to check: one of http, tcp, exec, postgres and grpc, such as http: {url: "http://127.0.0.1/"}`},
		{"nothing", "", "found nothing; write keys and values"},
		{"two kinds", "{tcp: {address: \"h:1\"}, grpc: {address: \"h:1\"}}", "grpc: found beside health, number 1, tcp; write one of the two"},
		{"misspelt kind", "{htpp: {url: \"http://h\"}}", `unknown key "htpp"; did you mean http?`},
		{"unknown key", "{tcp: {address: \"h:1\", adress: x}}", `tcp: unknown key "adress"; did you mean address?`},
		{"no url", "{http: {code: 200}}", "http, url: missing; write the URL to ask, such as http://127.0.0.1:8080/healthz"},
		{"no URL", "{http: {url: \"127.0.0.1:80\"}}", "http, url: found a text of 12 characters; write a URL such as http://127.0.0.1:8080/healthz"},
		{"other scheme", "{http: {url: \"ftp://h/\"}}", "http, url: found a text of 8 characters; write a URL such as http://127.0.0.1:8080/healthz"},
		{"password in the URL", "{http: {url: \"http://u:S3CRET@h/\"}}", "http, url: found a URL with a user or password (headers: {Authorization: ...} is for these); write a URL such as http://127.0.0.1:8080/healthz"},
		{"port of the URL", "{http: {url: \"http://h:99999/\"}}", "http, url: found a URL whose port is not a number from 1 to 65535; write a URL such as http://127.0.0.1:8080/healthz"},
		{"code", "{http: {url: \"http://h/\", code: 99}}", `http, code: found a number; write a status code from 100 to 599, a range such as "200-299", or a list of these`},
		{"range that goes down", "{http: {url: \"http://h/\", code: 299-200}}", `http, code: found a text of 7 characters; write a status code from 100 to 599, a range such as "200-299", or a list of these`},
		{"list with a word", "{http: {url: \"http://h/\", code: [200, ok]}}", `http, code: found a list; write a status code from 100 to 599, a range such as "200-299", or a list of these`},
		{"no code", "{http: {url: \"http://h/\", code: []}}", "http, code: missing; write some, or leave the key out for 200-299"},
		{"method", "{http: {url: \"http://h/\", method: \"GE T\"}}", "http, method: found a text of 4 characters; write a method of HTTP such as GET or HEAD"},
		{"expression", "{http: {url: \"http://h/\", matches: \"(S3CRET\"}}", "http, matches: found a text of 7 characters; write a regular expression as RE2 has them, see https://github.com/google/re2/wiki/Syntax"},
		{"header", "{http: {url: \"http://h/\", headers: {X: \"a\\nb\"}}}", "http, headers: found a text of 3 characters; write a name and a text of one line, such as Host: api.example.com"},
		{"no path of a file", "{http: {url: \"https://h/\", ca-file: \"-----BEGIN CERTIFICATE\"}}", "http, ca-file: found a text of 22 characters; write a path such as /etc/berth/ca.pem"},
		{"file without TLS", "{http: {url: \"http://h/\", ca-file: /ca}}", "http, ca-file: found a url without TLS; write a url that begins with https://, or leave this key out"},
		{"certificate without its key", "{http: {url: \"https://h/\", cert-file: /c}}", "http, key-file: missing; write the path of the key of cert-file"},
		{"key without its certificate", "{http: {url: \"https://h/\", key-file: /k}}", "http, cert-file: missing; write the path of the certificate of key-file"},
		{"no address", "{tcp: {banner: x}}", "tcp, address: missing; write host and port, such as 127.0.0.1:5432"},
		{"address without port", "{grpc: {address: localhost}}", "grpc, address: found a text of 9 characters; write host and port such as 127.0.0.1:50051, or unix: and an absolute path"},
		{"IPv6 without brackets", "{tcp: {address: \"::1:80\"}}", "tcp, address: found a text of 6 characters; write host and port such as 127.0.0.1:5432, or unix: and an absolute path"},
		{"relative socket", "{tcp: {address: \"unix:s\"}}", "tcp, address: found a text of 6 characters; write host and port such as 127.0.0.1:5432, or unix: and an absolute path"},
		{"no command", "{exec: {command: []}}", "exec, command: missing; write the program and its arguments as a list, such as [/usr/local/bin/healthy]"},
		{"command as a text", "{exec: {command: /bin/true}}", "exec, command: found a text of 9 characters; write a list"},
		{"relative program", "{exec: {command: [bin/check]}}", "exec, command, number 1: found a text of 9 characters; write the absolute path of a program, or its name, which PATH leads to"},
		{"two connection strings", "{postgres: {dsn: S3CRET, dsn-file: /d}}", "postgres, dsn-file: found beside health, number 1, postgres, dsn; write one of the two"},
		{"no connection string", "{postgres: {query: SELECT 2}}", `postgres, dsn: missing; write a connection string such as "host=/run/postgresql user=berth dbname=postgres", or dsn-file, the path of a file that has one`},
		{"connection string as its file", "{postgres: {dsn-file: \"host=h password=S3CRET\"}}", "postgres, dsn-file: found a text of 22 characters; write a path such as /etc/berth/dsn"},
		{"rise", "{tcp: {address: \"h:1\"}, rise: 0}", "rise: found 0; write a whole number from 1 to 100"},
		{"fall", "{tcp: {address: \"h:1\"}, fall: 101}", "fall: found 101; write a whole number from 1 to 100"},
		{"interval", "{tcp: {address: \"h:1\"}, interval: 1ms}", "interval: found 1ms; write 100ms or more"},
		{"interval of hours", "{tcp: {address: \"h:1\"}, interval: 61m}", "interval: found 1h1m0s; write 1h0m0s or less"},
		{"timeout of hours", "{tcp: {address: \"h:1\"}, timeout: 2h}", "timeout: found 2h0m0s; write 1h0m0s or less"},
		{"both of hours", "{tcp: {address: \"h:1\"}, interval: 2h, timeout: 2h}", "interval: found 2h0m0s; write 1h0m0s or less"},
		{"socket of two lines", "{tcp: {address: \"unix:/s\\nx\"}}", "name: found a target with characters that cannot be shown; write a text of one line and 128 bytes at most"},
		{"command with terminal codes", "{exec: {command: [\"/bin/\\x1b[2J\"]}}", "name: found a target with characters that cannot be shown; write a text of one line and 128 bytes at most"},
		{"service that is written from right to left", "{grpc: {address: \"h:1\", service: \"a\\u202eb\"}}", "name: found a target with characters that cannot be shown; write a text of one line and 128 bytes at most"},
		{"name with a tab", "{tcp: {address: \"h:1\"}, name: \"a\\tb\"}", "name: found a text of 3 characters; write a text of one line and 128 bytes at most"},
		{"contains of HEAD", "{http: {url: \"http://h/\", method: HEAD, contains: ok}}", "http, contains: found a text for the body, which an answer to HEAD does not have; write another method, such as GET, or leave this key out"},
		{"matches of HEAD", "{http: {url: \"http://h/\", method: HEAD, matches: ok}}", "http, matches: found a text for the body, which an answer to HEAD does not have; write another method, such as GET, or leave this key out"},
		{"timeout that is longer than the interval", "{tcp: {address: \"h:1\"}, interval: 1s, timeout: 3s}", "timeout: found 3s; write no more than the interval, 1s"},
		{"name of two lines", "{tcp: {address: \"h:1\"}, name: \"a\\nb\"}", "name: found a text of 3 characters; write a text of one line and 128 bytes at most"},
	} {
		_, err := parse("provider: none\nhealth:\n  - " + tt.item + "\n")
		want := "berth.yml:3: health, number 1"
		if !strings.HasPrefix(tt.want, "unknown") && !strings.HasPrefix(tt.want, "found nothing") {
			want += ", " + tt.want
		} else {
			want += ": " + tt.want
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: the error has a secret", tt.name)
		}
	}
}

func TestTwoHealthChecksOfOneNameMustBeTheSame(t *testing.T) {
	_, err := parse(`
etcd: {endpoints: ["http://192.0.2.9:2379"]}
health: [{tcp: {address: "h:1"}}]
election:
  interface: eth0
  health:
    - tcp: {address: "h:1"}
    - tcp: {address: "h:1"}
      fall: 5
  instances:
    - {name: a, addresses: [192.0.2.1], health: [{tcp: {address: "h:2"}, name: x}]}
    - {name: b, addresses: [192.0.2.2], health: [{tcp: {address: "h:3"}, name: x}]}
`)
	want := "berth.yml:8: election.health, number 2, name: found a check with the name of another one, on line 3, that differs from it; write a name of its own\n" +
		"berth.yml:12: election.instances, number 2, health, number 1, name: found a check with the name of another one, on line 11, that differs from it; write a name of its own"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestSecretsOfHealthChecksThatEveryUserCanRead(t *testing.T) {
	for _, tt := range []struct {
		name, check string
		mode        os.FileMode
		want        string
	}{
		{"password", `{postgres: {dsn: "user=u password=S3CRET"}}`, 0o644, "health, number 1, postgres 2"},
		{"password of a URL", `{postgres: {dsn: "postgres://u:S3CRET@h/"}}`, 0o644, "health, number 1, postgres 2"},
		{"no password", `{postgres: {dsn: "postgres://u@h/"}}`, 0o644, ""},
		{"in a file", `{postgres: {dsn-file: /d}}`, 0o644, ""},
		{"header", `{http: {url: "http://h", headers: {authorization: S3CRET}}}`, 0o644, "health, number 1, http 2"},
		{"harmless header", `{http: {url: "http://h", headers: {Host: x}}}`, 0o644, ""},
		{"password of a URL that is not escaped", `{postgres: {dsn: "postgres://u:/S3CRET@h/"}}`, 0o644, "health, number 1, postgres 2"},
		{"password of a URL as a database", `{postgres: {dsn: "dbname=postgres://u:S3CRET@h/"}}`, 0o644, "health, number 1, postgres 2"},
		{"password in the query of a URL", `{postgres: {dsn: "postgres://u@h/?password=S3CRET"}}`, 0o644, "health, number 1, postgres 2"},
		{"some other header", `{http: {url: "http://h", headers: {X-Vault-Token: S3CRET}}}`, 0o644, "health, number 1, http 2"},
		{"key in the URL", `{http: {url: "http://h/?key=S3CRET"}}`, 0o644, "health, number 1, http 2"},
		{"word in the URL", `{http: {url: "http://h/readyz?verbose"}}`, 0o644, ""},
		{"environment of a program", `{exec: {command: [/c], environment: {TOKEN: S3CRET}}}`, 0o644, "health, number 1, exec 2"},
		{"program", `{exec: {command: [/c]}}`, 0o644, ""},
		{"readable by its group", `{postgres: {dsn: "user=u password=S3CRET"}}`, 0o640, ""},
	} {
		path := filepath.Join(t.TempDir(), "berth.yml")
		if err := os.WriteFile(path, []byte("health:\n  - "+tt.check+"\n"), tt.mode); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, options)
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zap.WarnLevel)
		c.WarnOfHealth(journal.New(zap.New(core)))
		var got string
		for _, l := range logs.All() {
			m := l.ContextMap()
			got += fmt.Sprint(m["key"], " ", m["line"])
			if strings.Contains(fmt.Sprint(m), "S3CRET") {
				t.Errorf("%s: the line has a secret", tt.name)
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestConnectionStringInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(path, []byte(" host=h \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := config.PostgresCheck{DSNFile: path}
	if dsn, err := p.ReadDSN(); dsn != "host=h" || err != nil {
		t.Errorf("got %q, %v", dsn, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReadDSN(); err == nil || !strings.Contains(err.Error(), "every user can read") {
		t.Errorf("got %v", err)
	}
	inline := config.PostgresCheck{DSN: "host=i"}
	if dsn, err := inline.ReadDSN(); dsn != "host=i" || err != nil {
		t.Errorf("got %q, %v", dsn, err)
	}
}

func FuzzHealth(f *testing.F) {
	f.Add(everyCheck)
	f.Add("health:\n  - http: {Cde}") // meant to be code, and without a value
	f.Add("x: &a 200\nhealth: [{http: {url: \"http://h\", code: [*a]}}]")
	f.Add("health: [{http: {url: \"http://h\", code: [1-, -2]}}]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, h := range c.HealthChecks() {
			kinds := 0
			for _, is := range []bool{h.HTTP != nil, h.TCP != nil, h.Exec != nil, h.Postgres != nil, h.GRPC != nil} {
				if is {
					kinds++
				}
			}
			if kinds != 1 || h.Name == "" || names[h.Name] || h.Timeout > h.Interval || h.Timeout < time.Nanosecond || h.Rise < 1 || h.Fall < 1 {
				t.Errorf("got %+v", h)
			}
			names[h.Name] = true
		}
	})
}

package exec_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"gopkg.in/yaml.v3"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/providers"
	"berth/providers/exec"
	"berth/refresher"
	"berth/vrrp"
)

const secret = "a-very-secret-token-3141592653"

var (
	a4 = netip.MustParseAddr("192.0.2.10")
	a6 = netip.MustParseAddr("2001:db8::1")
)

func permit(context.Context) error { return nil }

// script makes a program out of the lines of a shell script, in which $in is the
// request, and returns its path and that of a file that has the requests.
func script(t *testing.T, lines string) (path, requests string) {
	t.Helper()
	dir := t.TempDir()
	path, requests = filepath.Join(dir, "program"), filepath.Join(dir, "requests")
	text := fmt.Sprintf("#!/bin/sh\nin=$(cat)\nprintf '%%s\\n' \"$in\" >>%s\n%s\n", requests, lines)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, requests
}

const describe = `case "$in" in *describe*) echo '{"name":"test","ops":["observe","claim","release","whoami"]}'; exit;; esac` + "\n"

func newClient(t *testing.T, path, more string) (providers.Provider, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	p, err := parse(zap.New(core), fmt.Sprintf("command: [%s, an argument]\nenvironment: {TOKEN: %s}\n%s", path, secret, more))
	if err != nil {
		t.Fatal(err)
	}
	return p, logs
}

func parse(log *zap.Logger, text string) (providers.Provider, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	return exec.Entry.New(providers.Deps{Journal: journal.New(log)}, &doc)
}

func TestRunsOfTheProgramAreCounted(t *testing.T) {
	path, _ := script(t, describe+"exit 77")
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("command: ["+path+"]"), &doc); err != nil {
		t.Fatal(err)
	}
	r := &metrics.Registry{}
	p, err := exec.Entry.New(providers.Deps{Metrics: providers.NewMetrics(r)}, &doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Claim(t.Context(), a4, permit); err == nil {
		t.Fatal("want an error")
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := `,class="auth"} 1`; !strings.Contains(text.String(), want) {
		t.Errorf("want a line that ends in %s, got:\n%s", want, &text)
	}
}

func TestEachOpIsOneRequestAndOneAnswer(t *testing.T) {
	path, requests := script(t, describe+`case "$in" in
*whoami*) echo '{"id":"4711","name":"lb1","more":[]}';;
*observe*) echo '{"holders":{"192.0.2.10":{"kind":"mine"},"2001:0DB8:0::1":{"kind":"other","owner":"lb2","object":"fip-1"}}}';;
*) echo '{}';;
esac
[ "$TOKEN" = `+secret+` ] && [ "$1" = "an argument" ] || exit 64`)
	p, _ := newClient(t, path, "")
	if err := p.(providers.Preparer).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	self, err := p.Self(t.Context())
	if want := (providers.Server{ID: "4711", Name: "lb1"}); err != nil || self != want {
		t.Errorf("want %+v, got %+v, %v", want, self, err)
	}
	got, err := p.Observe(t.Context(), []netip.Addr{a4, a6})
	want := map[netip.Addr]providers.Holder{
		a4: {Kind: providers.Mine, Owner: "this host", Object: "192.0.2.10"},
		a6: {Kind: providers.Other, Owner: "lb2", Object: "fip-1"},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || d != "" {
		t.Errorf("holders, want-, got+: %v\n%s", err, d)
	}
	if err := p.Claim(t.Context(), a4, permit); err != nil {
		t.Error(err)
	}
	if err := p.(providers.Releaser).Release(t.Context(), a6, permit); err != nil {
		t.Error(err)
	}
	b, _ := os.ReadFile(requests)
	if d := cmp.Diff(`{"version":1,"op":"describe"}
{"version":1,"op":"whoami"}
{"version":1,"op":"observe","addresses":["192.0.2.10","2001:db8::1"]}
{"version":1,"op":"claim","address":"192.0.2.10"}
{"version":1,"op":"release","address":"2001:db8::1"}
`, string(b)); d != "" {
		t.Errorf("requests, want-, got+:\n%s", d)
	}
}

func TestProgramThatCannotObserveIsBelieved(t *testing.T) {
	path, _ := script(t, `case "$in" in *describe*) echo '{"ops":["claim"]}';; *) echo '{}';; esac`)
	p, _ := newClient(t, path, "")
	for _, want := range []providers.HolderKind{providers.Nobody, providers.Mine} {
		got, err := p.Observe(t.Context(), []netip.Addr{a4})
		if err != nil || got[a4].Kind != want {
			t.Errorf("want kind %d, got %+v, %v", want, got, err)
		}
		if err := p.Claim(t.Context(), a4, permit); err != nil {
			t.Error(err)
		}
	}
	err := p.(providers.Releaser).Release(t.Context(), a4, permit)
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.Invalid {
		t.Errorf("release: want it refused as invalid, got %v", err)
	}
}

func TestFailuresAreTold(t *testing.T) {
	tests := []struct {
		name, lines string
		kind        providers.Kind
		wait        time.Duration
		want        string
	}{
		{"an error in the answer", `echo '{"error":{"kind":"rate-limited","message":"slow down","retry_after":7.5}}'`, providers.RateLimited, 7500 * time.Millisecond, "exec: claim: slow down"},
		{"an error and an exit status", `echo '{"error":{"kind":"auth","message":"no"}}'; exit 1`, providers.Auth, 0, "exec: claim: no"},
		{"a kind that does not exist", `echo '{"error":{"kind":"odd","message":"no"}}'`, providers.Transient, 0, "exec: claim: no"},
		{"a wait beyond any number", `echo '{"error":{"kind":"rate-limited","message":"slow down","retry_after":1e999}}'`, providers.RateLimited, 24 * time.Hour, "exec: claim: slow down"},
		{"a wait that never ends", `echo '{"error":{"retry_after":1e300}}'`, providers.Transient, 24 * time.Hour, "exec: claim"},
		{"the secret in the answer", `echo "{\"error\":{\"message\":\"bad token $TOKEN\"}}"`, providers.Transient, 0, "exec: claim: (withheld"},
		{"some exit status", "exit 3", providers.Transient, 0, "exec: claim: exit status 3"},
		{"EX_NOPERM", "exit 77", providers.Auth, 0, "exit status 77"},
		{"EX_USAGE", "exit 64", providers.Invalid, 0, "exit status 64"},
		{"EX_CONFIG", "exit 78", providers.Invalid, 0, "exit status 78"},
		{"death by a signal", "kill -9 $$", providers.Transient, 0, "signal: killed"},
		{"no answer", "", providers.Transient, 0, "read answer: unexpected end of JSON input"},
		{"two answers", "echo '{}{}'", providers.Transient, 0, "read answer: invalid character"},
		{"an answer of another type", "echo '[]'", providers.Transient, 0, "read answer: json: cannot unmarshal array"},
		{"an answer without end", "yes", providers.Transient, 0, "the answer is too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, _ := script(t, tt.lines)
			p, logs := newClient(t, path, "")
			err := p.Claim(t.Context(), a4, permit)
			e, ok := errors.AsType[*providers.Error](err)
			if !ok || e.Kind != tt.kind || e.Wait != tt.wait || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want a %s error with %q and wait %s, got %+v", tt.kind, tt.want, tt.wait, err)
			}
			if text := fmt.Sprint(err, logs.All()); strings.Contains(text, secret) {
				t.Errorf("the secret shows in %s", text)
			}
		})
	}
	t.Run("no such program", func(t *testing.T) {
		p, _ := newClient(t, "/nonexistent/program", "")
		if err := p.Claim(t.Context(), a4, permit); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("want it said, got %v", err)
		}
	})
	for name, answer := range map[string]string{
		"an address that is left out":          `{"holders":{}}`,
		"a kind of holder that does not exist": `{"holders":{"192.0.2.10":{"kind":"me"}}}`,
		"a key that is not an address":         `{"holders":{"x":{}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := script(t, describe+"echo '"+answer+"'")
			p, _ := newClient(t, path, "")
			_, err := p.Observe(t.Context(), []netip.Addr{a4})
			if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.Transient {
				t.Errorf("want a transient error, got %v", err)
			}
		})
	}
}

func TestStandardErrorGoesToTheLogWithoutSecrets(t *testing.T) {
	path, _ := script(t, `printf 'one\ntwo %s\nthree' "$TOKEN" >&2; echo '{}'`)
	p, logs := newClient(t, path, "")
	if err := p.Claim(t.Context(), a4, permit); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range logs.FilterMessage("program says").All() {
		got = append(got, e.ContextMap()["line"].(string))
	}
	want := []string{"one", "(withheld: the answer repeats a credential)", "three"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines, want-, got+:\n%s", d)
	}
}

func TestProgramThatHangsIsKilledWithAllItStarted(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context) (context.Context, context.CancelCauseFunc)
		more string
		want error
	}{
		{"after its timeout", context.WithCancelCause, "timeout: 300ms", context.DeadlineExceeded},
		{"when the caller has gone", func(ctx context.Context) (context.Context, context.CancelCauseFunc) {
			ctx, cancel := context.WithTimeoutCause(ctx, 300*time.Millisecond, errGone)
			return ctx, func(error) { cancel() }
		}, "", errGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A child that holds the pipe proves its own death by closing it.
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			path, _ := script(t, "sleep 60 >"+fifo+" & wait")
			r, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p, _ := newClient(t, path, tt.more)
			ctx, cancel := tt.end(t.Context())
			defer cancel(nil)
			start := time.Now()
			if err := p.Claim(ctx, a4, permit); !errors.Is(err, tt.want) {
				t.Errorf("want %v, got %v", tt.want, err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
			if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(r); err != nil {
				t.Errorf("the child lives on: %v", err)
			}
		})
	}
}

var errGone = errors.New("demoted")

func TestWithoutAPermitTheProgramIsNotStarted(t *testing.T) {
	path, requests := script(t, "echo '{}'")
	p, _ := newClient(t, path, "")
	fenced := errors.New("fenced")
	if err := p.Claim(t.Context(), a4, func(context.Context) error { return fenced }); err != fenced {
		t.Errorf("want the permit's own error, got %v", err)
	}
	if _, err := os.Stat(requests); err == nil {
		t.Error("the program was started")
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"timeout: 1s":                         "exec.command: missing; write the absolute path of a program and its arguments as a list",
		"command: [program]":                  "line 1: exec.command, number 1: found a text of 7 characters; write the absolute path of a program",
		"command: /bin/true":                  "line 1: exec.command: found a text of 9 characters; write a list",
		"command: [/bin/true]\ntimeout: soon": "line 2: exec.timeout: found a text of 4 characters; write a duration with its unit, such as 30s or 1m30s",
	} {
		if _, err := parse(nil, text); err == nil || err.Error() != want {
			t.Errorf("%s: want %q, got %v", text, want, err)
		}
	}
}

// TestExample runs the example against a command line that remembers two floating
// IPs in a file.
func TestExample(t *testing.T) {
	if _, err := osexec.LookPath("python3"); err != nil {
		t.Skip("the example is in Python, which is not here")
	}
	dir := t.TempDir()
	hcloud := `#!/bin/sh
[ "$HCLOUD_TOKEN" = ` + secret + ` ] || { echo "hcloud: unable to authenticate (unauthorized)" >&2; exit 1; }
case "$*" in
"floating-ip list -o json") server=$(cat ` + dir + `/state); echo "[{\"id\":17,\"ip\":\"192.0.2.10\",\"server\":$server},{\"id\":18,\"ip\":\"2001:db8::/64\",\"server\":{\"id\":2}}]";;
"floating-ip assign 17 1") echo 1 >` + dir + `/state;;
"floating-ip unassign 17") echo null >` + dir + `/state;;
*) echo "hcloud: $* (invalid_input)" >&2; exit 1;;
esac
`
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "hcloud"), []byte(hcloud), 0o700),
		os.WriteFile(filepath.Join(dir, "state"), []byte("2"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	program, err := filepath.Abs("example/hcloud.py")
	if err != nil {
		t.Fatal(err)
	}
	client := func(token string) providers.Provider {
		p, err := parse(zap.NewNop(), "command: ["+program+"]\ntimeout: 30s\nenvironment: {HCLOUD_SERVER_ID: '1', HCLOUD_TOKEN: "+token+"}")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := client(secret)
	foreign := netip.MustParseAddr("192.0.2.99")
	kind := func(a netip.Addr) providers.HolderKind {
		got, err := p.Observe(t.Context(), []netip.Addr{a})
		if err != nil {
			t.Error(err)
		}
		return got[a].Kind
	}
	if self, err := p.Self(t.Context()); err != nil || self.ID != "1" {
		t.Errorf("want server 1, got %+v, %v", self, err)
	}
	for a, want := range map[netip.Addr]providers.HolderKind{a4: providers.Other, a6: providers.Other, foreign: providers.NotManaged} {
		if got := kind(a); got != want {
			t.Errorf("%s: want kind %d, got %d", a, want, got)
		}
	}
	if err := p.Claim(t.Context(), a4, permit); err != nil || kind(a4) != providers.Mine {
		t.Errorf("claim: want it here, got %v", err)
	}
	if err := p.(providers.Releaser).Release(t.Context(), a4, permit); err != nil || kind(a4) != providers.Nobody {
		t.Errorf("release: want it nowhere, got %v", err)
	}
	for err, want := range map[error]providers.Kind{
		p.Claim(t.Context(), foreign, permit):          providers.NotFound,
		client("wrong").Claim(t.Context(), a4, permit): providers.Auth,
	} {
		if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != want {
			t.Errorf("want a %s error, got %v", want, err)
		}
	}
}

func TestKeysAmongTheArgumentsAreNotShown(t *testing.T) {
	const key = "T0KENamongTHEarguments0123"
	path, _ := script(t, `for a; do echo "using $a" >&2; done; echo '{"error":{"kind":"auth","message":"wrong '"$2"'"}}'`)
	core, logs := observer.New(zap.DebugLevel)
	p, err := parse(zap.New(core), "command: ["+path+", --token="+key+", "+key+", /etc/moves/of-this-cluster.conf]")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Claim(t.Context(), a4, permit); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("got %v", err)
	}
	text := fmt.Sprint(logs.All())
	if strings.Contains(text, key) || !strings.Contains(text, "/etc/moves/of-this-cluster.conf") {
		t.Errorf("want the path and not the key, got %s", text)
	}
}

func TestManyAddressesStartFewProgramsAtATime(t *testing.T) {
	dir := t.TempDir()
	path, _ := script(t, describe+`mkdir "`+dir+`/$$"; set -- "`+dir+`"/*; echo $# >>"`+dir+`.counts"; sleep 0.05; rmdir "`+dir+`/$$"; echo '{}'`)
	p, err := parse(nil, "command: ["+path+"]")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.(providers.Preparer).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var claims sync.WaitGroup
	for i := range 80 {
		claims.Go(func() {
			if err := p.Claim(t.Context(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), permit); err != nil {
				t.Error(err)
			}
		})
	}
	claims.Wait()
	counts, err := os.ReadFile(dir + ".counts")
	if err != nil || strings.Count(string(counts), "\n") != 80 {
		t.Errorf("want 80 runs, got %q, %v", counts, err)
	}
	for n := range strings.FieldsSeq(string(counts)) {
		if running, _ := strconv.Atoi(n); running > 32 {
			t.Errorf("%d programs at a time", running)
		}
	}
}

func TestAProgramThatRefusesOnceCostsNoRefreshInterval(t *testing.T) {
	for _, refusal := range []string{
		"exit 64", "exit 77", "exit 78",
		`echo '{"error":{"kind":"auth","message":"no"}}'; exit`,
		`echo '{"error":{"kind":"invalid","message":"no"}}'; exit`,
		`echo '{"error":{"kind":"not-found","message":"no"}}'; exit`,
	} {
		once := filepath.Join(t.TempDir(), "once")
		path, requests := script(t, describe+fmt.Sprintf("[ -e %s ] || { touch %[1]s; %s; }\n", once, refusal)+
			`case "$in" in *observe*) echo '{"holders":{"192.0.2.10":{"kind":"nobody"}}}'; exit;; esac; echo '{}'`)
		p, _ := newClient(t, path, "")
		target := providers.NewAccount("exec", p).Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(a4, 32)}, permit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		loop := &refresher.Loop{Target: target, Policy: refresher.Policy{Interval: time.Hour, Timeout: 10 * time.Second,
			InitialInterval: 10 * time.Millisecond, Multiplier: 1.1, MaxInterval: time.Second},
			Report: func(r refresher.Report) {
				if r.Claims > 0 {
					cancel() // it was tried again
				}
			}}
		_ = loop.Run(ctx) // ends with ctx
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			asked, _ := os.ReadFile(requests)
			t.Errorf("%s: not tried again within a minute: %s", refusal, asked)
		}
		cancel()
		target.Close()
	}
}

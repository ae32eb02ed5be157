package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/status"
	"berth/internal/testnet"
	"berth/vrrp"
)

// bashCompletion is what completes in bash: Debian's package bash-completion, which the
// script of berth calls.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// wordBreaks splits an argument as bash does.
var wordBreaks = regexp.MustCompile(`[:=]+|[^:=]+`)

// completes runs bash with the script of berth completion bash, and returns what it would
// offer for the last of the words, and what it printed beside that.
func completes(t *testing.T, env []string, words ...string) (offers []string, torn string) {
	t.Helper()
	const script = `
. ` + bashCompletion + `
. <(berth completion bash)
COLUMNS=80 COMP_LINE="$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMP_KEY=9
COMP_POINT=${#COMP_LINE}
compopt() { :; } # it works while a line is edited
complete -p berth >/dev/null && __start_berth berth >&2
printf '%s\n' "${COMPREPLY[@]}"
`
	args := []string{"--norc", "-c", script, "bash", strings.Join(words, " ")}
	for _, w := range words {
		if parts := wordBreaks.FindAllString(w, -1); len(parts) > 0 {
			args = append(args, parts...)
		} else {
			args = append(args, w)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", args...)
	cmd.Env = append(append(os.Environ(), "PATH="+asBerth(t)+":"+os.Getenv("PATH")), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), errs.String()
}

func TestCompletionInBash(t *testing.T) {
	if _, err := os.Stat(bashCompletion); err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal("bash-completion is not installed: apt-get install bash-completion")
		}
		t.Skip("bash-completion is not installed")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "admin" || password != apiToken:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/ips":
			io.WriteString(w, `{"ips":[{"id":"vip-10.0.0.1","ip":"10.0.0.1/32","status":"ACTIVATED","owner":"lb1"},{"id":"vip-2001:db8::1","ip":"2001:db8::1/128","status":"STANDBY","owner":"lb2"}]}`)
		case r.URL.Path == "/pool":
			io.WriteString(w, `{"members":[{"member":"lb1","state":"able"},{"member":"lb2","state":"drained"}]}`)
		}
	}))
	t.Cleanup(s.Close)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hangs.Close)
	dir := t.TempDir()
	conf := filepath.Join(dir, "berth.yml")
	for path, text := range map[string]string{
		conf:                           "etcd: {endpoints: ['http://127.0.0.1:1']}\nelection: {interface: lo, instances: [{name: api, addresses: [192.0.2.1]}, {name: db, addresses: [192.0.2.2]}]}\n",
		filepath.Join(dir, "password"): apiToken,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	board := status.NewBoard(dir, status.Instance{Mode: "elect"}, journal.New(nil))
	board.State("web", status.State{State: vrrp.Backup})
	board.Flush()
	env := []string{"BERTH_API_URL=" + s.URL, "BERTH_API_USERNAME=admin", "BERTH_API_PASSWORD=" + apiToken}
	for _, tt := range []struct {
		name  string
		env   []string
		words []string // the last one is completed
		want  string
	}{
		{"commands", nil, []string{"berth", "ips", "f"}, "failover"},
		{"ids with their status", env, []string{"berth", "ips", "show", ""}, "vip-10.0.0.1     (ACTIVATED lb1) vip-2001:db8::1  (STANDBY lb2)"},
		{"an id that is begun", env, []string{"berth", "ips", "remove", "vip-1"}, "vip-10.0.0.1"},
		{"an id that is begun, with colons", env, []string{"berth", "ips", "failover", "vip-2001:d"}, "db8::1"},
		{"by options", nil, []string{"berth", "ips", "--url", s.URL, "lock", "--username", "admin", "--password-file", filepath.Join(dir, "password"), "vip-1"}, "vip-10.0.0.1"},
		{"only one id", env, []string{"berth", "ips", "lock", "vip-10.0.0.1", ""}, ""},
		{"output", nil, []string{"berth", "ips", "list", "--output", "j"}, "json"},
		{"members of the pool", env, []string{"berth", "pool", "drain", "lb"}, "lb1  (able) lb2  (drained)"},
		{"instances", nil, []string{"berth", "takeover", "--config", conf, ""}, "api db"},
		{"instances", nil, []string{"berth", "release", "--config", conf, "d"}, "db"},
		{"instances of this host", nil, []string{"berth", "status", "--run-directory", dir, ""}, "web"},
		{"addresses of a configuration", nil, []string{"berth", "associate", conf, ""}, "192.0.2.1 192.0.2.2"},
		{"addresses that are not there yet", nil, []string{"berth", "dissociate", conf, "192.0.2.2", "1"}, "192.0.2.1"},
		{"addresses of no configuration", nil, []string{"berth", "associate", filepath.Join(dir, "none"), ""}, ""},
		{"flags of exoip", nil, []string{"berth", "exoip", "-xi"}, "-xi"},
		{"flags of govip", nil, []string{"berth", "govip", "-vi"}, "-vif  (interface that gets the address) -vip  (the address)"},
		{"no credentials", env[:1], []string{"berth", "ips", "show", ""}, ""},
		{"nobody there", []string{"BERTH_API_URL=http://127.0.0.1:1"}, []string{"berth", "ips", "show", ""}, ""},
		{"no configuration", nil, []string{"berth", "pool", "drain", "--config", filepath.Join(dir, "none"), ""}, ""},
		{"no run directory", nil, []string{"berth", "status", "--run-directory", filepath.Join(dir, "none"), ""}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, torn := completes(t, tt.env, tt.words...)
			if strings.Join(got, " ") != tt.want || torn != "" {
				t.Errorf("%q: want %q and nothing else on the terminal, got %q and %q", tt.words, tt.want, strings.Join(got, " "), torn)
			}
		})
	}
	t.Run("a server that hangs", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		got, torn := completes(t, []string{"BERTH_API_URL=" + hangs.URL}, "berth", "ips", "show", "")
		if len(got) > 0 || torn != "" || time.Since(began) > 8*time.Second { // of which one is berth's, and the rest is for a busy machine
			t.Errorf("want nothing, soon; got %q and %q after %v", got, torn, time.Since(began))
		}
	})
}

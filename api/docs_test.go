package api_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/api"
	"berth/config"
	"berth/internal/testnet"
)

// The requests of docs/api.md are run as they stand, one for each route, and each succeeds.
func TestDocumentedRequests(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 1 {
		t.Fatalf("want one block of commands, got %d", len(blocks))
	}
	w := newWorld()
	o, _, _ := w.options(t)
	s := api.New(o)
	defer running(t, s)()
	address := <-w.listens
	missing := api.Patterns()
	for line := range strings.Lines(blocks[0][1]) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "127.0.0.1:1313", address)
		out, err := exec.CommandContext(t.Context(), "bash", "-euc", strings.Replace(line, "curl", "curl -sS --fail-with-body", 1)).CombinedOutput()
		if err != nil {
			t.Errorf("%s\n%v: %s", line, err, out)
		}
		if strings.Contains(line, "/events") && (!strings.Contains(string(out), "event: view\ndata: {") || !strings.Contains(string(out), "event: beat\ndata: {")) {
			t.Errorf("%s: got %s", line, out)
		}
		method, path := "GET", regexp.MustCompile(regexp.QuoteMeta(address) + `(\S*)`).FindStringSubmatch(line)[1]
		if m := regexp.MustCompile(`-X (\w+)`).FindStringSubmatch(line); m != nil {
			method = m[1]
		} else if strings.Contains(line, "-d ") {
			method = "POST"
		}
		missing = slices.DeleteFunc(missing, func(pattern string) bool {
			of, template, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
			return of == method && matches(template, path)
		})
	}
	if len(missing) > 0 {
		t.Errorf("without a request in docs/api.md: %v", missing)
	}
	if got := w.told(); !strings.HasPrefix(got, "add 10.0.0.1/24 [TCP:127.0.0.1:80] 0 0; update vip-10.0.0.1 [] 0 0; update vip-10.0.0.1 - - 5; lock vip-10.0.0.1; failover vip-10.0.0.1; remove vip-10.0.0.1") {
		t.Errorf("got %s", got)
	}
	for _, pattern := range api.Patterns() {
		method, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
		if !regexp.MustCompile("`" + method + " " + regexp.QuoteMeta(path) + "`").Match(text) {
			t.Errorf("the table of routes in docs/api.md has no `%s %s`", method, path)
		}
	}
}

// The configurations of docs/api.md can be read.
func TestDocumentedConfigurations(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(all) != 2 {
		t.Errorf("want two, got %d", len(all))
	}
	for _, m := range all {
		if c, err := config.Parse(m[1], "docs/api.md", config.Options{}); err != nil || c.API.Listen == "" {
			t.Errorf("%v, in\n%s", err, m[1])
		}
	}
}

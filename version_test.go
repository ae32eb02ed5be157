package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionFromBuildInformation(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "64ae5b5a89474ec6798f82439c8a977d4978b688"}, {Key: "vcs.time", Value: "2026-11-29T13:48:23Z"}}
	dirty := append(commit[:2:2], debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, row := range []struct {
		name, module string
		settings     []debug.BuildSetting
		want         string
	}{
		{"nothing is known", "", nil, "devel"},
		{"built from files", "(devel)", nil, "devel"},
		{"installed by version", "v1.2.3", nil, "1.2.3"},
		{"installed by commit", "v0.0.0-20261129134823-64ae5b5a8947", nil, "0.0.0-20261129134823-64ae5b5a8947"},
		{"built from a tag", "v1.2.3", commit, "1.2.3"},
		{"built from a changed tag", "v1.2.3+dirty", dirty, "1.2.3+dirty"},
		{"built from a commit", "v0.0.0-20261129134823-64ae5b5a8947", commit, "devel-64ae5b5a8947-20261129T134823Z"},
		{"built from a changed commit after a tag", "v1.2.4-0.20261129134823-64ae5b5a8947+dirty", dirty, "devel-64ae5b5a8947-20261129T134823Z+dirty"},
		{"built by a go command that knows no version of the module", "(devel)", commit, "devel-64ae5b5a8947-20261129T134823Z"},
		{"commit without a time", "", commit[:1], "devel-64ae5b5a8947"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: row.module}, Settings: row.settings}
		if got := versionOf(info); got != row.want {
			t.Errorf("%s: want %s, got %s", row.name, row.want, got)
		}
	}
}

func TestVersionIsTheSameEverywhere(t *testing.T) {
	agents := make(chan string, 100)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.Header.Get("User-Agent")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer cloud.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "berth.yml")
	text := "provider: cloudscale\ncloudscale: {endpoint: " + cloud.URL + ", token: x}\nmanaged-addresses: [192.0.2.1]\n" +
		"run-directory: " + dir + "\nkeepalived-config: " + filepath.Join(dir, "keepalived.conf") + "\n"
	conf := "vrrp_instance VI_1 {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n"
	for name, content := range map[string]string{path: text, filepath.Join(dir, "keepalived.conf"): conf} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, set := range []string{"", "1.2.3"} {
		former := Version
		Version = set
		defer func() { Version = former }()
		output := func(args ...string) string {
			var out, log bytes.Buffer
			if status := run(t.Context(), append([]string{"berth"}, args...), func(string) string { return "" }, &out, &log); status != 0 {
				t.Errorf("berth %s: exit status %d: %s", strings.Join(args, " "), status, &log)
			}
			return out.String()
		}
		want := version() + "\n"
		if flag, command := output("--version"), output("version"); flag != want || command != want {
			t.Errorf("want %q, got %q of --version and %q of version", want, flag, command)
		}
		var out, log bytes.Buffer
		run(t.Context(), []string{"berth", "show", "--assume-interfaces", path}, func(string) string { return "" }, &out, &log)
		select {
		case agent := <-agents:
			if !strings.HasPrefix(agent, "berth/"+version()+" ") && agent != "berth/"+version() {
				t.Errorf("want the user agent berth/%s, got %q", version(), agent)
			}
		default:
			t.Errorf("the provider was not asked: %s%s", &out, &log)
		}
		for len(agents) > 0 {
			<-agents
		}
	}
}

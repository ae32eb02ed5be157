package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/api"
	"berth/internal/status"
	"berth/vrrp"
)

// fifoModeOf returns FIFO mode, of which nothing runs, and what writes its configuration.
func fifoModeOf(t *testing.T) (m *fifoMode, write func(conf, runDirectory, token string)) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "berth.yml")
	o := &Options{Program: "berth", Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard}
	m = o.newFIFOMode(path, filepath.Join(dir, "fifo"))
	m.fencing = &fencing{}
	t.Cleanup(func() {
		m.network.Close()
		m.origin.Close()
	})
	return m, func(conf, runDirectory, token string) {
		t.Helper()
		text := fmt.Sprintf("provider: cloudscale\ncloudscale: {%s}\nback-off: {initial-interval: 10ms}\nkeepalived-version: 2.2.7\nkeepalived-config: %s\nrun-directory: %s\n", token, conf, runDirectory)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// generationOf returns the next generation, and what ends it.
func generationOf(t *testing.T, m *fifoMode) (gen *generation, end func()) {
	t.Helper()
	j, end := m.journal.Part()
	g, err := m.graph(j)
	if err != nil {
		t.Fatal(err)
	}
	return m.generation(t.Context(), g), end
}

// refusing refuses each request, and is told of it before.
type refusing func()

func (f refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	f()
	return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody, Request: r}, nil
}

func TestWhatIsWrongInAGenerationEndsWithIt(t *testing.T) {
	m, write := fifoModeOf(t)
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	requests := 0
	m.options.HTTP = refusing(func() {
		if requests++; requests == 2 { // what followed from the first was told
			cancel()
		}
	})
	write("/nonexistent/keepalived.conf", filepath.Join(occupied, "run"), "server-uuid: "+me+", token-file: "+secret)
	gen, end := generationOf(t, m)
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	_ = gen.cloud.Prepare(ctx) // until the end of ctx
	_, _ = gen.book.Reading()
	gen.status.State("VI_1", status.State{})
	gen.status.Flush()
	holding := regexp.MustCompile(`(?m)^berth_condition\{code="(.*)"\} [1-9]`)
	codes := func() string {
		var text strings.Builder
		if err := m.meters.registry.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, found := range holding.FindAllStringSubmatch(text.String(), -1) {
			codes = append(codes, found[1])
		}
		return strings.Join(codes, " ")
	}
	if got := codes(); got != "keepalived-conf-unreadable provider-credentials-unreadable status-unwritable" {
		t.Errorf("%s hold", got)
	}
	end()
	if got := codes(); got != "" {
		t.Errorf("%s hold after the end of the generation", got)
	}
}

func TestWhatOutlivesAGenerationIsPassedOn(t *testing.T) {
	m, write := fifoModeOf(t)
	write(filepath.Join(t.TempDir(), "keepalived.conf"), t.TempDir(), "token: t")
	former, _ := generationOf(t, m)
	m.cluster = m.newCluster(former.cfg)
	m.api = api.New(m.apiOptions(former.graph))
	m.enforce(former)
	m.tellDoubled("VI_1", true)
	m.tellDoubled("VI_2", true)
	m.tellDoubled("VI_2", false)
	next, _ := generationOf(t, m)
	m.enforce(next)
	for _, in := range next.status.Snapshot() {
		if in.Doubled != (in.Instance == "VI_1") {
			t.Errorf("%s: doubled is %t", in.Instance, in.Doubled)
		}
	}
	if n := len(next.status.Snapshot()); n != 1 {
		t.Errorf("%d instances on the board, want the one that is doubled", n)
	}
	former.status.State("VI_1", status.State{State: vrrp.Master, Reason: "of a generation that has ended"})
	next.status.State("VI_1", status.State{State: vrrp.Backup, Reason: "of the one in force"})
	if v := m.cluster.view.View(); len(v.Addresses) != 1 || !strings.Contains(v.Addresses[0].Reason, "of the one in force") {
		t.Errorf("the cluster is seen as %+v, want it by the board of the generation in force", v.Addresses)
	}
	if next.reconciler.Dying != former.reconciler.Dying {
		t.Error("want the reconcilers to share the deaths of keepalived")
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/config"
	"berth/heartbeat"
	"berth/providers/catalog"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fenced returns the fenced blocks of a language in README.md.
func fenced(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestREADMETrial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	script := strings.ReplaceAll(fenced(t, "sh")[0], "127.0.0.1:8080", address)

	bin := t.TempDir()
	if text, err := exec.Command("go", "build", "-o", filepath.Join(bin, "berth"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if strings.Contains(string(out), "No such file") {
		t.Errorf("the trial complains:\n%s", out)
	}
	for want := range strings.Lines(fenced(t, "text")[0]) {
		// How long ago depends on the machine.
		re := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "0s ago", `\d+s ago`))
		if !re.Match(out) {
			t.Errorf("README promises %q, the trial printed:\n%s", want, out)
		}
	}
}

func TestREADMEShowsTheReferenceConfiguration(t *testing.T) {
	text, err := os.ReadFile("dist/berth.yml")
	if err != nil {
		t.Fatal(err)
	}
	if blocks := fenced(t, "yaml"); len(blocks) != 1 || blocks[0] != string(text) {
		t.Error("the yaml block of README.md and dist/berth.yml differ")
	}
}

func TestReferenceConfigurationIsTheDefault(t *testing.T) {
	sections := map[string]config.SectionCheck{}
	for name, entry := range catalog.Providers {
		sections[name] = entry.Check
	}
	c, err := config.Load("dist/berth.yml", config.Options{Sections: sections})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "berth.yml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	empty, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Path, c.Provider, c.Sections, c.OthersCanRead = empty.Path, empty.Provider, empty.Sections, empty.OthersCanRead
	if diff := cmp.Diff(empty, c, cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
		t.Errorf("dist/berth.yml (-default +file):\n%s", diff)
	}
}

// The example of a pool loads.
func TestPoolExampleIsComplete(t *testing.T) {
	c, err := config.Load("dist/berth-pool.yml", config.Options{Sections: map[string]config.SectionCheck{}})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Pool.Enabled || len(c.Pool.Health) != 1 || c.Pool.Prefix != "/berth/pool/" || c.Pool.Interface != "eth0" {
		t.Errorf("want a pool with a health check, got %+v", c.Pool)
	}
}

// The example for Patroni loads, and so do the configurations of its document.
func TestPatroniExamplesAreComplete(t *testing.T) {
	c, err := config.Load("dist/berth-patroni.yml", config.Options{Sections: map[string]config.SectionCheck{}})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Follow.Decides() || len(c.Election.Instances) != 1 || c.NeedsEtcd() {
		t.Errorf("want that Patroni decides who owns an instance, got %+v, %+v", c.Follow, c.Election)
	}
	text, err := os.ReadFile("docs/patroni.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if _, err := config.Parse(m[1], "docs/patroni.md", config.Options{}); err != nil {
			t.Errorf("%v, in\n%s", err, m[1])
		}
	}
}

// The example of heartbeats loads; its secrets need not exist for that. Each key of the
// section stands there with its default.
func TestWatchExampleIsComplete(t *testing.T) {
	entry := catalog.Providers["exoscale"]
	c, err := config.Load("dist/berth-watch.yml", config.Options{Sections: map[string]config.SectionCheck{"exoscale": entry.Check}})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Watches() || len(c.ManagedAddresses) != 1 || len(c.Heartbeat.Peers) != 2 || c.Heartbeat.Peers[0].String() != "198.51.100.11:12345" {
		t.Errorf("want an address and two peers, got %v, %+v", c.ManagedAddresses, c.Heartbeat)
	}
	short, err := config.Parse("managed-addresses: [192.0.2.10]\nheartbeat: {peers: [198.51.100.11, 198.51.100.12]}\n", "short.yml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(short.Heartbeat, c.Heartbeat); d != "" {
		t.Errorf("dist/berth-watch.yml (-default +file):\n%s", d)
	}
}

// The dump of a datagram in the document is that of the form.
func TestTheDocumentOfHeartbeatsShowsADatagram(t *testing.T) {
	text, err := os.ReadFile("docs/heartbeat.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, m := range regexp.MustCompile(`(?m)^000000[01]0  ([0-9a-f ]+)$`).FindAllStringSubmatch(string(text), -1) {
		part, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	id := heartbeat.IDOf("00000000-1111-4222-8333-000000000001")
	want := append(append([]byte{2, 1, 10, 10}, netip.MustParseAddr("198.51.100.50").AsSlice()...), id[:]...)
	if !bytes.Equal(got, want) {
		t.Errorf("docs/heartbeat.md shows % x, want % x", got, want)
	}
}

// The example of an election loads; its certificate and key need not exist for that.
func TestElectionExampleIsComplete(t *testing.T) {
	c, err := config.Load("dist/berth-elect.yml", config.Options{Sections: map[string]config.SectionCheck{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Election.Instances) != 1 || len(c.Etcd.Endpoints) != 3 {
		t.Errorf("want an instance and three endpoints, got %+v, %+v", c.Election, c.Etcd)
	}
}

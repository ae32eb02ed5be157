package main

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/cloudsim"
	"berth/internal/etcdtest"
)

// One-shot moves go against no owner that etcd names, unless that is forced; and where
// etcd does not answer, the owner is not taken for none.
func TestOneShotMovesHeedTheOwnerInEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	etcd := cluster.Endpoints()[0]
	addr := netip.MustParseAddr("192.0.2.1")
	sim, err := cloudsim.New(cloudsim.Config{Token: "token", Servers: []cloudsim.Server{{UUID: "1001", Name: "h1"}, {UUID: "1002", Name: "h2"}},
		FloatingIPs: []cloudsim.FloatingIP{{Network: netip.PrefixFrom(addr, 32), Server: "1001"}}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	h1, h2 := newElectingHost(t, "h1", etcd), newElectingHost(t, "h2", etcd)
	// The berth that runs points nothing: the commands are what this is about.
	owner := h1.start("elect", "berth.yml")
	owner.says(refreshed)
	for h, id := range map[*fencedHost]string{h1: "1001", h2: "1002"} {
		for file, endpoint := range map[string]string{"move.yml": etcd, "deaf.yml": "http://127.0.0.1:1"} {
			h.write(file, "provider: hetzner\nhetzner: {endpoint: \""+srv.URL+"/hetzner/api\", token: token, server-id: "+id+"}\n"+
				"run-directory: "+h.dir+"/run\nlock-timeout: 1s\netcd: {endpoints: [\""+endpoint+"\"], member: "+h.name+"}\n"+
				"election: {instances: [{name: \""+electedInstance+"\", addresses: [192.0.2.1/24]}]}\n")
		}
	}
	const refused = "nothing was moved; --force moves against the owner in etcd"
	for _, row := range []struct {
		host    *fencedHost
		args    []string
		status  int
		says    string // part of the output
		holders []string
	}{
		{h2, []string{"associate", "move.yml"}, 1, "h1 owns instance", []string{"1001"}},
		{h2, []string{"associate", "move.yml", addr.String()}, 1, refused, []string{"1001"}},
		{h2, []string{"associate", "deaf.yml"}, 1, "in etcd is not known: ", []string{"1001"}},
		{h2, []string{"--dry-run", "associate", "move.yml"}, 0, "192.0.2.1: would associate; is with 1001", []string{"1001"}},
		{h1, []string{"dissociate", "move.yml"}, 1, "this host owns instance", []string{"1001"}},
		{h1, []string{"associate", "move.yml"}, 0, "192.0.2.1: unchanged; is here", []string{"1001"}},
		{h2, []string{"associate", "--force", "move.yml"}, 0, "192.0.2.1: associated after", []string{"1002"}},
		{h2, []string{"dissociate", "move.yml"}, 0, "192.0.2.1: dissociated after", nil},
		{h1, []string{"associate", "--force", "deaf.yml"}, 0, "because of --force", []string{"1001"}},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(row.host.dir, "berth"), row.args...)
		cmd.Dir = row.host.dir
		out, err := cmd.CombinedOutput()
		status := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			status = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != row.status || !strings.Contains(string(out), row.says) {
			t.Errorf("%s: berth %v: want status %d and %q, got %d and:\n%s", row.host.name, row.args, row.status, row.says, status, out)
		}
		if got := sim.Holders(addr); !slices.Equal(got, row.holders) {
			t.Errorf("%s: berth %v: want the address with %v, got %v", row.host.name, row.args, row.holders, got)
		}
	}
}

// write makes a file of the host.
func (h *fencedHost) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

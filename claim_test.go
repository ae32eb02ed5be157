package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
)

func TestClaimActsWithoutEtcdUntilThatAnswers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{})
	h := newElectingHost(t, "h1", etcd.Endpoints()[0])
	h.configure("", etcd.Endpoints()[0], ", on-etcd-loss: claim")
	if err := etcd.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	one := h.start("elect", "berth.yml")
	one.says("acting without it, as on-etcd-loss says")
	one.says(refreshed)
	one.signal(unix.SIGHUP)
	one.says("the next process could not take over what this process owns")
	if err := etcd.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	one.says("etcd answers again")
	one.says("became the owner")
	one.says(refreshed)
}

func TestBerthEndsWithoutEtcdWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{})
	h := newElectingHost(t, "h1", etcd.Endpoints()[0])
	h.configure("", etcd.Endpoints()[0], ", without-etcd: exit")
	const want = "etcd has acknowledged no lease for 5s: "
	one := h.start("elect", "berth.yml")
	one.says(refreshed)
	if err := etcd.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	one.says("no longer the owner", want)
	one.says(want)
	two := h.start("elect", "berth.yml")
	two.says(want, refreshed)
	for _, b := range []*fencedBerth{one, two} {
		if err := b.cmd.Wait(); b.cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("want exit status 1, got %v", err)
		}
	}
}

func TestCommandsFollowTheKeyOfAnInstance(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	hosts := map[string]*fencedHost{}
	berths := map[string]*fencedBerth{}
	for _, name := range []string{"h1", "h2"} {
		h := newElectingHost(t, name, etcd)
		text := fmt.Sprintf("provider: fake\nrun-directory: %s/run\nrefresh-interval: 100ms\n"+
			"etcd: {endpoints: [%q], member: %s, lease-ttl: 5s}\nelection: {instances: [{name: api, key: /other/place, addresses: [192.0.2.1/24]}]}\n", h.dir, etcd, name)
		if err := os.WriteFile(filepath.Join(h.dir, "berth.yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		hosts[name], berths[name] = h, h.start("elect", "berth.yml")
		if name == "h1" {
			berths[name].says(refreshed)
		} else {
			berths[name].says("taking part", refreshed)
		}
	}
	hosts["h2"].start("takeover", "api", "--config", "berth.yml").says("h2 is the owner")
	berths["h2"].says(refreshed)
	hosts["h1"].start("show", "berth.yml").says("h2")
	hosts["h1"].start("--test", "berth.yml").says("api is owned by h2")
	hosts["h2"].start("release", "api", "--config", "berth.yml").says("handed over by h2")
	berths["h1"].says(refreshed)
}

// A lone owner has no lease that could end; its addresses do.
func TestTheKernelTakesTheAddressOfALoneOwnerThatIsFrozenOrKilledAway(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "ip")
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			n, err := testnet.New("host", new(testnet.Bell))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			const path, config = "/usr/bin/berth", "/etc/berth.yml"
			if err := n.Install(path, filepath.Join(asBerth(t), "berth"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := n.WriteFile(config, "etcd: {endpoints: [\"http://127.0.0.1:1\"], member: h1, lease-ttl: 5s}\n"+
				"election: {interface: lo, on-etcd-loss: claim, instances: [{name: api, addresses: [192.0.2.1, \"2001:db8::1\"]}]}\n", 0o600); err != nil {
				t.Fatal(err)
			}
			berth, err := n.Start("berth", path, "elect", config)
			if err != nil {
				t.Fatal(err)
			}
			bound := func() int { // of the two addresses
				out, err := n.Run(t.Context(), ip, "-o", "address", "show", "dev", "lo")
				if err != nil {
					t.Fatal(err)
				}
				return strings.Count(out, "192.0.2.1/32") + strings.Count(out, "2001:db8::1/128")
			}
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			until := func(want int) time.Duration {
				begun := time.Now()
				for end := begun.Add(waitLimit); bound() != want; <-tick.C {
					if time.Now().After(end) {
						t.Fatalf("want %d addresses bound, got %s", want, berth.Log)
					}
				}
				return time.Since(begun)
			}
			until(2)
			for end := time.Now().Add(7 * time.Second); time.Now().Before(end); <-tick.C { // longer than a lifetime
				if bound() != 2 {
					t.Fatalf("want the addresses renewed, got %s", berth.Log)
				}
			}
			berth.Signal(signal)
			if took := until(0); took > 5*time.Second {
				t.Errorf("want the addresses gone within the lease, it took %v", took)
			}
			if signal == unix.SIGSTOP {
				berth.Signal(unix.SIGCONT)
				until(2)
			}
		})
	}
}

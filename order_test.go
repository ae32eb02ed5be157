package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"

	"golang.org/x/sys/unix"
)

// keepalived starts a script for each event, one after the other, and waits for
// none of them. Here the scripts are held up and released in random order, so that
// any of them can overtake any other: the final state must be that of the last
// event.
func TestParallelInvocationsInRandomOrderEndInTheNewestState(t *testing.T) {
	const n, rounds = 20, 4
	floating := netip.MustParsePrefix("192.0.2.1/32")
	sim, err := cloudsim.New(cloudsim.Config{Token: apiToken, FloatingIPs: []cloudsim.FloatingIP{{Network: floating, Server: lb2}},
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
			{UUID: lb2, Name: "lb2", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: sim}
	go srv.Serve(l) // ends with Close
	defer srv.Close()

	dir := asBerth(t)
	// A copy of the shell is the keepalived that starts the scripts.
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keepalived":      string(shell),
		"keepalived.conf": oneInstance,
		"berth.yml": fmt.Sprintf("provider: cloudscale\nkeepalived-config: %[1]s/keepalived.conf\nlock-file-template: %[1]s/lock-%%s\n"+
			"run-directory: %[1]s/run\nkeepalived-pid-file: %[1]s/pid\ncloudscale: {endpoint: \"http://%[2]s\", token: %[3]s, server-uuid: %[4]s}\n", dir, l.Addr(), apiToken, lb1),
		// The wrapper that stays between keepalived and berth.
		"script": "read x <$1; ./berth berth.yml INSTANCE VI_1 $2 100 2>>log; echo $? >>done",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		var events strings.Builder
		var gates []*os.File
		last := ""
		for i := range n {
			gate := fmt.Sprintf("gate-%d-%d", round, i)
			if err := unix.Mkfifo(filepath.Join(dir, gate), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(dir, gate), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			gates = append(gates, f)
			last = []string{"MASTER", "MASTER", "BACKUP", "FAULT"}[random.IntN(4)]
			if i == n-1 {
				last = []string{"MASTER", "BACKUP"}[round%2] // each of the two is the last event twice
			}
			fmt.Fprintf(&events, "sh script %s %s &\n", gate, last)
		}
		for _, name := range []string{"log", "done"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := sim.Assign(floating, lb2); err != nil {
			t.Fatal(err)
		}
		sim.ClearHistory()
		// keepalived has a process group of its own, by which all of it is killed.
		cmd := exec.Command(filepath.Join(dir, "keepalived"), "-c", events.String()+"wait; true")
		cmd.Dir = dir
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() {
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			_ = cmd.Wait()
		}
		random.Shuffle(n, func(i, j int) { gates[i], gates[j] = gates[j], gates[i] })
		for _, g := range gates {
			if _, err := g.WriteString("go\n"); err != nil {
				t.Fatal(err)
			}
		}
		// All but the last MASTER end by themselves.
		want, holder := n, sim.Holder(floating)
		if last == "MASTER" {
			want, holder = n-1, lb1
		}
		problem := await(func() string {
			text, _ := os.ReadFile(filepath.Join(dir, "done"))
			ended := strings.Count(string(text), "\n")
			if last == "BACKUP" {
				holder = sim.Holder(floating) // any MASTER may have been the last to claim it
			}
			// The holder may be right already through an earlier MASTER, while
			// the last one has not come to its lock.
			record, _ := os.ReadFile(filepath.Join(dir, "lock-VI_1.owner"))
			if ended != want || sim.Holder(floating) != holder || !strings.Contains(string(record), `"state":"`+last+`"`) {
				return fmt.Sprintf("%d invocations ended, want %d; holder %s, want %s; on record is %s, want %s",
					ended, want, sim.Holder(floating), holder, record, last)
			}
			return ""
		})
		done, _ := os.ReadFile(filepath.Join(dir, "done"))
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		if problem != "" || slices.ContainsFunc(strings.Fields(string(done)), func(s string) bool { return s != "0" }) {
			end()
			t.Fatalf("round %d, events\n%s%s\nexit statuses %q\n%s", round, events.String(), problem, done, log)
		}
		end()
	}
}

// await polls until problem returns "", because no event tells this process what
// another one has done. After waitLimit it returns the problem.
func await(problem func() string) string {
	timeout := time.After(waitLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p := problem()
		if p == "" {
			return ""
		}
		select {
		case <-timeout:
			return fmt.Sprintf("after %v: %s", waitLimit, strings.TrimSpace(p))
		case <-tick.C:
		}
	}
}

package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cluster"
	"berth/internal/etcdtest"

	"golang.org/x/sys/unix"
)

// cluster returns what berth cluster prints on a host.
func (h *fencedHost) cluster() (v cluster.View) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), filepath.Join(h.dir, "berth"), "cluster", "--config", "berth.yml", "--output", "json")
	cmd.Dir = h.dir
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		h.t.Fatalf("berth cluster: %v: %s", err, out)
	}
	return v
}

// untilCluster waits until berth cluster prints what is wanted.
func (h *fencedHost) untilCluster(what string, want func(v cluster.View) bool) cluster.View {
	h.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(waitLimit); ; {
		v := h.cluster()
		if want(v) {
			return v
		}
		select {
		case <-tick.C:
		case <-end:
			h.t.Fatalf("want %s, got %+v", what, v)
		}
	}
}

func ownerIn(v cluster.View) string {
	if len(v.Addresses) != 1 {
		return ""
	}
	return v.Addresses[0].Owner
}

// A host that is killed is gone after its lease, its address has another owner, and the
// move says why. The moves that a process told outlive it.
func TestTheClusterTellsOfAHostThatWasKilled(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h1, h2, h3 := newElectingHost(t, "h1", etcd), newElectingHost(t, "h2", etcd), newElectingHost(t, "h3", etcd)
	one := h1.start("elect", "berth.yml")
	one.says(refreshed)
	two := h2.start("elect", "berth.yml")
	h3.untilCluster("two members", func(v cluster.View) bool {
		return len(v.Members) == 2 && len(v.Addresses) == 1 && len(v.Addresses[0].Candidates) == 2
	})
	h3.start("elect", "berth.yml")
	v := h3.untilCluster("three members", func(v cluster.View) bool {
		return len(v.Members) == 3 && len(v.Addresses) == 1 && len(v.Addresses[0].Candidates) == 3
	})
	a := v.Addresses[0]
	if a.Address != "192.0.2.1/24" || a.Instance != electedInstance || a.Kind != "election" || a.Owner != "h1" || a.LeaseLeft <= 0 || a.LeaseLeft > 5000 || a.CanFailover ||
		!slices.Equal(a.Candidates, []string{"h1", "h2", "h3"}) || v.This != "h3" || !v.Members[2].Here || v.Members[0].Addresses != 1 {
		t.Errorf("got %+v", v)
	}
	one.signal(unix.SIGKILL)
	_ = one.cmd.Wait()
	two.says(refreshed)
	v = h3.untilCluster("another owner, with the reason", func(v cluster.View) bool {
		return ownerIn(v) == "h2" && len(v.Members) == 2 && len(v.Moves) > 0 && strings.Contains(v.Moves[0].Reason, "the lease of h1 ended")
	})
	if m := v.Moves[0]; m.From != "h1" || m.Member != "h2" || m.State != "MASTER" || m.Token == 0 || time.Since(m.At) > waitLimit {
		t.Errorf("got %+v", m)
	}
	two.signal(unix.SIGHUP)
	two.says("adopted the lease")
	after := h3.untilCluster("the begin of another process", func(a cluster.View) bool {
		return len(a.Members) == 2 && !a.Members[0].Since.Equal(v.Members[0].Since)
	})
	if !slices.Contains(after.Moves, v.Moves[0]) || ownerIn(after) != "h2" {
		t.Errorf("after a reload the moves are %+v, before it %+v", after.Moves, v.Moves)
	}
}

// In FIFO mode the board belongs to one reading of the configuration.
func TestTheClusterTellsOfTheInstancesOfKeepalivedAlsoAfterAReload(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h := newFencedHost(t, "h1", etcd, "")
	one := h.master("fifo")
	one.says(refreshed)
	isHere := func(v cluster.View) bool {
		return len(v.Members) == 1 && v.Members[0].State == "able" && v.Members[0].Mode == "fifo" && len(v.Addresses) == 1 && v.Addresses[0].Address == "192.0.2.1/24" &&
			v.Addresses[0].Instance == "VI_1" && v.Addresses[0].Kind == "keepalived" && v.Addresses[0].Owner == "h1" && !v.Addresses[0].CanFailover
	}
	h.untilCluster("the MASTER", isHere)
	one.signal(unix.SIGHUP)
	one.says("the configuration was read again")
	one.says(refreshed)
	h.untilCluster("the MASTER after a reload", isHere)
	if _, err := one.fifo.WriteString("INSTANCE \"VI_1\" FAULT 0\n"); err != nil {
		t.Fatal(err)
	}
	v := h.untilCluster("the FAULT", func(v cluster.View) bool {
		return len(v.Addresses) == 1 && v.Addresses[0].Owner == "" && v.Members[0].State == "not able" && v.Moves[0].State == "FAULT"
	})
	if v.Addresses[0].Address != "192.0.2.1/24" || v.Addresses[0].Kind != "keepalived" {
		t.Errorf("got %+v", v.Addresses[0])
	}
}

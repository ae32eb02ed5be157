package faults_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"berth/test/faults"
)

// The measurements are right only if the lab is. No berth runs here: the test adds
// and removes the addresses.

var both = []netip.Prefix{netip.PrefixFrom(faults.Address4, 32), netip.PrefixFrom(faults.Address6, 128)}

func give(t *testing.T, h *faults.Host) {
	t.Helper()
	for _, a := range both {
		if err := h.Node.AddAddress(faults.ServiceLink, a); err != nil {
			t.Fatal(err)
		}
	}
}

func take(t *testing.T, h *faults.Host) {
	t.Helper()
	for _, a := range both {
		if err := h.Node.RemoveAddress(faults.ServiceLink, a); err != nil {
			t.Fatal(err)
		}
	}
}

func until(t *testing.T, l *faults.Lab, what string, cond func() bool) {
	t.Helper()
	if err := l.Until(t.Context(), what, cond); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryHasOwnersAndOutages(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: "/bin/true"})
	host1, host2 := l.Hosts[0], l.Hosts[1]
	if l.Owner() != nil {
		t.Error("want no owner before a host has the address, got one")
	}
	give(t, host1)
	begin := time.Now()
	until(t, l, "service", func() bool { return l.Served(begin) })
	begin = time.Now()

	give(t, host2) // two owners
	take(t, host1)
	until(t, l, "host2 to be the owner", func() bool { return l.Owner() == host2 })
	// host2 has not announced the address, so the client goes on asking host1.
	take(t, host2)
	until(t, l, "an outage", func() bool { return len(l.History(begin).Outages(faults.Address4)) > 0 })
	give(t, host1)
	returned := time.Now()
	until(t, l, "service again", func() bool { return l.Served(returned) })

	h := l.History(begin)
	got, problems := faults.Judge(h)
	want := []string{"host1", "host2", "host1"}
	if !slices.Equal(got.Owners, want) || got.TwoOwners == 0 || got.NoOwner == 0 || got.Outage == 0 {
		t.Errorf("want owners %v, with times of two owners, of none and of an outage, got %+v", want, got)
	}
	if len(problems) == 0 {
		t.Error("want the two owners to be found, got no problem")
	}
}

// Each fault of the network has its effect on service and on the way to etcd.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: "/bin/true"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	host1 := l.Hosts[0]
	give(t, host1)
	serving := func() {
		t.Helper()
		since := time.Now()
		until(t, l, "service", func() bool { return l.Served(since) })
	}
	serving()
	// reaches asks each member for its version.
	reaches := func() bool {
		return host1.Do(ctx, `for i in 1 2 3; do timeout 0.5 /bin/bash -c "exec 3<>/dev/tcp/10.78.0.2$i/2379; echo 'GET /version HTTP/1.0
' >&3; grep -q etcdserver <&3" && exit 0; done; exit 1`) == nil
	}
	if !reaches() {
		t.Fatal("want host1 to reach etcd, it does not")
	}
	byName := make(map[string]faults.Fault)
	for _, f := range faults.All() {
		byName[f.Name] = f
	}
	for _, tt := range []struct {
		name         string
		served, etcd bool
	}{
		{"partition-etcd", true, false},
		{"partition-asymmetric-answers", true, false},
		{"partition-asymmetric-requests", true, false},
		{"partition-all", false, false},
		{"link-down", false, true},
		{"carrier-lost", false, true},
		{"etcd-all-lost", true, false},
		{"etcd-leader-killed", true, true},
	} {
		r, err := faults.NewRun(ctx, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(byName[tt.name]); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		until(t, l, "requests of the client", func() bool {
			s := l.History(begin).Samples[faults.Address4]
			return len(s) > 0 && time.Since(begin) > 200*time.Millisecond
		})
		if got := l.Served(begin); got != tt.served {
			t.Errorf("%s: want the client to be served: %t, got %t", tt.name, tt.served, got)
		}
		if got := reaches(); got != tt.etcd {
			t.Errorf("%s: want etcd to be reached: %t, got %t", tt.name, tt.etcd, got)
		}
		if err := r.Heal(tt.name, 0); err != nil {
			t.Fatal(err)
		}
		if tt.name == "link-down" { // takes the IPv6 address away
			if err := host1.Node.AddAddress(faults.ServiceLink, both[1]); err != nil {
				t.Fatal(err)
			}
		}
		serving()
		if !reaches() {
			t.Errorf("%s: want host1 to reach etcd after healing, got not", tt.name)
		}
	}
}

func TestDeadHostOwnsNothingAndComesBackEmpty(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: "/bin/true"})
	host1 := l.Hosts[0]
	give(t, host1)
	if err := host1.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	until(t, l, "service", func() bool { return l.Served(begin) })
	var death faults.Fault
	for _, f := range faults.All() {
		if f.Name == "host-death" {
			death = f
		}
	}
	r, err := faults.NewRun(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(death); err != nil {
		t.Fatal(err)
	}
	if l.Owner() != nil {
		t.Error("want no owner after its death, got one")
	}
	if err := r.Heal("host-death", 0); err != nil {
		t.Fatal(err)
	}
	if l.Owner() != nil {
		t.Error("want nothing to be left on a host that returns, got an owner")
	}
	give(t, host1)
	begin = time.Now()
	until(t, l, "service by the host that returned", func() bool { return l.Served(begin) })
	take(t, host1)
	until(t, l, "the changes of a host that returned", func() bool { return l.Owner() == nil })
}

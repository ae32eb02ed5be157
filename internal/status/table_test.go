package status_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"berth/internal/status"
	"berth/vrrp"
)

func TestStatusTable(t *testing.T) {
	now := time.Now()
	here := status.Address{Address: "192.0.2.1/32", Owner: status.Here}
	for _, tt := range []struct {
		name string
		in   status.Instance
		gone bool // the process that wrote it
		want string
	}{
		{"owner", status.Instance{State: vrrp.Master, Addresses: []status.Address{here}}, false, "MASTER 0s ago 192.0.2.1/32 this host - - -"},
		{"process is gone", status.Instance{State: vrrp.Master, PID: 7, Addresses: []status.Address{here}}, true,
			"MASTER 0s ago 192.0.2.1/32 this host - - STALE: process 7 is gone, no process acts for this instance"},
		{"lease", status.Instance{State: vrrp.Master, LeaseEnd: now.Add(3210 * time.Millisecond), Addresses: []status.Address{here}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - 3.2s left -"},
		{"lease that is kept although etcd is silent", status.Instance{State: vrrp.Master, Lease: "l", LeaseEnd: now.Add(4500 * time.Millisecond), Unacknowledged: now, Addresses: []status.Address{here}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - unknown etcd has not acknowledged the lease since " + now.Format(time.DateTime) + "; the owner goes on, as on-etcd-loss says"},
		{"acting without a lease", status.Instance{State: vrrp.Master, Lease: "l", LeaseEnd: now.Add(-time.Second), Addresses: []status.Address{here}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - ended the lease ended at " + now.Add(-time.Second).Format(time.DateTime) + ", and no other is known"},
		{"name of another host", status.Instance{State: vrrp.Backup, Owner: "vm", Doubled: true}, false,
			"BACKUP 0s ago - vm - - another host takes part under the name of this one; give each an etcd.member of its own"},
		{"other owner", status.Instance{State: vrrp.Backup, Owner: "host2"}, false, "BACKUP 0s ago - host2 - - -"},
		{"contested at the provider", status.Instance{State: vrrp.Master, Addresses: []status.Address{{Address: "192.0.2.1/32", Owner: "lb2", Contested: true}}}, false,
			"contested 0s ago 192.0.2.1/32 lb2 - - another host also claims the address; thefts: 0"},
		{"an old correction, and an error of the address", status.Instance{State: vrrp.Master, Corrections: 1, Correction: "found bound",
			Addresses: []status.Address{{Address: "192.0.2.1/32", LastError: "cloudscale: HTTP status 401"}}}, false,
			"MASTER 0s ago 192.0.2.1/32 - - - cloudscale: HTTP status 401"},
		{"an old correction, and contested at the provider", status.Instance{State: vrrp.Master, Corrections: 1, Correction: "found bound",
			Addresses: []status.Address{{Address: "192.0.2.1/32", Owner: "lb2", Contested: true, Thefts: 3}}}, false,
			"contested 0s ago 192.0.2.1/32 lb2 - - another host also claims the address; thefts: 3"},
		{"an old correction, and a fight on the network", status.Instance{State: vrrp.Master, Corrections: 2, Correction: "found bound",
			Addresses: []status.Address{here}, Contested: []string{"192.0.2.1/32"}}, false,
			"contested 0s ago 192.0.2.1/32 this host - - another host also claims, or another program of this host changes: 192.0.2.1/32"},
		{"an old correction, and an address that is suspended", status.Instance{State: vrrp.Master, Corrections: 2, Correction: "found bound",
			Addresses: []status.Address{{Address: "192.0.2.1/32", Suspended: true}}}, false,
			"suspended 0s ago 192.0.2.1/32 - - - the address has gone from this host without an event"},
		{"a correction and nothing else", status.Instance{State: vrrp.Master, Corrections: 1, Correction: "found bound", Addresses: []status.Address{here}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - - corrected once from what the host shows: found bound"},
		{"corrections and nothing else", status.Instance{State: vrrp.Backup, Corrections: 2, Correction: "found bound"}, false,
			"BACKUP 0s ago - - - - corrected 2 times from what the host shows: found bound"},
		{"contested on the owner", status.Instance{State: vrrp.Master, Addresses: []status.Address{here}, Contested: []string{"192.0.2.1/32"}}, false,
			"contested 0s ago 192.0.2.1/32 this host - - another host also claims, or another program of this host changes: 192.0.2.1/32"},
		{"contested on another host", status.Instance{State: vrrp.Backup, Owner: "host2", Contested: []string{"192.0.2.1/32"}}, false,
			"BACKUP 0s ago - host2 - - another host also claims, or another program of this host changes: 192.0.2.1/32"},
		{"keepalived.conf is not loaded", status.Instance{State: vrrp.Master, Configuration: "reload keepalived", Correction: "old", Corrections: 1, Addresses: []status.Address{here}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - - reload keepalived"},
		{"keepalived.conf is not loaded, and the API fails", status.Instance{State: vrrp.Master, Configuration: "reload keepalived", Addresses: []status.Address{{Address: "192.0.2.1/32", Owner: status.Here, LastError: "500"}}}, false,
			"MASTER 0s ago 192.0.2.1/32 this host - - 500"},
		{"keepalived.conf is not loaded on the other host", status.Instance{State: vrrp.Backup, Configuration: "reload keepalived"}, false, "BACKUP 0s ago - - - - reload keepalived"},
		{"cannot own", status.Instance{State: vrrp.Fault, Error: "interface eth0 is down"}, false, "FAULT 0s ago - - - - interface eth0 is down"},
	} {
		tt.in.Instance, tt.in.Since = "api", now
		var out bytes.Buffer
		if err := status.Table(&out, []status.Instance{tt.in}, now, func(status.Instance) bool { return !tt.gone }); err != nil {
			t.Fatal(err)
		}
		_, row, _ := strings.Cut(out.String(), "\n")
		if got := strings.Join(strings.Fields(row), " "); got != "api "+tt.want {
			t.Errorf("%s: want %q, got %q", tt.name, "api "+tt.want, got)
		}
	}
}

func TestTheStatusTellsOneNameInTwoElectionsApart(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	both := []status.Instance{{Instance: "api", Prefix: "/a/", Member: "h", State: vrrp.Master, Since: now}, {Instance: "api", Prefix: "/b/", Member: "h", State: vrrp.Backup, Since: now}}
	if err := status.Table(&out, both, now, func(status.Instance) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"api (/a/ as h)  MASTER", "api (/b/ as h)  BACKUP"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q, got\n%s", want, out.String())
		}
	}
}

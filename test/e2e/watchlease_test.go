package e2e_test

import (
	"strings"
	"testing"
	"time"

	"berth/test/lab"
	"berth/vrrp"
)

// The owner is cut off from etcd alone: its heartbeats arrive, it reaches the provider, and
// it cannot act. It keeps nobody out, and with etcd it is the owner again.
func TestHeartbeatsLeaveTheAddressToAHostWithALease(t *testing.T) {
	t.Parallel()
	f := newFieldWith(t, lab.Options{Binary: berth, Exoscale: true, Seed: *seed})
	f.etcd()
	const lease = "refresh-interval: 1m\nrefresh-timeout: 5s\n" +
		"etcd: {endpoints: [\"http://10.77.0.1:2379\"], lease-ttl: 2s}\nfencing: {enabled: true}\n"
	f.watches(f.host1, 10, "", lease)
	f.watches(f.host2, 20, "", lease)
	f.becomes(f.host1, vrrp.Master)
	f.becomes(f.host2, vrrp.Backup)
	f.attached(f.host1)

	rule := func(change string) {
		t.Helper()
		if out, err := f.host1.Run(f.context(), "/usr/sbin/ip", "rule", change, "ipproto", "tcp", "dport", "2379", "blackhole"); err != nil {
			t.Fatal(out, err)
		}
	}
	rule("add")
	f.becomes(f.host1, vrrp.Backup)
	if in := f.status(f.host1, lab.ElasticIP.String()); !strings.Contains(in.Reason, "etcd") {
		t.Errorf("want a reason that names etcd, got %q", in.Reason)
	}
	f.becomes(f.host2, vrrp.Master)
	f.attached(f.host2)
	f.until("host2 to confirm that", func() bool {
		in := f.status(f.host2, lab.ElasticIP.String())
		return len(in.Addresses) == 1 && in.Addresses[0].Owner == "here"
	})
	for _, w := range f.writes(f.host1, f.status(f.host2, lab.ElasticIP.String()).Since) {
		if strings.Contains(w, ":attach") {
			t.Errorf("host1 attaches itself without a lease: %s", w)
		}
	}

	healed := time.Now()
	rule("del")
	f.until("host1 to be MASTER again", func() bool {
		in := f.status(f.host1, lab.ElasticIP.String())
		return in.State == vrrp.Master && in.Since.After(healed)
	})
	f.becomes(f.host2, vrrp.Backup)
	f.attached(f.host1)
}

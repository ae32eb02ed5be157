package e2e_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
	"berth/test/lab"
)

// Limits that LinK does not keep and a busy machine does. LinK never puts an address back,
// gives one up when its lease ends, and gets its first lease after an interval.
const (
	defence    = 5 * time.Second // of an address that is removed again and again, once a second
	handOver   = linkLease - time.Second
	firstLease = 10 * time.Second
)

// The faults that LinK was seen to have, each as a test that LinK fails. The subtests follow
// each other. Every change of an address is seen: no two hosts have one at once, but for
// the time that LinK's promise has several. The fault lab has longer runs: the rows claim-*
// and added-* of test/faults.
func TestLinkFaults(t *testing.T) {
	t.Parallel()
	f := newLinkField(t, etcdtest.Options{}, "lb1", "lb10", "nameless")
	lb1, lb10, nameless := f.hosts[0], f.hosts[1], f.hosts[2]
	ip, twenty, v6 := netip.MustParseAddr("10.78.0.201"), netip.MustParseAddr("10.78.0.20"), netip.MustParseAddr("2001:db8:78::203")
	step := f.steps(t)
	list := func(h *linkHost) (all []string) {
		for _, i := range decode[struct{ IPs []linkIP }](f.segment, h.wants(http.StatusOK, http.MethodGet, "/ips", "")).IPs {
			all = append(all, i.IP)
		}
		return all
	}

	step("fault 3: a host name that begins another one takes no list of another host", func(t *testing.T) {
		lb10.start("HOSTNAME=lb10", "USER=link", "PASSWORD="+linkPassword)
		lb10.add(ip)
		lb10.add(netip.MustParseAddr("10.78.0.202"))
		f.owns(ip, lb10)
		lb1.start("HOSTNAME=lb1")
		if got := list(lb1); len(got) != 0 {
			t.Errorf("want no address at lb1, got %v", got)
		}
		lb1.add(ip) // shared with lb10; LinK stops with a panic at its next start
		f.must(lb1.berth.Stop(t.Context()))
		lb1.start("HOSTNAME=lb1")
		lb1.becomes("STANDBY", ip)
		if got := list(lb1); !slices.Equal(got, []string{"10.78.0.201/32"}) {
			t.Errorf("got %v", got)
		}
	})
	step("faults 3 and 13: an empty host name takes no list of another host; a fresh host does not wait an interval for its lease", func(t *testing.T) {
		begin := time.Now()
		nameless.start("HOSTNAME=", "KEEPALIVE_INTERVAL=20s")
		if got := list(nameless); len(got) != 0 {
			t.Errorf("want no address at nameless, got %v", got)
		}
		nameless.add(twenty)
		f.owns(twenty, nameless)
		f.within(firstLease, begin, "owning the first address")
	})
	step("fault 4: the hosts of 10.78.0.201 are none of 10.78.0.20, which is given to nobody by a failover", func(t *testing.T) {
		status, answer := nameless.call(http.MethodPost, "/ips/"+id(twenty)+"/failover", "")
		if status != http.StatusConflict || decode[map[string]string](f.segment, answer)["error"] == "" {
			t.Errorf("want 409 and the reason, got %d %s", status, answer)
		}
		f.owns(twenty, nameless)
		nameless.becomes("ACTIVATED", twenty)
	})
	step("fault 6: a failover has no two holders, nor a hole of an interval", func(t *testing.T) {
		begin := time.Now()
		lb10.wants(http.StatusNoContent, http.MethodPost, "/ips/"+id(ip)+"/failover", "")
		f.owns(ip, lb1)
		f.within(handOver, begin, "the failover")
		lb1.becomes("ACTIVATED", ip)
		lb10.becomes("STANDBY", ip)
		if had := f.had(ip); !slices.Equal(had, []string{"lb10", "lb1"}) {
			t.Errorf("want one move, got %v", had)
		}
	})
	step("fault 10: status codes: failover on a standby, a duplicate, an unknown id; JSON errors with both keys", func(t *testing.T) {
		lb10.wants(http.StatusNoContent, http.MethodPost, "/ips/"+id(ip)+"/failover", "") // LinK: 500
		f.owns(ip, lb10)
		for _, c := range []struct {
			want               int
			method, path, body string
		}{
			{http.StatusBadRequest, http.MethodPost, "/ips", `{"ip":"10.78.0.201"}`},                                                // version 3: 500
			{http.StatusNotFound, http.MethodDelete, "/ips/vip-10.78.0.99", ""},                                                     // 500 and a text
			{http.StatusNotFound, http.MethodDelete, "/ips/vip-none", ""},                                                           // 500 and a text
			{http.StatusNotFound, http.MethodPost, "/ips/vip-10.78.0.99/failover", ""},                                              //
			{http.StatusNotFound, http.MethodPatch, "/ips/vip-10.78.0.99", `{"checks":[]}`},                                         //
			{http.StatusBadRequest, http.MethodPost, "/ips", `{"ip":"10.78.0.99","checks":[{"type":"HTTP","host":"a","port":80}]}`}, // 201, and always healthy
			{http.StatusNotFound, http.MethodGet, "/none", ""},
		} {
			answer := decode[map[string]string](f.segment, lb10.wants(c.want, c.method, c.path, c.body))
			if answer["error"] == "" || answer["error"] != answer["msg"] {
				t.Errorf("%s %s: want the reason under both keys, got %v", c.method, c.path, answer)
			}
		}
	})
	step("fault 9: a client of version 2 finds the field ip, replaces the checks, and gets 204 for a failover", func(t *testing.T) {
		added := decode[map[string]any](f.segment, lb10.wants(http.StatusCreated, http.MethodPost, "/ips", `{"healthcheck_interval":1,"checks":null,"ip":"10.78.0.211/32","no_network":false}`))
		if added["ip"] != "10.78.0.211/32" {
			t.Errorf("got %v", added)
		}
		for _, i := range decode[struct{ IPs []map[string]any }](f.segment, lb10.wants(http.StatusOK, http.MethodGet, "/ips", "")).IPs {
			if i["ip"] == nil || i["id"] == nil || i["status"] == nil {
				t.Errorf("want id, ip and status, got %v", i)
			}
		}
		path := fmt.Sprintf("/ips/%s", added["id"])
		lb10.wants(http.StatusOK, http.MethodPatch, path, `{"healthchecks":[{"type":"TCP","host":"127.0.0.1","port":1313}]}`)
		if got := decode[struct{ IP linkIP }](f.segment, lb10.wants(http.StatusOK, http.MethodGet, path, "")).IP; len(got.Checks) != 1 || got.Healthcheck != 1 {
			t.Errorf("want the check that was sent, and the interval as it was, got %+v", got)
		}
		lb10.wants(http.StatusNoContent, http.MethodDelete, path, "")
	})
	step("fault 7: an IP that is removed by hand comes back, also after three rounds of announcements", func(t *testing.T) {
		for range 4 {
			begin := time.Now()
			f.must(lb10.RemoveAddress(lab.Link, netip.PrefixFrom(ip, 32)))
			f.until("the address to be back", func() bool { return f.has(lb10.Node, ip) && f.backSince(ip, begin) })
			f.within(defence, begin, "putting it back")
		}
	})
	step("fault 12: an IPv6 address is bound, and announced by neighbour advertisements", func(*testing.T) {
		begin := time.Now()
		lb1.add(v6)
		lb10.add(v6)
		owner := f.owner(v6)
		owner.becomes("ACTIVATED", v6)
		f.hears(owner, v6, begin, "advertisement")
	})
	step("fault 8: a host whose TCP check has never passed never binds", func(t *testing.T) {
		a := netip.MustParseAddr("10.78.0.204")
		lb1.wants(http.StatusCreated, http.MethodPost, "/ips", `{"ip":"10.78.0.204","checks":[{"type":"TCP","host":"127.0.0.1","port":9}],"healthcheck_interval":1}`)
		if got := lb1.state(a); got != "BOOTING" && got != "FAILING" {
			t.Errorf("want BOOTING until the first state is known, got %s", got)
		}
		lb1.becomes("FAILING", a)
		lb10.add(a)
		f.owns(a, lb10)
		if had := f.had(a); !slices.Equal(had, []string{"lb10"}) {
			t.Errorf("want the address on lb10 alone, got %v", had)
		}
	})
	step("fault 5: SIGTERM removes the address and gives the lock up at once, without two holders", func(t *testing.T) {
		before := len(f.had(ip))
		begin := time.Now()
		f.must(lb10.berth.Signal(unix.SIGTERM))
		f.owns(ip, lb1)
		f.within(handOver, begin, "taking over")
		if status := lb10.ended(); status != 0 {
			t.Errorf("want exit status 0, got %d", status)
		}
		if had := f.had(ip); len(had) != before+1 {
			t.Errorf("want one move, got %v", had[before-1:])
		}
		lb10.start(lb10.environment...)
		lb10.becomes("STANDBY", ip)
	})
	step("fault 1: etcd is killed, then the holder: the standby takes the address", func(*testing.T) {
		f.must(f.etcd.Member(0).Kill())
		f.must(lb1.berth.Signal(unix.SIGKILL))
		f.owns(ip, lb10)
		lb10.becomes("ACTIVATED", ip)
		f.must(f.etcd.Member(0).Restart())
		f.ready()
		lb1.start(lb1.environment...)
		f.settled(ip, lb1, lb10)
		f.settled(v6, lb1, lb10)
		f.forgive() // LinK's promise is at least one
	})
	step("fault 11: no secret is in etcd or in a log, and what is removed leaves nothing behind", func(t *testing.T) {
		for _, h := range f.hosts {
			for _, i := range decode[struct{ IPs []linkIP }](f.segment, h.wants(http.StatusOK, http.MethodGet, "/ips", "")).IPs {
				h.wants(http.StatusNoContent, http.MethodDelete, "/ips/"+i.ID, "")
			}
			if got := strings.TrimSpace(h.wants(http.StatusOK, http.MethodGet, "/ips", "")); got != `{"ips":[]}` {
				t.Errorf("got %s", got)
			}
		}
		all := f.etcdctl("get", "--prefix", "/link/")
		if strings.Contains(all, linkPassword) {
			t.Error("the password is in etcd")
		}
		if added := f.etcdctl("get", "--prefix", "--keys-only", "/link/berth/added/"); strings.TrimSpace(added) != "" {
			t.Errorf("want no key of an address that was removed, got\n%s", added)
		}
		for _, log := range f.Logs() {
			if strings.Contains(log.String(), linkPassword) {
				t.Errorf("the password is in the log of %s", log.Name)
			}
		}
	})
}

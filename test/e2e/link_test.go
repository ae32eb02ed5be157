package e2e_test

import (
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
)

// linkPassword is that of the API of link-1.
const linkPassword = "UpiU178oURwaK4RQ7Gw"

// The promises of LinK's documentation, in its words. The subtests follow each other. The
// fault lab has longer runs of the same promises: the rows claim-* and added-* of
// test/faults.
func TestLinkPromises(t *testing.T) {
	t.Parallel()
	f := newLinkField(t, etcdtest.Options{}, "link-1", "link-2", "link-3")
	one, two, three := f.hosts[0], f.hosts[1], f.hosts[2]
	ip, second := netip.MustParseAddr("10.78.0.201"), netip.MustParseAddr("10.78.0.202")
	step := f.steps(t)

	step("configuration is entirely done by setting environment variables", func(*testing.T) {
		one.start("HOSTNAME=link-1", "USER=link", "PASSWORD="+linkPassword)
		two.start("HOSTNAME=link-2", "PORT=1314")
		three.start("USER=root")
	})
	step("GET /ips: List all currently configured IPs: an empty list is no null", func(t *testing.T) {
		for _, h := range f.hosts {
			if got := strings.TrimSpace(h.wants(http.StatusOK, http.MethodGet, "/ips", "")); got != `{"ips":[]}` {
				t.Errorf("got %s", got)
			}
		}
	})
	step("USER and PASSWORD: used for basic auth, on all routes", func(t *testing.T) {
		local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		for _, route := range []string{"GET /ips", "POST /ips", "GET /ips/x", "PUT /ips/x", "PATCH /ips/x", "DELETE /ips/x", "POST /ips/x/lock", "POST /ips/x/failover", "GET /version", "GET /metrics", "GET /cluster", "GET /"} {
			method, path, _ := strings.Cut(route, " ")
			for _, wrong := range [][2]string{{}, {"link", ""}, {"", linkPassword}, {"link", "link"}, {"root", linkPassword}} {
				if status, _, err := one.request(one.client, local, wrong[0], wrong[1], method, path, "{}"); status != http.StatusUnauthorized || err != nil {
					t.Errorf("%s with user %q and password %q: got %d, %v", route, wrong[0], wrong[1], status, err)
				}
			}
		}
		router := clientIn(f.router)
		if status, _, err := one.request(router, one.address, "link", linkPassword, http.MethodGet, "/ips", ""); status != http.StatusOK || err != nil {
			t.Errorf("with a password the API listens on all addresses; got %d, %v", status, err)
		}
		for _, h := range f.hosts[1:] {
			if status, _, err := h.request(router, h.address, "", "", http.MethodGet, "/ips", ""); err == nil {
				t.Errorf("without a password the API of %s must not be reached from another host, got %d", h.Name, status)
			}
		}
		three.says("USER is set and PASSWORD is not, as in a login shell", time.Time{})
		for _, h := range f.hosts[1:] {
			h.says(`"code": "api-open"`, time.Time{})
			var warnings []string
			for _, line := range h.berth.Log.Lines() {
				if strings.Contains(line.Text, " WARN ") && (strings.Contains(line.Text, "credentials") || strings.Contains(line.Text, "assword")) {
					warnings = append(warnings, line.Text)
				}
			}
			if len(warnings) != 1 {
				t.Errorf("want one warning that the API of %s has no credentials, got %q", h.Name, warnings)
			}
		}
	})
	step("POST /ips: Add an IP; elected; LinK adds the IP to the configured interface and sends an unsolicited ARP request", func(t *testing.T) {
		begin := time.Now()
		answer := one.wants(http.StatusCreated, http.MethodPost, "/ips", `{"healthcheck_interval":0,"checks":null,"ip":"10.78.0.201/32"}`)
		got := decode[linkIP](f.segment, answer)
		if !strings.HasPrefix(got.ID, "vip-") || got.IP != "10.78.0.201/32" || got.Status != "" {
			t.Errorf("want a flat object with an id, the IP and without status, got %s", answer)
		}
		f.owns(ip, one)
		f.hears(one, ip, begin, "request", "reply")
		one.becomes("ACTIVATED", ip)
		if !one.happened("elected") {
			t.Error("want the event elected")
		}
	})
	step("GET /ips/:id: Get a single IP", func(t *testing.T) {
		got := decode[struct{ IP linkIP }](f.segment, one.wants(http.StatusOK, http.MethodGet, "/ips/"+id(ip), "")).IP
		if got.ID != id(ip) || got.IP != "10.78.0.201/32" || got.Status != "ACTIVATED" {
			t.Errorf("got %+v", got)
		}
		list := decode[struct{ IPs []linkIP }](f.segment, one.wants(http.StatusOK, http.MethodGet, "/ips", "")).IPs
		if len(list) != 1 || list[0].ID != got.ID || list[0].Status != "ACTIVATED" {
			t.Errorf("got %+v", list)
		}
	})
	step("STANDBY: This machine does not own the virtual IP but is available for election", func(t *testing.T) {
		two.add(ip)
		two.becomes("STANDBY", ip)
		f.owns(ip, one)
		if !two.happened("demoted") {
			t.Error("want the event demoted")
		}
	})
	step("each agent only has knowledge of its local configuration", func(*testing.T) {
		three.add(second)
		f.owns(second, three)
		for _, h := range f.hosts[:2] {
			h.wants(http.StatusNotFound, http.MethodGet, "/ips/"+id(second), "")
		}
		three.wants(http.StatusNotFound, http.MethodGet, "/ips/"+id(ip), "")
		f.owns(ip, one)
	})
	step("POST /ips/:id/lock: Try to get the lock on this IP", func(*testing.T) {
		two.wants(http.StatusNoContent, http.MethodPost, "/ips/"+id(ip)+"/lock", "")
		one.wants(http.StatusNoContent, http.MethodPost, "/ips/"+id(ip)+"/lock", "")
		two.wants(http.StatusNotFound, http.MethodPost, "/ips/"+id(second)+"/lock", "")
		f.owns(ip, one)
		two.becomes("STANDBY", ip)
	})
	step("the client of version 1: list, get, add, destroy, try-get-lock, version", f.session)
	step("FAILING: Health checks for this host failed; health_check_fail, health_check_success", func(t *testing.T) {
		one.wants(http.StatusOK, http.MethodPatch, "/ips/"+id(ip), `{"healthchecks":[{"type":"TCP","host":"127.0.0.1","port":8080}],"healthcheck_interval":1}`)
		f.owns(ip, two)
		one.becomes("FAILING", ip)
		if !one.happened("health_check_fail") {
			t.Error("want the event health_check_fail")
		}
		var l net.Listener
		f.must(one.Do(func() (err error) {
			l, err = net.Listen("tcp", "127.0.0.1:8080")
			return err
		}))
		f.OnClose(l.Close)
		one.becomes("STANDBY", ip)
		if !one.happened("health_check_success") {
			t.Error("want the event health_check_success")
		}
		f.owns(ip, two)
	})
	step("SIGHUP and SIGUSR2 move nothing", func(t *testing.T) {
		begin := time.Now()
		f.must(two.berth.Signal(unix.SIGHUP))
		two.says(`"code": "lease-adopted"`, begin)
		two.says(`"code": "api-served"`, begin)
		f.must(two.berth.Signal(unix.SIGUSR2))
		if status := two.ended(); status != 0 {
			t.Errorf("want exit status 0, got %d", status)
		}
		f.owns(ip, two)
		two.start(two.environment...)
		two.says(`"code": "lease-adopted"`, time.Time{})
		two.becomes("ACTIVATED", ip)
		if had := f.had(ip); !slices.Equal(had, []string{"link-1", "link-2"}) {
			t.Errorf("want the address to have moved once, from link-1 to link-2; it was on %v", had)
		}
	})
	step("if one agent fails to contact the etcd cluster it will take the IP: fault", func(t *testing.T) {
		f.must(f.etcd.Member(0).Kill())
		f.owns(ip, one, two)
		one.becomes("ACTIVATED", ip)
		two.becomes("ACTIVATED", ip)
		if !one.happened("fault") {
			t.Error("want the event fault")
		}
		f.owns(second, three)
		f.must(f.etcd.Member(0).Restart())
		f.ready()
		f.settled(ip, one, two)
		f.forgive() // the promise is at least one
	})
	step("there must always be at least one server that binds the IP: a host that is killed", func(*testing.T) {
		owner, other := f.owner(ip), two
		if owner == two {
			other = one
		}
		f.must(owner.berth.Signal(unix.SIGKILL))
		f.owns(ip, other)
		owner.start(owner.environment...)
		f.settled(ip, one, two)
	})
	step("DELETE /ips/:id: Remove an IP; to unbind an IP we will just remove it from the interface", func(*testing.T) {
		owner := f.owner(ip)
		owner.wants(http.StatusNoContent, http.MethodDelete, "/ips/"+id(ip), "")
		owner.wants(http.StatusNotFound, http.MethodGet, "/ips/"+id(ip), "")
		next := f.owner(ip)
		next.becomes("ACTIVATED", ip)
		next.wants(http.StatusNoContent, http.MethodDelete, "/ips/"+id(ip), "")
		f.owns(ip)
	})
}

// had returns the nodes that have had an address, in order.
func (f *linkField) had(a netip.Addr) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ever[a])
}

// session is one of LinK's client, version 1, as raw requests with the answers that it
// reads.
func (f *linkField) session(t *testing.T) {
	h, a := f.hosts[0], netip.MustParseAddr("10.78.0.210")
	if v := decode[map[string]string](f.segment, h.wants(http.StatusOK, http.MethodGet, "/version", ""))["version"]; v == "" {
		t.Error("want a version")
	}
	body := `{"ip":"10.78.0.210/32","checks":[{"type":"TCP","host":"127.0.0.1","port":1313}],"keepalive_interval":5,"healthcheck_interval":1}` + "\n"
	added := decode[linkIP](f.segment, h.wants(http.StatusCreated, http.MethodPost, "/ips", body))
	if added.Keepalive != 5 || added.Healthcheck != 1 || len(added.Checks) != 1 || added.Checks[0].Type != "TCP" || added.Checks[0].Host != "127.0.0.1" || added.Checks[0].Port != 1313 {
		t.Errorf("got %+v", added)
	}
	h.becomes("ACTIVATED", a)
	list := decode[struct{ IPs []linkIP }](f.segment, h.wants(http.StatusOK, http.MethodGet, "/ips", "")).IPs
	if !slices.ContainsFunc(list, func(i linkIP) bool {
		return i.ID == added.ID && i.IP == "10.78.0.210/32" && i.Status == "ACTIVATED" && i.Keepalive == 5
	}) {
		t.Errorf("got %+v", list)
	}
	one := decode[struct{ IP linkIP }](f.segment, h.wants(http.StatusOK, http.MethodGet, "/ips/"+added.ID, "")).IP
	if one.ID != added.ID || len(one.Checks) != 1 {
		t.Errorf("got %+v", one)
	}
	h.wants(http.StatusNoContent, http.MethodPost, "/ips/"+added.ID+"/lock", "")
	if got := decode[map[string]string](f.segment, h.wants(http.StatusBadRequest, http.MethodPost, "/ips", body))["msg"]; got != "IP already assigned" {
		t.Errorf("adding it again: got %q", got)
	}
	for _, wrong := range []string{`{`, `{"ip":"10.0.0"}`, `{"ip":""}`, `{"ip":"10.0.0.9","checks":[{"type":"TCP","host":"a","port":-1}]}`, `{"ip":"10.0.0.9","checks":[{"type":"TCP","host":"a","port":65536}]}`} {
		answer := decode[map[string]string](f.segment, h.wants(http.StatusBadRequest, http.MethodPost, "/ips", wrong))
		if answer["msg"] == "" || answer["msg"] != answer["error"] {
			t.Errorf("%s: want the reason under both keys, got %v", wrong, answer)
		}
	}
	h.wants(http.StatusNoContent, http.MethodDelete, "/ips/"+added.ID, "")
	f.owns(a)
	if got := decode[map[string]string](f.segment, h.wants(http.StatusNotFound, http.MethodGet, "/ips/"+added.ID, ""))["error"]; got != "not found" {
		t.Errorf("get of an id that is gone: got %q", got)
	}
	h.wants(http.StatusNotFound, http.MethodPost, "/ips/"+added.ID+"/lock", "")
}

// "ETCD_HOSTS, ETCD_TLS_CERT, ETCD_TLS_KEY, ETCD_CACERT": an etcd that takes no client
// without a certificate, whose name is a user that may use LinK's directory alone.
func TestLinkEtcdOverTLS(t *testing.T) {
	t.Parallel()
	f := newLinkField(t, etcdtest.Options{TLS: true}, "link-1")
	h, ip := f.hosts[0], netip.MustParseAddr("10.78.0.201")
	script := `etcdctl role add link
etcdctl role grant-permission link --prefix=true readwrite /link/
etcdctl user add link:unused
etcdctl user grant-role link link
etcdctl user add root:` + linkPassword + `
etcdctl user grant-role root root
etcdctl auth enable
`
	f.etcdctl("put", "/link/hosts/link-1/vip-1", "of LinK")
	out, err := f.router.Run(t.Context(), "/bin/bash", "-euc", "export "+strings.Join(f.operator(), " ")+"\n"+script)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	cert, key, err := f.etcd.ClientCertificate("link", time.Hour)
	f.must(err)
	f.must(install(h.Node, filepath.Dir(cert)))
	h.start("HOSTNAME=link-1", "ETCD_HOSTS=http://10.78.0.1:2999,"+f.endpoint(), "ETCD_TLS_CERT="+cert, "ETCD_TLS_KEY="+key, "ETCD_CACERT="+f.etcd.CAFile())
	h.add(ip)
	f.owns(ip, h)
	root := []string{"--user", "root:" + linkPassword}
	all := f.etcdctl(append(root, "get", "--prefix", "--keys-only", "")...)
	for line := range strings.Lines(all) {
		if line = strings.TrimSpace(line); line != "" && line != "/link/hosts/link-1/vip-1" && !strings.HasPrefix(line, "/link/berth/") {
			t.Errorf("want no key outside of /link/berth/, got %s", line)
		}
	}
	if got := f.etcdctl(append(root, "get", "--print-value-only", "/link/hosts/link-1/vip-1")...); strings.TrimSpace(got) != "of LinK" {
		t.Errorf("want the keys of LinK as they were, got %q", got)
	}
	if err := h.berth.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.owns(ip)
	for _, line := range h.berth.Log.Lines() {
		if strings.Contains(line.Text, "etcdserver: permission denied") {
			t.Errorf("berth did what its user may not: %s", line.Text)
		}
	}
}

// "INTERFACE: Name of the interface where LinK should add and remove IPs": one that is not
// there is an error at the start; LinK failed at each IP.
func TestLinkInterfaceMustBeThere(t *testing.T) {
	t.Parallel()
	f := newLinkField(t, etcdtest.Options{}, "link-1")
	h := f.hosts[0]
	h.launch("INTERFACE=nosuch0")
	if status := h.ended(); status == 0 {
		t.Error("want a failure without the interface")
	}
	h.says("nosuch0", time.Time{})
}

package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/testnet"

	"golang.org/x/sys/unix"
)

// curl sends a request to the API of a host, on its loopback, and returns body and status.
func (a *adding) curl(n *testnet.Node, args ...string) string {
	a.t.Helper()
	args[len(args)-1] = "http://127.0.0.1:1313" + args[len(args)-1]
	out, err := n.Run(a.t.Context(), "/usr/bin/curl", append([]string{"-sS", "-m", "15", "-w", "%{http_code}"}, args...)...)
	if err != nil {
		a.t.Logf("curl %v: %v", args, err)
	}
	return strings.Join(strings.Fields(out), " ")
}

// answers fails the test unless an answer begins and ends as it must.
func (a *adding) answers(n *testnet.Node, begin, status string, args ...string) {
	a.t.Helper()
	if got := a.curl(n, args...); !strings.HasPrefix(got, begin) || !strings.HasSuffix(got, status) {
		a.t.Errorf("%s, %v: want %s ... %s, got %s", n.Name, args, begin, status, got)
	}
}

// A session with curl, through a reload, a kill and a silence of etcd.
func TestTheAPIWithCurl(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "curl")
	a := newAdding(t, "release")
	const id = "/ips/vip-192.0.2.1"
	for _, n := range []*testnet.Node{a.lb1, a.lb10} {
		a.until(n.Name+" to be ready", func() bool { return strings.HasSuffix(a.curl(n, "/readyz"), " 200") })
		a.answers(n, `{"ips":[]}`, "200", "/ips")
	}
	a.answers(a.lb1, `{"error":"not found"`, "404", id)
	a.answers(a.lb1, `{"id":"vip-192.0.2.1","ip":"192.0.2.1/32"`, "201", "-d", `{"ip":"192.0.2.1"}`, "/ips")
	a.answers(a.lb1, `{"error":"IP already assigned"`, "400", "-d", `{"ip":"192.0.2.1/24"}`, "/ips")
	a.has(a.lb1, added1)
	state := func(n *testnet.Node, status, owner string) {
		t.Helper()
		a.until(n.Name+" to say "+status, func() bool {
			got := a.curl(n, id)
			return strings.Contains(got, fmt.Sprintf(`"status":%q`, status)) && strings.Contains(got, fmt.Sprintf(`"owner":%q`, owner))
		})
	}
	state(a.lb1, "ACTIVATED", "lb1")
	a.answers(a.lb10, `{"id":"vip-192.0.2.1"`, "201", "-d", `{"ip":"192.0.2.1"}`, "/ips")
	state(a.lb10, "STANDBY", "lb1")
	a.answers(a.lb10, "", "204", "-X", "POST", id+"/lock")
	a.has(a.lb1, added1) // a lock takes nothing
	a.answers(a.lb10, "", "204", "-X", "POST", id+"/failover")
	a.has(a.lb10, added1)
	state(a.lb10, "ACTIVATED", "lb10")
	a.answers(a.lb10, "", "204", "-X", "POST", id+"/failover")
	a.has(a.lb1, added1)
	a.answers(a.lb1, "", "200", "/status")
	a.answers(a.lb1, `{"prefix":"/berth/","this":"lb1"`, "200", "/cluster")
	a.answers(a.lb1, `{"error":"not found"`, "404", "-X", "POST", "/instances/own-lb10/failover")
	a.answers(a.lb1, `{"error":"no other member`, "409", "-X", "POST", "/instances/own-lb1/failover")
	a.answers(a.lb1, `{"error":"this host takes part in no pool`, "409", "/pool")

	// A page of another site, and a name of another one.
	a.answers(a.lb1, `{"error":"a page of another site`, "403", "-H", "Origin: http://evil.example", "-X", "DELETE", id)
	a.answers(a.lb1, `{"error":"the name in the URL`, "403", "-H", "Host: evil.example:1313", id)

	// The list and the server survive a reload and a kill.
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGKILL} {
		a.must(a.berth[a.lb1].Signal(sig))
		if sig == unix.SIGKILL {
			<-a.berth[a.lb1].Done()
			a.start(a.lb1)
		}
		a.until("the API again", func() bool { return strings.HasSuffix(a.curl(a.lb1, "/healthz"), " 200") })
		state(a.lb1, "ACTIVATED", "lb1")
	}

	// While etcd is silent the process lives, reads are answered, and a change says why not.
	for _, m := range a.etcd.Members() {
		a.must(m.Pause())
	}
	begun := time.Now()
	a.answers(a.lb1, `{"error":"etcd does not answer"`, "503", "-d", `{"ip":"192.0.2.2"}`, "/ips")
	a.within(10*time.Second, begun, "the answer")
	a.answers(a.lb1, `{"status":"ok"}`, "200", "/healthz")
	a.answers(a.lb1, `{"ip":{"id":"vip-192.0.2.1"`, "200", id)
	for _, m := range a.etcd.Members() {
		a.must(m.Resume())
	}
	a.has(nil, added1)

	for _, n := range []*testnet.Node{a.lb1, a.lb10} {
		a.until("the removal from "+n.Name, func() bool {
			got := a.curl(n, "-X", "DELETE", id)
			return strings.HasSuffix(got, "204") || strings.HasSuffix(got, "404")
		})
		a.answers(n, `{"ips":[`, "200", "/ips")
	}
	a.none([]netip.Addr{added1})
	a.once()
}

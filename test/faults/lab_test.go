package faults_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/faults"
)

// waitLimit bounds each wait of a test.
const waitLimit = 30 * time.Second

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

// begin begins a run with a fault.
func begin(t *testing.T, l *faults.Lab, name string) *faults.Run {
	t.Helper()
	r, err := faults.NewRun(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(faults.All(), func(f faults.Fault) bool { return f.Name == name })
	if err := r.Begin(faults.All()[i]); err != nil {
		t.Fatal(err)
	}
	return r
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
		r := begin(t, l, tt.name)
		begun := time.Now()
		until(t, l, "requests of the client", func() bool {
			s := l.History(begun).Samples[faults.Address4]
			return len(s) > 0 && time.Since(begun) > 200*time.Millisecond
		})
		if got := l.Served(begun); got != tt.served {
			t.Errorf("%s: want the client to be served: %t, got %t", tt.name, tt.served, got)
		}
		if got := reaches(); got != tt.etcd {
			t.Errorf("%s: want etcd to be reached: %t, got %t", tt.name, tt.etcd, got)
		}
		if err := r.Heal(tt.name, faults.Limits{}); err != nil {
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
	begun := time.Now()
	until(t, l, "service", func() bool { return l.Served(begun) })
	r := begin(t, l, "host-death")
	if l.Owner() != nil {
		t.Error("want no owner after its death, got one")
	}
	if err := r.Heal("host-death", faults.Limits{}); err != nil {
		t.Fatal(err)
	}
	if l.Owner() != nil {
		t.Error("want nothing to be left on a host that returns, got an owner")
	}
	give(t, host1)
	begun = time.Now()
	until(t, l, "service by the host that returned", func() bool { return l.Served(begun) })
	take(t, host1)
	until(t, l, "the changes of a host that returned", func() bool { return l.Owner() == nil })
}

// idle is a program in place of berth that does nothing until it is ended.
func idle(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "idle")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 300\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPoolIsServedWhenItIsSpread(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: idle(t), Pool: 4})
	begun := time.Now()
	addresses := faults.PoolAddresses(4)
	for i, a := range addresses { // two of four at each of two hosts
		if i == 0 || i == 2 {
			if err := l.Hosts[i/2].Start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Hosts[i/2].Node.AddAddress(faults.ServiceLink, netip.PrefixFrom(a, a.BitLen())); err != nil {
			t.Fatal(err)
		}
	}
	until(t, l, "service", func() bool { return l.Served(begun) })
	if h := l.Victim(); h != l.Hosts[0] {
		t.Errorf("want the owner of the first address to be the victim, got %v", h)
	}
	if err := l.Hosts[2].Start(); err != nil {
		t.Fatal(err)
	}
	if l.Served(begun) {
		t.Error("want a host that runs and has no address to end service as it is meant")
	}
	if h := l.History(begun); !slices.Equal(h.Serving, []string{"host1", "host2", "host3"}) {
		t.Errorf("want the history to have the hosts that serve, got %v", h.Serving)
	}

	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	listed := func() int {
		var found struct{ KVs []struct{} }
		if err := l.Etcd.Call(t.Context(), "kv/range", map[string][]byte{"key": []byte("/berth/pool/ips/"), "range_end": []byte("/berth/pool/ips0")}, &found); err != nil {
			t.Fatal(err)
		}
		return len(found.KVs)
	}
	if err := l.List(t.Context(), addresses...); err != nil {
		t.Fatal(err)
	}
	if n := listed(); n != 4 {
		t.Errorf("want etcd to list 4 addresses, got %d", n)
	}
	if err := l.Retract(t.Context(), addresses[0]); err != nil {
		t.Fatal(err)
	}
	if n := listed(); n != 3 {
		t.Errorf("want etcd to list 3 addresses after one was retracted, got %d", n)
	}
	if got, _ := faults.Judge(l.History(begun)); got.Dropped == 0 {
		t.Error("want the owner of an address that is not in the pool to be found")
	}
}

// The service that the health checks ask answers as the faults say.
func TestHealthFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: "/bin/true", Health: true})
	give(t, l.Hosts[0])
	begun := time.Now()
	until(t, l, "service", func() bool { return l.Served(begun) })
	client := http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, address string) (conn net.Conn, err error) {
			err = l.Hosts[0].Node.Do(func() error {
				conn, err = net.Dial(network, address)
				return err
			})
			return conn, err
		}}}
	ask := func(n int) string {
		var answers []string
		for range n {
			answer, err := client.Get("http://127.0.0.1:8080/")
			if err != nil {
				answers = append(answers, "none")
				continue
			}
			answer.Body.Close()
			answers = append(answers, strconv.Itoa(answer.StatusCode))
		}
		return strings.Join(answers, " ")
	}
	for _, tt := range []struct{ fault, want string }{
		{"health-fail", "503 503 503"},
		{"health-hang", "none none"},
		{"health-flap-below", "503 503 200 503 503 200"},
		{"health-flap", "503 503 503 200 200 503"},
	} {
		if got := ask(1); got != "200" {
			t.Errorf("before %s: want 200, got %s", tt.fault, got)
		}
		r := begin(t, l, tt.fault)
		if got := ask(len(strings.Fields(tt.want))); got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.fault, tt.want, got)
		}
		if err := r.Heal(tt.fault, faults.Limits{}); err != nil {
			t.Fatal(err)
		}
	}
}

// The load on the API sees what a member must not do: an answer that it does not document,
// a refusal, a connection that ends, and an answer that comes late.
func TestLoadSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	l := newLab(t, faults.Options{Berth: idle(t), Hosts: 1, Quiet: true})
	h := l.Hosts[0]
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	if err := h.Node.Do(func() (err error) {
		listener, err = net.Listen("tcp4", faults.APIAddress)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var lists atomic.Int64
	held := make(chan struct{})
	mux := http.NewServeMux()
	answer := func(pattern string, status int) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"paths": {"/ips": {"get": {"responses": {"200": {}}}, "post": {"responses": {"201": {}, "503": {}}}},
			"/ips/{id}": {"parameters": [], "get": {"responses": {"200": {}}}, "patch": {"responses": {"200": {}}}, "delete": {"responses": {"204": {}}}},
			"/cluster": {"get": {"responses": {"200": {}, "default": {}}}}, "/status": {"get": {"responses": {"200": {}}}}}}`)
	})
	mux.HandleFunc("GET /ips", func(w http.ResponseWriter, r *http.Request) {
		if lists.Add(1) == 5 {
			<-held
		}
	})
	answer("GET /ips/{id}", http.StatusOK)
	answer("GET /cluster", http.StatusTeapot)
	mux.HandleFunc("GET /status", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	answer("POST /ips", http.StatusServiceUnavailable)
	answer("PATCH /ips/{id}", http.StatusOK)
	answer("DELETE /ips/{id}", http.StatusNoContent)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) }) // ends with Close
	defer func() { server.Close(); serving.Wait() }()

	load, err := l.StartLoad(t.Context(), h, faults.LoadOptions{Rate: 200, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(500 * time.Millisecond) // the requests of this time wait for the fifth list
	close(held)
	for deadline := time.Now().Add(waitLimit); lists.Load() < 60 && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	r := load.Stop()
	for _, want := range []string{"GET /cluster: status 418, which the API does not document", "GET /status: ", "POST /ips: status 503, want 201", "connections were made for 1"} {
		if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("want a problem %q, got %q", want, r.Problems[:min(10, len(r.Problems))])
		}
	}
	if slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "GET /ips") || strings.Contains(p, "PATCH") }) {
		t.Errorf("want no problem of what is answered as it is documented, got %q", r.Problems)
	}
	late := 0
	for _, took := range r.Took {
		if took > 200*time.Millisecond {
			late++
		}
	}
	if late < 20 {
		t.Errorf("want the requests that had to wait for another to be late, got %d of %d: %v", late, r.Requests, r)
	}
	if len(r.Memory) == 0 || r.Memory[0].Bytes == 0 {
		t.Errorf("want the memory of the member, got %v", r.Memory)
	}
}

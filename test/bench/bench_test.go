// Package bench measures berth's speed beside a minimal program that does the same, in
// the same run: `go test -bench . ./test/bench`. The figure that counts is the ratio
// of the medians.
package bench

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
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

const (
	me    = "11111111-1111-4111-8111-111111111111"
	rival = "22222222-2222-4222-8222-222222222222"
	token = "token"
)

var address = netip.MustParsePrefix("192.0.2.10/32")

// bed is a simulated account and the two programs.
type bed struct {
	sim     *cloudsim.Sim
	url     string
	dir     string
	berth   string
	minimal string
	env     []string // nil for that of the benchmark

	hits chan time.Time // arrivals of a PATCH
}

func newBed(b *testing.B) *bed {
	b.Helper()
	t := &bed{dir: b.TempDir(), hits: make(chan time.Time, 100)}
	var err error
	t.sim, err = cloudsim.New(cloudsim.Config{Token: token, Servers: []cloudsim.Server{
		{UUID: me, Name: "me", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
		{UUID: rival, Name: "rival", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
	}, FloatingIPs: []cloudsim.FloatingIP{{Network: address, Server: rival}}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(t.serve)}
	go srv.Serve(l) // ends with Close
	b.Cleanup(func() { srv.Close() })
	t.url = "http://" + l.Addr().String()
	t.berth, t.minimal = filepath.Join(t.dir, "berth"), filepath.Join(t.dir, "minimal")
	for pkg, out := range map[string]string{"berth": t.berth, "berth/test/bench/minimal": t.minimal} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, text)
		}
	}
	t.write(b, "keepalived.conf", "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.10/24\n }\n}\n")
	t.configure(b)
	return t
}

// serve notes the arrival of an update and hands on to the account.
func (t *bed) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPatch {
		t.hits <- time.Now()
	}
	t.sim.ServeHTTP(w, r)
}

// secure puts an API that speaks TLS and HTTP/2, as real ones do, in the place of
// the other. Its certificate is trusted beside those of the files.
func (t *bed) secure(b *testing.B, authorities ...string) {
	b.Helper()
	api := httptest.NewUnstartedServer(http.HandlerFunc(t.serve))
	api.EnableHTTP2 = true
	api.StartTLS()
	b.Cleanup(api.Close)
	trusted := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	for _, path := range authorities {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Skip(err)
		}
		trusted += string(text)
	}
	t.write(b, "ca.pem", trusted)
	t.env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(t.dir, "ca.pem"))
	t.url = api.URL
	t.configure(b)
}

// configure writes berth's configuration.
func (t *bed) configure(b *testing.B) {
	b.Helper()
	t.write(b, "berth.yml", fmt.Sprintf("provider: cloudscale\nkeepalived-config: %[1]s/keepalived.conf\nkeepalived-pid-file: %[1]s/pid\nlock-file-template: %[1]s/lock-%%s\nrun-directory: %[1]s/run\ncloudscale: {endpoint: %q, token: %s, server-uuid: %s}\n", t.dir, t.url, token, me))
}

func (t *bed) write(b *testing.B, name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(t.dir, name), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (t *bed) minimalArgs(more ...string) []string {
	return append([]string{t.url + "/v1/floating-ips/192.0.2.10", token, `{"server":"` + me + `"}`}, more...)
}

// next returns when the next PATCH arrived.
func (t *bed) next(b *testing.B) time.Time {
	b.Helper()
	select {
	case at := <-t.hits:
		return at
	case <-time.After(10 * time.Second):
		b.Fatal("no update arrived")
		return time.Time{}
	}
}

// report adds the median of each and their ratio to the benchmark's line.
func report(b *testing.B, berth, minimal []time.Duration) {
	b.Helper()
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Microseconds())
	}
	b.ReportMetric(0, "ns/op") // removes it: the sum of both has no meaning
	b.ReportMetric(median(berth), "berth-µs")
	b.ReportMetric(median(minimal), "minimal-µs")
	b.ReportMetric(median(berth)/median(minimal), "ratio")
}

// BenchmarkStartToFirstUpdate is the notify script: from the start of the
// process to the arrival of its update at the API, without and with TLS, the
// latter with all the authorities that this host trusts.
func BenchmarkStartToFirstUpdate(b *testing.B) {
	b.Run("http", func(b *testing.B) { startToFirstUpdate(b, newBed(b)) })
	b.Run("https", func(b *testing.B) {
		t := newBed(b)
		t.secure(b, "/etc/ssl/certs/ca-certificates.crt")
		startToFirstUpdate(b, t)
	})
}

func startToFirstUpdate(b *testing.B, t *bed) {
	run := func(name string, args ...string) time.Duration {
		if err := t.sim.Assign(address, rival); err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(name, args...)
		cmd.Env = t.env
		begun := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		took := t.next(b).Sub(begun)
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		return took
	}
	notify := []string{filepath.Join(t.dir, "berth.yml"), "INSTANCE", "VI_1", "MASTER", "100"}
	run(t.berth, notify...) // fills the cache of ids, as every later start finds it
	var berth, minimal []time.Duration
	for b.Loop() {
		berth = append(berth, run(t.berth, notify...))
		minimal = append(minimal, run(t.minimal, t.minimalArgs()...))
	}
	report(b, berth, minimal)
}

// BenchmarkLineToFirstUpdate is FIFO mode: from the writing of the MASTER line
// to the arrival of the update.
func BenchmarkLineToFirstUpdate(b *testing.B) {
	t := newBed(b)
	type runner struct {
		fifo    *os.File
		isBerth bool
		rounds  int
		took    []time.Duration
	}
	start := func(name, fifo string, args ...string) *runner {
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			b.Fatal(err)
		}
		f, err := os.OpenFile(fifo, os.O_RDWR, 0)
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(name, args...)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Signal(unix.SIGTERM)
			_ = cmd.Wait()
			f.Close()
		})
		return &runner{fifo: f}
	}
	master := "INSTANCE \"VI_1\" MASTER 1\n"
	berthFIFO, minimalFIFO := filepath.Join(t.dir, "fifo"), filepath.Join(t.dir, "fifo2")
	berth := start(t.berth, berthFIFO, "--fifo", filepath.Join(t.dir, "berth.yml"), berthFIFO)
	berth.isBerth = true
	minimal := start(t.minimal, minimalFIFO, t.minimalArgs(minimalFIFO)...)
	once := func(r *runner) time.Duration {
		if err := t.sim.Assign(address, rival); err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if _, err := r.fifo.WriteString(master); err != nil {
			b.Fatal(err)
		}
		took := t.next(b).Sub(begun)
		if r.isBerth {
			// berth reads the owner back, and then its holding ends, so that nothing
			// overlaps and the connection stays. The priority tells this round's
			// BACKUP from another's.
			r.rounds++
			priority := r.rounds%100 + 100
			t.await(b, `"owner": "here"`)
			if _, err := fmt.Fprintf(r.fifo, "INSTANCE \"VI_1\" BACKUP %d\n", priority); err != nil {
				b.Fatal(err)
			}
			t.await(b, fmt.Sprintf(`"priority": %d,`, priority))
		}
		return took
	}
	once(berth) // both have a connection, as in the life of a service
	once(minimal)
	for b.Loop() {
		berth.took = append(berth.took, once(berth))
		minimal.took = append(minimal.took, once(minimal))
	}
	report(b, berth.took, minimal.took)
}

// BenchmarkBurstOfAThousand is a host that takes over a thousand instances in one
// moment: from the writing of the lines to the arrival of the last update. The
// API speaks HTTP/2, as real ones do: one connection carries all.
func BenchmarkBurstOfAThousand(b *testing.B) {
	const n = 1000
	t := newBed(b)
	t.hits = make(chan time.Time, 2*n)
	networks := make([]netip.Prefix, n)
	var ips []cloudsim.FloatingIP
	var conf, master, backup strings.Builder
	for i := range n {
		addr := netip.AddrFrom4([4]byte{192, 0, byte(16 + i>>8), byte(i)})
		networks[i] = netip.PrefixFrom(addr, 32)
		ips = append(ips, cloudsim.FloatingIP{Network: networks[i], Server: rival})
		fmt.Fprintf(&conf, "vrrp_instance VI_%d {\n interface eth%d\n virtual_router_id %d\n virtual_ipaddress {\n %s/24\n }\n}\n", i, i/250, i%250+1, addr)
		fmt.Fprintf(&master, "INSTANCE \"VI_%d\" MASTER 100\n", i)
		fmt.Fprintf(&backup, "INSTANCE \"VI_%d\" BACKUP 100\n", i)
	}
	var err error
	if t.sim, err = cloudsim.New(cloudsim.Config{Token: token, Servers: []cloudsim.Server{
		{UUID: me, Name: "me", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
		{UUID: rival, Name: "rival", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
	}, FloatingIPs: ips}); err != nil {
		b.Fatal(err)
	}
	t.write(b, "keepalived.conf", conf.String())
	t.secure(b)
	path := filepath.Join(t.dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(t.berth, "--fifo", filepath.Join(t.dir, "berth.yml"), path)
	cmd.Env = t.env
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill() })
	send := func(text string) {
		if _, err := f.WriteString(text); err != nil {
			b.Fatal(err)
		}
	}
	send("INSTANCE \"VI_999\" BACKUP 50\n")
	t.awaitOf(b, "VI_999", `"priority": 50,`) // it runs, and has read the file
	var took []time.Duration
	for b.Loop() {
		for _, network := range networks {
			if err := t.sim.Assign(network, rival); err != nil {
				b.Fatal(err)
			}
		}
		begun := time.Now()
		send(master.String())
		var last time.Time
		for range n {
			last = t.next(b)
		}
		took = append(took, last.Sub(begun))
		t.awaitOf(b, "VI_999", `"owner": "here"`)
		send(backup.String())
		t.awaitOf(b, "VI_999", `"state": "BACKUP"`)
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	_ = cmd.Wait()
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	// The CPU time of one round: takeover, reading the owners back, and demotion.
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.ReportMetric(float64(cpu.Milliseconds())/float64(len(took)), "cpu-ms")
}

// await waits until the status file has a text.
func (t *bed) await(b *testing.B, want string) {
	b.Helper()
	t.awaitOf(b, "VI_1", want)
}

func (t *bed) awaitOf(b *testing.B, instance, want string) {
	b.Helper()
	path := filepath.Join(t.dir, "run", "status", instance+".json")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("status never had %s", want)
		}
	}
}

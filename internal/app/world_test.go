package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/instance"
	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/metrics"
	"berth/internal/presence"
	"berth/internal/run"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const (
	me    = "11111111-1111-4111-8111-111111111111"
	rival = "22222222-2222-4222-8222-222222222222"
	token = "S3CRET-T0KEN"
)

// world is a host's table of instances in front of a simulated account, in a
// bubble.
type world struct {
	sim   *cloudsim.Sim
	table *instance.Table
	logs  *observer.ObservedLogs
	count *metrics.Registry
	dir   string
	stop  func()
}

// newWorld makes n instances VI_0, VI_1, ... with the floating IPs 192.0.2.0,
// 192.0.2.1, ..., all at the rival. extra goes into berth's configuration.
func newWorld(t *testing.T, n int, extra string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), count: &metrics.Registry{}}
	var ips []cloudsim.FloatingIP
	var conf strings.Builder
	for i := range n {
		ip := ipOf(i)
		ips = append(ips, cloudsim.FloatingIP{Network: netip.PrefixFrom(ip, 32), Server: rival})
		fmt.Fprintf(&conf, "vrrp_instance VI_%d {\n interface eth0\n virtual_router_id %d\n virtual_ipaddress {\n %s/24\n }\n}\n", i, i%255+1, ip)
	}
	w.write(t, "keepalived.conf", conf.String())
	sim, err := cloudsim.New(cloudsim.Config{Token: token, FloatingIPs: ips, Servers: []cloudsim.Server{
		{UUID: me, Name: "me", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
		{UUID: rival, Name: "rival", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.sim = sim
	w.write(t, "berth.yml", fmt.Sprintf(`
provider: cloudscale
keepalived-config: %[1]s/keepalived.conf
keepalived-version: 2.2.7
lock-file-template: %[1]s/lock-%%s
run-directory: %[1]s/run
cloudscale: {endpoint: "http://cloudscale.example", token: %s, server-uuid: %s}
%s`, w.dir, token, me, extra))
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	o := &Options{Program: "berth", Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard, HTTP: sim.RoundTripper()}
	cfg, err := o.load(filepath.Join(w.dir, "berth.yml"))
	if err != nil {
		t.Fatal(err)
	}
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile})
	network := presence.NewNetwork(k.VRRP)
	t.Cleanup(network.Close)
	self, err := notify.Self(true)
	if err != nil {
		t.Fatal(err)
	}
	g, err := o.newGraph(cfg, self, k, network, newMeters(w.count), journal.New(zap.New(core)))
	if err != nil {
		t.Fatal(err)
	}
	// Without the socket of a process on record: a bubble's time stands still while it
	// listens.
	lock := g.lock(recordAfter, func(_ context.Context, instance string, locked []string) (func() error, error) {
		return nil, notify.Enter(g.self, journal.New(nil), locked...)
	})
	// It does not run, so that events alone count.
	observer := presence.NewObserver(presence.Options{Host: network})
	w.table = instance.NewTable(g.holding(lock, observer).Run, nil, journal.New(zap.New(core)))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run.Together(ctx, run.Task{Name: "instances", Run: w.table.Run}, run.Task{Name: "keepalived.conf", Run: g.book.Run}, run.Task{Name: "provider", Run: g.cloud.Prepare})
	}()
	w.stop = func() {
		cancel(errors.New("test is over"))
		<-done
	}
	synctest.Wait()
	return w
}

func ipOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(2 + i>>8), byte(i)}) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) send(state vrrp.State, instances ...string) {
	var evs []vrrp.Event
	for _, name := range instances {
		evs = append(evs, vrrp.Event{Source: "test", Instance: name, State: state, Received: time.Now()})
	}
	w.table.Deliver(evs)
}

func (w *world) holder(i int) string { return w.sim.Holder(netip.PrefixFrom(ipOf(i), 32)) }

// calls returns the requests as METHOD PATH.
func (w *world) calls() []string {
	var list []string
	for _, r := range w.sim.History() {
		list = append(list, r.Method+" "+r.Path)
	}
	return list
}

func count(calls []string, prefix string) int {
	n := 0
	for _, c := range calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

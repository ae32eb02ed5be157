package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/api"
	"berth/election"
	"berth/internal/cloudsim"
	"berth/internal/fence"
	"berth/internal/files"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/run"
	"berth/internal/service"
	"berth/notify"
	"berth/vrrp"
)

// course writes down what happens on the way to a claim of VI_0. It is the source of
// events, the elections, the grant and the transport.
type course struct {
	dir     string
	cloud   http.RoundTripper
	claimed chan struct{} // closed at the first write

	mu    sync.Mutex
	steps []string
}

func newCourse(t *testing.T) (o *Options, path string, c *course) {
	t.Helper()
	c = &course{dir: t.TempDir(), claimed: make(chan struct{})}
	sim, err := cloudsim.New(cloudsim.Config{Token: token,
		FloatingIPs: []cloudsim.FloatingIP{{Network: netip.MustParsePrefix("192.0.2.0/32"), Server: rival}},
		Servers: []cloudsim.Server{
			{UUID: me, Name: "me", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
			{UUID: rival, Name: "rival", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	c.cloud = sim.RoundTripper()
	for name, text := range map[string]string{
		"keepalived.conf": "vrrp_instance VI_0 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.0/24\n }\n}\n",
		"berth.yml": strings.NewReplacer("DIR", c.dir, "TOKEN", token, "ME", me).Replace(`
provider: cloudscale
keepalived-config: DIR/keepalived.conf
keepalived-pid-file: DIR/keepalived.pid
keepalived-version: 2.2.7
lock-file-template: DIR/lock-%s
run-directory: DIR/run
cloudscale: {endpoint: "http://cloudscale.example", token: TOKEN, server-uuid: ME}
`),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Options{Program: "berth", Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard, HTTP: c},
		filepath.Join(c.dir, "berth.yml"), c
}

// add writes a step down, and whether the lock file is locked meanwhile.
func (c *course) add(step string) {
	f, err := files.Lock(filepath.Join(c.dir, "lock-VI_0"))
	switch {
	case err == nil:
		step += " without the lock"
		_ = f.Close()
	case !errors.Is(err, files.ErrLocked):
		step += ": " + err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, step)
}

// want ends what runs after the first write, and compares the steps.
func (c *course) want(t *testing.T, end func(error), done <-chan error, steps ...string) {
	t.Helper()
	select {
	case <-c.claimed:
	case <-time.After(20 * time.Second):
		t.Error("nothing is written")
	}
	end(errors.New("test is over"))
	<-done
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.steps, steps) {
		t.Errorf("got\n%q\nwant\n%q", c.steps, steps)
	}
}

func (c *course) Name() string { return "course" }

func (c *course) Run(ctx context.Context, emit func([]vrrp.Event)) error {
	emit([]vrrp.Event{{Source: "test", Instance: "VI_0", State: vrrp.Master, Received: time.Now()}})
	<-ctx.Done()
	return context.Cause(ctx)
}

func (c *course) CatchUp(context.Context) { c.add("check the last word") }

func (c *course) Campaign(ctx context.Context, _ election.Campaign, own func(context.Context, fence.Grant) error) error {
	c.add("win the election")
	err := own(ctx, c)
	c.add("resign")
	return err
}

func (c *course) Check() error {
	c.add("check the lease")
	return nil
}

func (c *course) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		c.add("write")
		close(c.claimed)
	}
	return c.cloud.RoundTrip(r)
}

// The lock is outermost: a host that cannot end its former process must not own the
// instance. The last word, which may take time, is checked first, and nothing stands
// between the check of the lease and the write.
func TestFIFOModeWritesUnderTheLockAfterTheLastWordAndThenTheLease(t *testing.T) {
	o, path, c := newCourse(t)
	m := o.newFIFOMode(path, filepath.Join(c.dir, "fifo"))
	defer m.origin.Close()
	defer m.network.Close()
	g, err := m.graph(m.journal)
	if err != nil {
		t.Fatal(err)
	}
	m.service = service.New(c, m.changed, m.journal)
	m.fencing = &fencing{elections: c, journal: m.journal}
	m.cluster = m.newCluster(g.cfg)
	m.api = api.New(m.apiOptions(g))
	ctx, cancel := context.WithCancelCause(t.Context())
	m.enforce(m.generation(ctx, g))
	done := make(chan error, 1)
	go func() { done <- run.Together(ctx, m.service.Tasks()...) }()
	c.want(t, cancel, done, "win the election", "check the last word", "check the lease", "write", "resign")
}

func TestANotifyScriptWritesUnderTheLockAfterTheLease(t *testing.T) {
	o, path, c := newCourse(t)
	g, network := notifyGraph(t, o, path)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- g.notifyMaster(ctx, []string{"VI_0"}, g.lock(0, nil), &fencing{elections: c, journal: g.journal}, network)
	}()
	c.want(t, cancel, done, "win the election", "check the lease", "write", "resign")
}

// notifyGraph returns the parts of a notify script.
func notifyGraph(t *testing.T, o *Options, path string) (*graph, *presence.Network) {
	t.Helper()
	cfg, err := o.load(path)
	if err != nil {
		t.Fatal(err)
	}
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	k := keepalived.New(keepalived.Options{PIDFile: cfg.KeepalivedPIDFile, Script: true, Journal: o.Journal()})
	network := presence.NewNetwork(k.VRRP)
	t.Cleanup(network.Close)
	g, err := o.newGraph(cfg, self, k, network, newMeters(nil), o.Journal())
	if err != nil {
		t.Fatal(err)
	}
	return g, network
}

// The exit status tells keepalived's log that something is left which the next process
// may stumble over.
func TestANotifyScriptReturnsThatItCouldNotUnlock(t *testing.T) {
	o, path, _ := newCourse(t)
	g, _ := notifyGraph(t, o, path)
	broken := errors.New("close the socket: input/output error")
	lock := g.lock(0, func(context.Context, string, []string) (func() error, error) {
		return func() error { return broken }, nil
	})
	if err := g.notifyOther(t.Context(), []string{"VI_0"}, lock); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of unlocking", err)
	}
	// An instance that the configuration does not have is told beside it.
	if err := g.notifyOther(t.Context(), []string{"VI_9"}, lock); !errors.Is(err, broken) || !errors.Is(err, reading.ErrUnknown) {
		t.Errorf("got %v, want also that the instance is unknown", err)
	}
}

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/cloudsim"
)

// The cloud is down from the moment of a takeover, in each way that is known of
// clouds, and berth runs with its default retries. No berth gives up; the update comes
// soon after the cloud is back. All cases run at the same time.
func TestTakeoverWhileTheCloudIsDown(t *testing.T) {
	t.Parallel()
	const (
		outage = 18 * time.Second
		// max-interval of the default back-off, with its jitter.
		atMost = 10 * time.Second * 3 / 2
	)
	var wg sync.WaitGroup
	for _, down := range []struct {
		name  string
		fault cloudsim.Fault
	}{
		{"server error", cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusServiceUnavailable}},
		{"rate limit", cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusTooManyRequests, RetryAfter: "3"}},
		{"page of a proxy", cloudsim.Fault{Kind: cloudsim.HTML}},
		{"dropped connections", cloudsim.Fault{Kind: cloudsim.Drop}},
		{"no answers", cloudsim.Fault{Kind: cloudsim.HangBeforeHeaders}},
		{"garbage", cloudsim.Fault{Kind: cloudsim.Garbage}},
		{"cut answers and lost responses", cloudsim.Fault{Kind: cloudsim.LostResponse}},
	} {
		for _, cloud := range []string{"cloudscale", "exoscale", "hetzner"} {
			for _, mode := range []string{"notify", "fifo"} {
				o := newOutage(t, cloud, mode)
				wg.Go(func() {
					down.fault.Until = time.Now().Add(outage)
					o.sim.SetFaults(cloudsim.Faults{down.fault})
					took, err := o.takeover(t.Context(), down.fault.Until, atMost)
					if err != nil {
						t.Errorf("%s, %s, %s: %v; berth said:\n%s", cloud, mode, down.name, err, o.log.String())
						return
					}
					t.Logf("%s, %s, %s: here %v after the cloud was back", cloud, mode, down.name, took.Round(time.Millisecond))
				})
			}
		}
	}
	wg.Wait()
}

// outageIP is the floating IP of the account, in each cloud.
var outageIP = netip.MustParseAddr("192.0.2.10")

// outage is an account and the berth of the host that takes over.
type outage struct {
	sim   *cloudsim.Sim
	me    string        // id of this host's server
	moved chan struct{} // one slot
	cmd   *exec.Cmd
	fifo  *os.File // nil in notify mode
	log   bytes.Buffer
}

func newOutage(t *testing.T, cloud, mode string) *outage {
	t.Helper()
	// One id serves all clouds but one, whose ids are numbers.
	former := "22222222-2222-4222-8222-222222222222"
	o := &outage{me: "11111111-1111-4111-8111-111111111111", moved: make(chan struct{}, 1)}
	if cloud == "hetzner" {
		o.me, former = "1001", "1002"
	}
	network := netip.PrefixFrom(outageIP, 32)
	account := cloudsim.Config{Token: "token", Key: "key", Secret: "secret", OperationTime: 200 * time.Millisecond,
		Servers: []cloudsim.Server{
			{UUID: o.me, Name: "host1", Region: "ch-gva-2", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
			{UUID: former, Name: "host2", Region: "ch-gva-2", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.2")}},
		}}
	account.FloatingIPs = []cloudsim.FloatingIP{{Network: network, Region: "ch-gva-2", Server: former}}
	var path, section string
	switch cloud {
	case "cloudscale":
		section = "cloudscale: {endpoint: %q, token: token, server-uuid: %s}\n"
	case "exoscale":
		account.FloatingIPs = nil
		account.ElasticIPs = []cloudsim.ElasticIP{{ID: "e0000000-0000-4000-8000-000000000004", Network: network, Zone: "ch-gva-2", Servers: []string{former}}}
		path, section = "/v2", "exoscale: {endpoint: %q, zone: ch-gva-2, key: key, secret: secret, instance-id: %s}\n"
	case "hetzner":
		path, section = "/hetzner/api", "hetzner: {endpoint: %q, token: token, server-id: %s}\n"
	}
	var err error
	if o.sim, err = cloudsim.New(account); err != nil {
		t.Fatal(err)
	}
	o.sim.OnMove(func(cloudsim.Move) {
		select {
		case o.moved <- struct{}{}:
		default:
		}
	})
	api := httptest.NewServer(o.sim)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	conf, fifo := filepath.Join(dir, "berth.yml"), filepath.Join(dir, "fifo")
	text := fmt.Sprintf("provider: %s\nkeepalived-config: %[2]s/keepalived.conf\nkeepalived-pid-file: %[2]s/pid\nlock-file-template: %[2]s/lock-%%s\nrun-directory: %[2]s/run\n", cloud, dir) +
		fmt.Sprintf(section, api.URL+path, o.me)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	keepalived := fmt.Sprintf("vrrp_instance VI_1 {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n %v/32\n }\n}\n", outageIP)
	if err := os.WriteFile(filepath.Join(dir, "keepalived.conf"), []byte(keepalived), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{conf, "INSTANCE", "VI_1", "MASTER", "100"}
	if mode == "fifo" {
		args = []string{"--fifo", conf, fifo}
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		if o.fifo, err = os.OpenFile(fifo, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.fifo.Close() })
	}
	o.cmd = exec.Command(berth, args...)
	o.cmd.Stderr = &o.log
	return o
}

// takeover makes this host MASTER and returns how long after the end of the
// outage it alone has the floating IP.
func (o *outage) takeover(ctx context.Context, end time.Time, atMost time.Duration) (time.Duration, error) {
	if err := o.cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = o.cmd.Process.Signal(unix.SIGTERM) // it may have ended
		_ = o.cmd.Wait()                       // said by its log
	}()
	if o.fifo != nil {
		if _, err := o.fifo.WriteString("INSTANCE \"VI_1\" MASTER 100\n"); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithDeadlineCause(ctx, end.Add(atMost), fmt.Errorf("no update within %v of the end of the outage", atMost))
	defer cancel()
	for !slices.Equal(o.sim.Holders(outageIP), []string{o.me}) {
		select {
		case <-o.moved:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return max(0, time.Since(end)), nil
}

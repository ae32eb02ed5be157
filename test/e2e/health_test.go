package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/status"
	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// The times of the health checks in these tests, and how soon after a service has failed
// berth must have noticed: fall intervals and a timeout, and some time on a busy machine.
const (
	healthInterval = 500 * time.Millisecond
	healthTimeout  = 450 * time.Millisecond
	healthFall     = 3
	noticed        = healthFall*healthInterval + healthTimeout + 750*time.Millisecond
)

const webCheck = `{http: {url: "http://127.0.0.1:8081/healthz"}, name: web, interval: 500ms, timeout: 450ms, rise: 2, fall: 3}`

// web is a service of a host, which an HTTP check asks.
type web struct {
	asked  atomic.Int64
	status atomic.Int64 // of the answers; 0: none comes
	blip   atomic.Int64 // so many answers are bad, whatever status says
}

// serveWeb starts the service, which is well.
func (f *field) serveWeb(h *lab.Host) *web {
	f.t.Helper()
	w := &web{}
	w.status.Store(http.StatusOK)
	var l net.Listener
	f.must(h.Do(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:8081")
		return err
	}))
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if w.blip.Add(-1) >= 0 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if code := w.status.Load(); code != 0 {
			rw.WriteHeader(int(code))
			return
		}
		<-r.Context().Done()
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	f.OnClose(func() error {
		err := s.Close()
		<-done
		return err
	})
	return w
}

// electsHealthy starts berth elect on a host, with a check of its service.
func (f *field) electsHealthy(h *lab.Host) *testnet.Process {
	f.t.Helper()
	f.must(h.ConfigureBerth(lab.Fast + fmt.Sprintf(`etcd: {endpoints: ["http://10.77.0.1:2379"], member: %s, lease-ttl: 4s}
election: {interface: %s, instances: [{name: api, addresses: [%v, %v], health: [%s]}]}
`, h.Name, lab.Link, lab.IPv4a, lab.IPv6n, webCheck)))
	p, err := h.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	return p
}

// owns waits until a host has all addresses, at the client and in its own status.
func (f *field) owns(h *lab.Host, since time.Time, client ...*lab.Probe) time.Time {
	f.t.Helper()
	at := f.served(h, since, client...)
	f.until(h.Name+" to be the owner", func() bool { return f.status(h, "api").State == vrrp.Master })
	return at
}

// neverTwo fails the test if two hosts had one of the addresses at a time. The kernels
// report a little late, in any order.
func (f *field) neverTwo(addresses ...netip.Addr) {
	f.t.Helper()
	for _, ip := range addresses {
		has := map[*lab.Host]bool{}
		var since time.Time
		for _, b := range f.Bindings() {
			if b.Address != ip {
				continue
			}
			both := has[f.host1] && has[f.host2]
			has[b.Host] = b.Bound
			switch now := has[f.host1] && has[f.host2]; {
			case now && !both:
				since = b.Time
			case both && !now && b.Time.Sub(since) > 20*time.Millisecond:
				f.t.Errorf("%v was on both hosts for %v", ip, b.Time.Sub(since))
			}
		}
		if has[f.host1] && has[f.host2] {
			f.t.Errorf("%v is on both hosts", ip)
		}
	}
}

func TestTheOwnerIsWell(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.etcd()
	addresses := []netip.Addr{lab.IPv4a, lab.IPv6n}
	client := f.client(addresses...)
	web1, web2 := f.serveWeb(f.host1), f.serveWeb(f.host2)
	begun := time.Now()
	b1 := f.electsHealthy(f.host1)
	owned := f.owns(f.host1, begun, client...)
	if early := owned.Sub(begun); early < healthInterval*9/10 {
		t.Errorf("owner %v after the start, want it after two good runs", early)
	}
	f.electsHealthy(f.host2)
	f.waits(f.host2)

	// The owner is unhealthy: an answer that is wrong, and one that does not come.
	for _, fault := range []struct {
		name     string
		code     int64
		reason   string
		from, to *lab.Host
		of       *web
	}{
		{"status 500", http.StatusInternalServerError, "HTTP status 500", f.host1, f.host2, web1},
		{"hanging URL", 0, "timed out after 450ms", f.host2, f.host1, web2},
	} {
		failed := time.Now()
		fault.of.status.Store(fault.code)
		served := f.served(fault.to, failed, client...)
		_, gone := fault.from.Has(lab.IPv4a)
		if took := gone.Sub(failed) - client[0].Stalled(failed, gone); took > noticed {
			t.Errorf("%s: the addresses left after %v, want %v at most", fault.name, took, noticed)
		}
		if took := served.Sub(failed) - client[0].Stalled(failed, served); took > noticed+500*time.Millisecond {
			t.Errorf("%s: served by %s after %v", fault.name, fault.to.Name, took)
		}
		t.Logf("%s: gone after %v, served after %v", fault.name, gone.Sub(failed).Round(time.Millisecond), served.Sub(failed).Round(time.Millisecond))
		f.until("the status to say why", func() bool {
			is := f.status(fault.from, "api")
			return is.State == vrrp.Fault && is.Error == "web: "+fault.reason && len(is.Health) == 1 &&
				!is.Health[0].Healthy && is.Health[0].Check == "web" && is.Health[0].Reason == fault.reason
		})
		line := f.said(fault.from, failed, "a health check has failed too often in a row")
		if !strings.Contains(line.Text, fault.reason) || !strings.Contains(line.Text, "web") {
			t.Errorf("%s: got the line %s", fault.name, line.Text)
		}
		fault.of.status.Store(http.StatusOK)
		f.said(fault.from, failed, "the health check is good again")
		f.waits(fault.from)
	}

	// Fewer bad runs than fall, again and again, move nothing.
	quiet := time.Now()
	for range rounds(4, 40) {
		web1.blip.Store(healthFall - 1)
		from := web1.asked.Load()
		f.until("some runs to pass", func() bool { return web1.asked.Load() >= from+healthFall+1 })
	}
	f.unmoved(f.host1, quiet, addresses...)

	// A restart of the owner, by a signal and by a crash, moves nothing.
	f.must(b1.Signal(unix.SIGHUP))
	f.said(f.host1, quiet, "ending; lease and addresses stay for the next process")
	f.until("the check to run in the next process", func() bool {
		is := f.status(f.host1, "api")
		return is.State == vrrp.Master && is.Since.After(quiet) && len(is.Health) == 1 && is.Health[0].Healthy
	})
	killed := time.Now()
	f.must(b1.Signal(unix.SIGKILL))
	<-b1.Done()
	_, err := f.host1.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	f.until("the next process to own", func() bool {
		is := f.status(f.host1, "api")
		return is.State == vrrp.Master && is.Since.After(killed) && len(is.Health) == 1 && is.Health[0].Healthy
	})
	f.pass(healthInterval*healthFall, client[0])
	f.unmoved(f.host1, quiet, addresses...)

	// No host is well: there is no owner. One is again: it owns.
	ill := time.Now()
	web2.status.Store(http.StatusServiceUnavailable)
	f.until("host2 to be unhealthy", func() bool { return f.status(f.host2, "api").State == vrrp.Fault })
	web1.status.Store(http.StatusServiceUnavailable)
	f.unbound(f.host1, lab.IPv4a, ill)
	f.pass(time.Second, client[0])
	for _, h := range f.Hosts {
		if has, _ := h.Has(lab.IPv4a); has {
			t.Errorf("%s has the address although no host is well", h.Name)
		}
	}
	again := time.Now()
	web2.status.Store(http.StatusOK)
	f.owns(f.host2, again, client...)
	f.neverTwo(addresses...)
}

// unmoved fails the test if an address left its host.
func (f *field) unmoved(h *lab.Host, since time.Time, addresses ...netip.Addr) {
	f.t.Helper()
	for _, b := range f.Bindings() {
		if b.Time.After(since) {
			f.t.Errorf("%s: %v bound: %t, want nothing to move", b.Host.Name, b.Address, b.Bound)
		}
	}
	for _, ip := range addresses {
		if has, _ := h.Has(ip); !has {
			f.t.Errorf("%s does not have %v", h.Name, ip)
		}
	}
}

// With keepalived, berth check is its track_script: keepalived decides, and the floating
// IP follows. The checks of berth itself show in the status and do nothing.
func TestKeepalivedTracksTheHealthChecks(t *testing.T) {
	t.Parallel()
	f := newField(t)
	client := f.client(lab.IPv4a)
	web1, _ := f.serveWeb(f.host1), f.serveWeb(f.host2)
	for i, h := range f.Hosts {
		f.must(h.ConfigureBerth(lab.Fast + "health: [" + webCheck + "]\n"))
		f.must(h.ConfigureKeepalived(lab.FIFO, lab.Instance{Name: "VI_4", ID: 51, Priority: 150 - 50*i, Addresses: []netip.Addr{lab.IPv4a},
			Lines: "    track_script {\n        berth_check\n    }\n"}))
		var conf string
		f.must(h.Do(func() (err error) { text, err := os.ReadFile(lab.KeepalivedConf); conf = string(text); return err }))
		f.must(h.WriteFile(lab.KeepalivedConf, strings.Replace(conf, "\nvrrp_instance", fmt.Sprintf(`
vrrp_script berth_check {
    script "%s check %s"
    interval 1
    timeout 1
    rise 2
    fall 2
    user root
}
vrrp_instance`, lab.BerthPath, lab.BerthConf), 1), 0o644))
		_, err := h.StartService(f.context(), "--verbose")
		f.must(err)
	}
	begun := time.Now()
	f.keepalived(f.host1)
	f.served(f.host1, begun, client...)
	f.standby(f.host2)
	f.until("the check to show in the status", func() bool {
		is := f.status(f.host1, "VI_4")
		return len(is.Health) == 1 && is.Health[0].Check == "web" && is.Health[0].Healthy
	})

	failed := time.Now()
	web1.status.Store(http.StatusInternalServerError)
	served := f.served(f.host2, failed, client...)
	t.Logf("served by the other host after %v", served.Sub(failed).Round(time.Millisecond))
	f.until("FAULT, and the reason of the check, in the status", func() bool {
		is := f.status(f.host1, "VI_4")
		return is.State == vrrp.Fault && len(is.Health) == 1 && !is.Health[0].Healthy && is.Health[0].Reason == "HTTP status 500"
	})
	var table strings.Builder
	f.must(f.host1.Do(func() error {
		all, err := status.Read("/run/berth")
		if err != nil {
			return err
		}
		return status.Table(&table, all, time.Now(), func(status.Instance) bool { return true })
	}))
	if !strings.Contains(table.String(), "web    unhealthy") || !strings.Contains(table.String(), "HTTP status 500") {
		t.Errorf("got the table\n%s", table.String())
	}

	well := time.Now()
	web1.status.Store(http.StatusOK)
	f.served(f.host1, well, client...)

	// The check of the service is information: a file that has it alone, and a reload,
	// which swaps the checks.
	f.must(f.host1.ConfigureBerth(lab.Fast + "health: [{exec: {command: [\"false\"]}, name: other, interval: 200ms, fall: 1}]\n"))
	f.reloadBerth(f.host1)
	f.until("the other check in the status", func() bool {
		is := f.status(f.host1, "VI_4")
		return len(is.Health) == 1 && is.Health[0].Check == "other" && is.Health[0].Reason == "exit status 1"
	})
}

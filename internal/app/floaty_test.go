package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
	"berth/vrrp"
)

// These tests hold promises of floaty that scripts in testdata cannot show: defaults,
// and effects that take minutes.

func floatyConfig(t *testing.T, program, text string) (*Options, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "floaty.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Options{Program: program, Getenv: func(string) string { return "" }}, path
}

func TestFloatyDefaults(t *testing.T) {
	o, path := floatyConfig(t, "/usr/bin/floaty", "provider: cloudscale\n")
	c, err := o.load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"lock-file-template defaults to /var/lock/floaty-%s.lock":                 c.LockFileTemplate == "/var/lock/floaty-%s.lock",
		"lock-timeout defaults to 10 seconds":                                     c.LockTimeout == 10*time.Second,
		"keepalived-config defaults to /etc/keepalived/keepalived.conf":           c.KeepalivedConfig == "/etc/keepalived/keepalived.conf",
		"refresh-interval defaults to 1 minute":                                   c.RefreshInterval == time.Minute,
		"refresh-timeout defaults to 10 seconds":                                  c.RefreshTimeout == 10*time.Second,
		"back-off initial-interval defaults to 1 second":                          c.BackOff.InitialInterval == time.Second,
		"back-off multiplier defaults to 1.1":                                     c.BackOff.Multiplier == 1.1,
		"back-off max-interval defaults to 10 seconds":                            c.BackOff.MaxInterval == 10*time.Second,
		"back-off max-elapsed-time defaults to zero for infinite retries":         c.BackOff.MaxElapsedTime == 0,
		"managed-addresses not used means the addresses assigned to the instance": len(c.ManagedAddresses) == 0,
	} {
		if !ok {
			t.Error(name + ": it does not")
		}
	}
}

func TestFloatyProviderMustBeCloudscaleOrExoscale(t *testing.T) {
	for text, want := range map[string]string{
		"provider: cloudscale\ncloudscale: {token: t, server-uuid: 11111111-1111-4111-8111-111111111111, endpoint: 'https://a.example', hostname-to-server-uuid: {}}\n": "",
		"provider: exoscale\nexoscale: {key: EXOx, secret: s, endpoint: 'https://a.example/v2', instance-id: 11111111-1111-4111-8111-111111111111}\n":                   "",
		"provider: nimbus\n": "provider: found a text of 6 characters; write one of cloudscale, exec, exoscale,",
	} {
		o, path := floatyConfig(t, "floaty", text)
		c, err := o.load(path)
		if err == nil {
			_, err = o.newProvider(c, "", nil, o.Journal())
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestFloatyRefreshesAreParallelizedAndDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "managed-addresses: [192.0.2.0/24, 192.0.2.1/24]")
		defer w.stop()
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.HangBeforeHeaders, Path: "/v1/floating-ips/192.0.2.0"}})
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Second)
		if w.holder(0) != rival || w.holder(1) != me {
			t.Errorf("after a second the address whose request hangs is at %s, the other at %s; want the other here", w.holder(0), w.holder(1))
		}
	})
}

func TestFloatyExternalModificationsHaveLittleImpact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Minute)
		for range 5 { // less often than a contest
			if err := w.sim.Assign(w.sim.FloatingIPs()[0].Network, rival); err != nil {
				t.Fatal(err)
			}
			time.Sleep(66 * time.Second) // refresh-interval and its jitter
			if w.holder(0) != me {
				t.Fatal("a refresh interval after somebody moved the address it is not back")
			}
		}
	})
}

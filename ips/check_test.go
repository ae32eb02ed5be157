package ips_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/ips"
)

func TestWhatACallerMayAdd(t *testing.T) {
	check := func(kind, host string, port int) ips.Spec {
		return ips.Spec{IP: "10.0.0.1/32", Checks: []ips.Check{{Type: kind, Host: host, Port: port}}}
	}
	for _, tt := range []struct {
		name    string
		spec    ips.Spec
		want    string // the address
		mistake string // what the error contains
	}{
		{name: "as LinK takes it", spec: ips.Spec{IP: "10.0.0.1/32"}, want: "10.0.0.1/32"},
		{name: "without a length", spec: ips.Spec{IP: "10.0.0.1"}, want: "10.0.0.1/32"},
		{name: "IPv6", spec: ips.Spec{IP: "2001:DB8::1"}, want: "2001:db8::1/128"},
		{name: "with checks and intervals", spec: ips.Spec{IP: "10.0.0.1/32", Checks: []ips.Check{{"TCP", "127.0.0.1", 80}, {"TCP", "::1", 65535}, {"TCP", "db-1.example.org.", 1}, {"TCP", "my_service", 5432}, {"TCP", "fe80::1%eth0.100", 80}},
			KeepaliveInterval: 3600, HealthcheckInterval: 1}, want: "10.0.0.1/32"},
		{name: "no address", spec: ips.Spec{IP: "INVALID"}, mistake: `invalid IP: it is not an IP address`},
		{name: "nothing", mistake: `invalid IP: it is not an IP address`},
		{name: "an address of this host alone", spec: ips.Spec{IP: "127.0.0.1"}, mistake: "no host can have it"},
		{name: "a type that LinK ignored", spec: check("HTTP", "127.0.0.1", 80), mistake: `invalid health check type: TCP is the only one`},
		{name: "no type", spec: check("", "127.0.0.1", 80), mistake: "invalid health check type"},
		{name: "no host", spec: check("TCP", "", 80), mistake: "invalid health check host"},
		{name: "a host with a port", spec: check("TCP", "127.0.0.1:80", 80), mistake: "without a port"},
		{name: "a host that is a path", spec: check("TCP", "/run/socket", 80), mistake: "invalid health check host"},
		{name: "a host that is too long", spec: check("TCP", strings.Repeat("a.", 128), 80), mistake: "invalid health check host"},
		{name: "a zone that a terminal obeys", spec: check("TCP", "fe80::1%\x1b[2J", 80), mistake: "invalid health check host"},
		{name: "a zone that is too long", spec: check("TCP", "fe80::1%"+strings.Repeat("e", 16), 80), mistake: "invalid health check host"},
		{name: "a negative port", spec: check("TCP", "127.0.0.1", -1), mistake: "health check port cannot be negative"},
		{name: "no port", spec: check("TCP", "127.0.0.1", 0), mistake: "invalid health check port 0"},
		{name: "a port out of range", spec: check("TCP", "127.0.0.1", 65536), mistake: "invalid health check port 65536"},
		{name: "many checks", spec: ips.Spec{IP: "10.0.0.1", Checks: make([]ips.Check, 17)}, mistake: "17 health checks are too many"},
		{name: "a negative interval", spec: ips.Spec{IP: "10.0.0.1", KeepaliveInterval: -1}, mistake: "invalid keepalive_interval -1"},
		{name: "an interval of more than an hour", spec: ips.Spec{IP: "10.0.0.1", HealthcheckInterval: 3601}, mistake: "invalid healthcheck_interval 3601"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ip, err := tt.spec.Parse()
			if tt.mistake == "" {
				if err != nil || ip.String() != tt.want {
					t.Errorf("want %s, got %v, %v", tt.want, ip, err)
				}
				return
			}
			if _, invalid := errors.AsType[*ips.InvalidError](err); !invalid || !strings.Contains(err.Error(), tt.mistake) || strings.Contains(err.Error(), "INVALID") || strings.Contains(err.Error(), "/run/socket") || strings.Contains(err.Error(), "HTTP") {
				t.Errorf("want an InvalidError with %q, got %v", tt.mistake, err)
			}
		})
	}
}

func TestAChangeIsCheckedInWhatItSets(t *testing.T) {
	bad := -1
	if err := (ips.Change{}).Valid(); err != nil {
		t.Errorf("a change of nothing: %v", err)
	}
	if err := (ips.Change{KeepaliveInterval: &bad}).Valid(); err == nil {
		t.Error("want an error for the interval")
	}
	if err := (ips.Change{Checks: &[]ips.Check{{Type: "TCP"}}}).Valid(); err == nil {
		t.Error("want an error for the check")
	}
}

func TestIDsAreThoseOfTheirAddresses(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"10.0.0.1", "vip-10.0.0.1"},
		{"::ffff:10.0.0.1", "vip-10.0.0.1"},
		{"2001:DB8::1", "vip-2001:db8::1"},
	} {
		a := netip.MustParseAddr(tt.address)
		if got := ips.ID(a); got != tt.want {
			t.Errorf("ID of %s: want %s, got %s", tt.address, tt.want, got)
		}
		for _, id := range []string{tt.want, tt.address, tt.address + "/24"} {
			if id == "::ffff:10.0.0.1/24" {
				continue // a length of IPv6
			}
			if got, err := ips.ParseID(id); err != nil || got != a.Unmap() {
				t.Errorf("address of %s: want %v, got %v, %v", id, a.Unmap(), got, err)
			}
		}
	}
	for _, id := range []string{"", "vip-", "vip-vip-10.0.0.1", "vip-6ba7b810-9dad-11d1-80b4-00c04fd430c8", "10.0.0.1/", "fe80::1%eth0"} {
		if _, err := ips.ParseID(id); !errors.Is(err, ips.ErrUnknown) {
			t.Errorf("address of %q: want ErrUnknown, got %v", id, err)
		}
	}
}

func TestAnAddressIsLinKsObjectAndMore(t *testing.T) {
	a := ips.Address{ID: "vip-10.0.0.1", IP: "10.0.0.1/32"}
	least, err := json.Marshal(a)
	if want := `{"id":"vip-10.0.0.1","ip":"10.0.0.1/32","keepalive_interval":0,"healthcheck_interval":0}`; err != nil || string(least) != want {
		t.Errorf("want %s, got %s, %v", want, least, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a.Checks, a.Status, a.Owner, a.Since, a.Reason = []ips.Check{{"TCP", "127.0.0.1", 80}}, ips.Standby, "lb2", at, "lb2 owns it"
	a.LastEvent = &ips.Happened{Event: ips.Demoted, At: at}
	full, err := json.Marshal(a)
	if want := `{"id":"vip-10.0.0.1","ip":"10.0.0.1/32","checks":[{"type":"TCP","host":"127.0.0.1","port":80}],"keepalive_interval":0,"healthcheck_interval":0,` +
		`"status":"STANDBY","owner":"lb2","since":"2026-01-02T03:04:05Z","reason":"lb2 owns it","last_event":{"event":"demoted","at":"2026-01-02T03:04:05Z"}}`; err != nil || string(full) != want {
		t.Errorf("want %s, got %s, %v", want, full, err)
	}
}

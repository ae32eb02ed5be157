package ips_test

import (
	"bytes"
	"testing"
	"time"

	"berth/ips"
)

func TestTableOfAddresses(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := []ips.Address{
		{ID: "vip-10.0.0.1", IP: "10.0.0.1/32", Status: ips.Activated, Owner: "lb1", Since: now.Add(-90 * time.Second),
			Checks: []ips.Check{{Type: ips.TCP, Host: "::1", Port: 80}}, HealthcheckInterval: 90,
			LastEvent: &ips.Happened{Event: ips.Elected, At: now.Add(-90 * time.Second), Reason: "elected"}},
		{ID: "vip-2001:db8::1", IP: "2001:db8::1/64", Status: ips.Failing, Since: now.Add(time.Minute), Reason: "connect:\n refused",
			LastEvent: &ips.Happened{Event: ips.CheckFail, At: now, Reason: "connect: refused"}},
		{ID: "vip-10.0.0.3", IP: "10.0.0.3/32"},
	}
	var table, first, second bytes.Buffer
	for _, err := range []error{ips.Table(&table, all, now), all[0].Print(&first, now), all[1].Print(&second, now)} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct{ want, got string }{
		{`ID               ADDRESS         STATUS     OWNER  SINCE      REASON
vip-10.0.0.1     10.0.0.1/32     ACTIVATED  lb1    1m30s ago  -
vip-2001:db8::1  2001:db8::1/64  FAILING    -      0s ago     connect: refused
vip-10.0.0.3     10.0.0.3/32     -          -      -          -
`, table.String()},
		{`ID                    vip-10.0.0.1
ADDRESS               10.0.0.1/32
STATUS                ACTIVATED
OWNER                 lb1
SINCE                 1m30s ago
REASON                -
LAST EVENT            elected, 1m30s ago
CHECK                 TCP:[::1]:80
HEALTHCHECK INTERVAL  1m30s
KEEPALIVE INTERVAL    default
`, first.String()},
		{`ID                    vip-2001:db8::1
ADDRESS               2001:db8::1/64
STATUS                FAILING
OWNER                 -
SINCE                 0s ago
REASON                connect: refused
LAST EVENT            health_check_fail, 0s ago, connect: refused
HEALTHCHECK INTERVAL  default
KEEPALIVE INTERVAL    default
`, second.String()},
	} {
		if tt.got != tt.want {
			t.Errorf("want\n%s\ngot\n%s", tt.want, tt.got)
		}
	}
}

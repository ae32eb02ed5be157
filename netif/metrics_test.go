package netif

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/metrics"
)

func TestMetrics(t *testing.T) {
	var r metrics.Registry
	inBubble(t, func(o *Options) {
		o.Metrics = NewMetrics(&r)
		o.Announce = Announce{}
	}, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Second)
		b.remove(v4)
		b.claim(v4.Addr())
		b.until(2 * time.Second)
		var text strings.Builder
		must(t, r.WriteText(&text))
		want := []string{
			`berth_interface_ready{interface="eth0"} 1`,
			`berth_address_bound{address="192.0.2.254"} 1`,
			`berth_address_bound{address="2001:db8::254"} 0`,
			`berth_address_contested{address="192.0.2.254"} 0`,
			`berth_address_contested{address="2001:db8::254"} 0`,
			`berth_address_astray{address="192.0.2.254"} 0`,
			`berth_address_astray{address="2001:db8::254"} 0`,
			`berth_address_defences_total{address="192.0.2.254",reason="added"} 0`,
			`berth_address_defences_total{address="192.0.2.254",reason="claimed"} 1`,
			`berth_address_defences_total{address="192.0.2.254",reason="deleted"} 1`,
			`berth_address_defences_total{address="2001:db8::254",reason="added"} 0`,
			`berth_address_defences_total{address="2001:db8::254",reason="claimed"} 0`,
			`berth_address_defences_total{address="2001:db8::254",reason="deleted"} 0`,
			`berth_announcements_total{address="192.0.2.254"} 7`,
			`berth_announcements_total{address="2001:db8::254"} 0`,
		}
		got := slices.DeleteFunc(strings.Split(strings.TrimSpace(text.String()), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
		wantEqual(t, want, got)
	})
}

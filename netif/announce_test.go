package netif

import (
	"net"
	"testing"
	"time"
)

func TestAnnouncementsFollowTheirSchedule(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{Count: 2, Interval: time.Second, Refresh: time.Minute} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		end := bind(t, b.i, v6)
		b.until(150 * time.Second)
		b.i.Announce() // as after an outage of the network
		b.until(150100 * time.Millisecond)
		b.i.Announce() // too soon after the last
		b.until(152 * time.Second)
		end(errDemoted)
		b.until(time.Hour)
		var got []string
		for _, f := range b.heard() {
			if describe(f.data) != "solicitation from :: to ff02::1:ff00:254" {
				got = append(got, f.at.Sub(b.began).String())
			}
		}
		wantEqual(t, []string{"0s", "200ms", "500ms", "1.5s", "2.5s", "1m2.5s", "2m2.5s", "2m30s", "2m30.2s", "2m30.5s", "2m31s", "2m31.2s", "2m31.5s"}, got)
	})
}

func TestAnnounceWithoutRepeats(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(30 * time.Minute)
		wantEqual(t, len(burst), announced(b.heard(), v4.Addr()))
	})
}

func TestAnInterfaceWithoutEthernetIsBoundButNotAnnouncedOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.k.setLink(link{index: 7, name: "eth0", up: true, carrier: true})
		bind(t, b.i, v4, v6)
		b.until(time.Second)
		wantEqual(t, "192.0.2.254/32 2001:db8::254/128", b.has())
		wantEqual(t, 0, len(b.heard()))
	})
}

func TestAnotherMACIsAnnounced(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Minute)
		b.k.setLink(link{index: 7, name: "eth0", up: true, carrier: true, mac: net.HardwareAddr{2, 0, 0, 0, 0, 7}})
		b.until(time.Hour / 2)
		wantEqual(t, 2*len(burst), announced(b.heard(), v4.Addr()))
	})
}

// The process may be stopped between reconcile and its frames.
func TestNothingIsAnnouncedPastTheEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)
		before := len(b.heard())
		b.i.mu.Lock()
		b.lease.set(-time.Second)
		must(t, b.i.send(b.i.bindings[v4.Addr()]))
		b.i.mu.Unlock()
		wantEqual(t, before, len(b.heard()))
	})
}

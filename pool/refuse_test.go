package pool_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/pool"
	"berth/vrrp"
)

// An address that a host cannot manage is told, and is served when that has changed.
func TestAnAddressThatCannotBeManagedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		a := e.start("a", nil)
		e.mu.Lock()
		a.refuse = map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true}
		e.mu.Unlock()
		e.list(true, "192.0.2.1/24", "192.0.2.2")
		time.Sleep(time.Second)
		e.want("a:1")
		if in := a.status(); in.State != vrrp.Master || !strings.Contains(in.Reason, "192.0.2.1: manage 192.0.2.1/24: net") {
			t.Errorf("want the reason in the status, got %+v", in)
		}
		if got := a.lines("pool-addresses-unusable"); len(got) != 1 || !strings.Contains(got[0], "promote_secondaries") {
			t.Errorf("want the reason in the log, got %q", got)
		}
		e.mu.Lock()
		a.refuse = nil
		e.mu.Unlock()
		time.Sleep(15 * time.Second)
		e.want("a:2")
		if in := a.status(); strings.Contains(in.Reason, "manage") {
			t.Errorf("want that the reason is gone, got %+v", in)
		}
		a.stop(errStop)
	})
}

// An address that one host cannot bind, or has for an instance, is served by another host.
func TestAnAddressThatOneHostRefusesIsServedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		taken, refused := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		a := e.start("a", func(o *pool.Options) { o.Taken = map[netip.Addr]string{taken: "election.instances: api"} })
		b := e.start("b", nil)
		e.mu.Lock()
		a.refuse = map[netip.Addr]bool{refused: true}
		e.mu.Unlock()
		e.list(true, taken.String(), refused.String())
		e.want("b:2")
		b.stop(errStop)
		e.want("")
		a.stop(errStop)
	})
}

// The kernel of one host does not take an address that its interface manages.
func TestAnAddressThatOneHostCannotBindIsServedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		v6 := netip.MustParseAddr("2001:db8::1")
		a := e.start("a", nil)
		e.mu.Lock()
		a.unbindable = map[netip.Addr]bool{v6: true}
		e.mu.Unlock()
		e.list(true, v6.String())
		time.Sleep(5 * time.Second) // the only host tries twice
		e.want("")
		b := e.start("b", nil)
		time.Sleep(5 * time.Second)
		e.want("b:1")
		b.stop(errStop)
		e.mu.Lock()
		a.unbindable = nil
		e.mu.Unlock()
		time.Sleep(12 * time.Second)
		e.want("a:1")
		a.stop(errStop)
	})
}

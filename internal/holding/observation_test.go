package holding_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"berth/internal/holding"
	"berth/internal/reload"
	"berth/vrrp"
)

// observations are of one instance at a time.
type observations struct {
	h       *host
	gone    []vrrp.FloatingIP
	changed chan struct{}
}

func (o *observations) Present(wanted []vrrp.FloatingIP) []vrrp.FloatingIP {
	o.h.mu.Lock()
	defer o.h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(wanted), func(ip vrrp.FloatingIP) bool { return slices.Contains(o.gone, ip) })
}
func (o *observations) Changed() <-chan struct{} { return o.changed }
func (o *observations) Retain()                  { o.h.add("retain") }
func (o *observations) Close()                   { o.h.add("close") }

func (o *observations) set(gone ...vrrp.FloatingIP) {
	o.h.mu.Lock()
	o.gone = gone
	o.h.mu.Unlock()
	o.changed <- struct{}{}
}

func TestAddressesThatAreNotOnTheHostAreSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1), ip(2))
		o := &observations{h: h, changed: make(chan struct{}, 1)}
		h.Observe = func(instance string) holding.Observation {
			h.add("observe %s", instance)
			return o
		}
		end := h.hold(t, nil)
		got := h.tell()
		slices.Sort(got[2:])
		want(t, got, "lock", "observe VI_1", "claim VI_1 192.0.2.1/24", "claim VI_1 192.0.2.2/24")
		o.set(ip(2))
		want(t, h.tell(), "VI_1 has suspended: 192.0.2.2/24", "let go VI_1 192.0.2.2/24")
		o.set()
		want(t, h.tell(), "VI_1 has suspended: ", "claim VI_1 192.0.2.2/24")
		end(errDemoted)
		got = h.tell()
		want(t, got[2:], "close", "unlock")
	})
}

func TestWhatWasObservedIsRetainedForAHoldingThatBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		h.Observe = func(string) holding.Observation { return &observations{h: h} }
		h.hold(t, nil)(fmt.Errorf("again: %w", reload.ErrReloaded))
		got := h.tell()
		want(t, got[len(got)-3:], "retain", "close", "unlock")
	})
}

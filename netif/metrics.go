package netif

import (
	"net/netip"

	"berth/internal/metrics"
)

// Metrics count what happens to the interfaces and addresses of this host. A nil
// *Metrics counts nothing.
type Metrics struct {
	ready         *metrics.Gauge
	bound         *metrics.Gauge
	contested     *metrics.Gauge
	astray        *metrics.Gauge
	defences      *metrics.Counter
	announcements *metrics.Counter
}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		ready: r.Gauge("berth_interface_ready",
			"1 while the interface is up and has a carrier.", "interface"),
		bound: r.Gauge("berth_address_bound",
			"1 while the address is bound to this host by berth, 0 while not.", "address"),
		contested: r.Gauge("berth_address_contested",
			"1 while the address is deleted, added or claimed again and again by another program or host.", "address"),
		astray: r.Gauge("berth_address_astray",
			"1 while another interface of this host has the address although another host owns it, so that both hosts answer for it.", "address"),
		defences: r.Counter("berth_address_defences_total",
			"Times that an address was bound again (deleted), removed (added) or announced again because another host claimed it (claimed).", "address", "reason"),
		announcements: r.Counter("berth_announcements_total",
			"Times that the address was announced to the neighbours.", "address"),
	}
}

// begin makes all series of an address appear.
func (m *Metrics) begin(p netip.Prefix) {
	if m == nil {
		return
	}
	a := p.Addr().String()
	m.bound.Set(0, a)
	m.contested.Set(0, a)
	m.astray.Set(0, a)
	m.announcements.Add(0, a)
	for _, r := range reasons {
		m.defences.Add(0, a, string(r))
	}
}

// end makes all series of an address disappear.
func (m *Metrics) end(p netip.Prefix) {
	if m == nil {
		return
	}
	a := p.Addr().String()
	m.bound.Delete(a)
	m.contested.Delete(a)
	m.astray.Delete(a)
	m.announcements.Delete(a)
	for _, r := range reasons {
		m.defences.Delete(a, string(r))
	}
}

func (m *Metrics) setReady(name string, on bool) {
	if m != nil {
		m.ready.Set(number(on), name)
	}
}

func (m *Metrics) setBound(a netip.Addr, on bool) {
	if m != nil {
		m.bound.Set(number(on), a.String())
	}
}

func (m *Metrics) setContested(a netip.Addr, on bool) {
	if m != nil {
		m.contested.Set(number(on), a.String())
	}
}

func (m *Metrics) setAstray(a netip.Addr, on bool) {
	if m != nil {
		m.astray.Set(number(on), a.String())
	}
}

func (m *Metrics) defended(a netip.Addr, r reason) {
	if m != nil {
		m.defences.Add(1, a.String(), string(r))
	}
}

func (m *Metrics) announced(a netip.Addr) {
	if m != nil {
		m.announcements.Add(1, a.String())
	}
}

func number(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

package bench

import (
	"net/netip"
	"testing"

	"berth/election"

	"golang.org/x/sys/unix"
)

// addedHosts is how many hosts the addresses are added to.
const addedHosts = 2

// BenchmarkAdded is 1,000 addresses that are added at run time to each of two hosts: for each
// change, the time until the kernels have every address exactly once, how long an address was
// on no host or on two, and what was asked of etcd; and the load at rest.
func BenchmarkAdded(b *testing.B) {
	t := newPoolBed(b, bedOptions{hosts: addedHosts, config: "election: {interface: eth0}\napi: {listen: \"127.0.0.1:1313\"}\n", apart: true})
	addrs := poolAddresses(poolSize)
	first, second := t.hosts[0], t.hosts[1]
	addTo := func(h *poolHost, addrs []netip.Addr) {
		b.Helper()
		var keys []string
		for _, a := range addrs {
			keys = append(keys, election.AddedKey("/berth/", h.Name, a.String()))
		}
		t.put(keys, "")
	}
	for b.Loop() {
		addTo(first, addrs)
		addTo(second, addrs)
		t.list(addrs, true)
		t.change("start", func() { t.start(first) })
		t.start(second) // which takes its place in each queue, and no kernel shows that
		t.rest()
		t.change("stop", func() { t.end(first, unix.SIGTERM) })
		t.start(first)
		t.rest()
		t.change("kill", func() { t.end(second, unix.SIGKILL) })
		b.ReportMetric(most(t.hosts[:1], func(h *poolHost) float64 { return h.status("VmHWM") }), "peak-MB")
		t.end(first, unix.SIGTERM)
		<-first.berth.Done()
		for _, h := range t.hosts {
			t.must(t.etcd.Call(b.Context(), "kv/deleterange", map[string][]byte{"key": []byte("/berth/added/" + h.Name + "/"), "range_end": []byte("/berth/added/" + h.Name + "0")}, nil))
		}
		t.list(addrs, false)
	}
	b.ReportMetric(0, "ns/op")
}

package reading_test

import (
	"fmt"
	"net/netip"
	"testing"

	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/vrrp"
)

// Every reading of a large file is decided about, and a claim may wait for it.
func BenchmarkDecideTwentyThousandInstances(b *testing.B) {
	config := func(addresses int) *keepalivedconf.Config {
		c := &keepalivedconf.Config{Instances: make([]keepalivedconf.Instance, 20000)}
		addr := netip.MustParseAddr("10.0.0.0")
		for n := range c.Instances {
			in := &c.Instances[n]
			in.Name = fmt.Sprintf("VI_%d", n)
			for range addresses {
				addr = addr.Next()
				in.Addresses = append(in.Addresses, vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, 32)})
			}
		}
		return c
	}
	newest, good := config(1), config(2)
	f := reading.Facts{Newest: newest, Good: good, Before: good, Bound: func(netip.Addr) bool { return true }}
	for b.Loop() {
		reading.Decide(f)
	}
}

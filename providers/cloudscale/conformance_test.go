package cloudscale_test

import (
	"fmt"
	"net/netip"
	"testing"

	"berth/internal/cloudsim"
	"berth/providers/cloudscale"
	"berth/providers/providertest"
)

const (
	token = "7rUgK0pZ4cQwYh1sJmXv9aTnEbLd3fR8"
	lb1   = "11111111-1111-4111-8111-111111111111"
	lb2   = "22222222-2222-4222-8222-222222222222"
	lb3   = "33333333-3333-4333-8333-333333333333"
)

var (
	addr4    = netip.MustParseAddr("192.0.2.10")
	addr6a   = netip.MustParseAddr("2001:db8:1::a")
	addr6b   = netip.MustParseAddr("2001:db8:1:ff::b")
	foreign  = netip.MustParseAddr("192.0.2.99")
	balanced = netip.MustParseAddr("192.0.2.20")

	network4 = netip.MustParsePrefix("192.0.2.10/32")
	network6 = netip.MustParsePrefix("2001:db8:1::/56")
)

func account() cloudsim.Config {
	return cloudsim.Config{
		Token: token,
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Region: "lpg"},
			{UUID: lb2, Name: "lb2", Region: "lpg"},
			{UUID: lb3, Name: "lb3", Region: "rma"},
		},
		FloatingIPs: []cloudsim.FloatingIP{
			{Network: network4, Region: "lpg", Server: lb2},
			{Network: network6, Region: "lpg", Server: lb2},
			{Network: netip.PrefixFrom(balanced, 32), LoadBalancer: "web"},
		},
		Seed: 1,
	}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Cloud{
		Name:    "cloudscale",
		Entry:   cloudscale.Entry,
		Secrets: []string{token},
		Section: func(endpoint string) string {
			return fmt.Sprintf("endpoint: %s\ntoken: %s\n", endpoint, token)
		},
		Account: account,
		Mine:    lb1, Peer: lb2,
		Addr: addr4, Inside: [2]netip.Addr{addr6a, addr6b},
		Balanced: balanced, Foreign: foreign,
		WriteMethod:  "PATCH",
		ListPath:     "/v1/floating-ips",
		EmptyList:    "[]",
		MetadataPath: "/openstack",
		ObserveCalls: func(int, int) int { return 1 },
		ClaimCalls:   1,
		ClaimWrites:  1,
		Rotate:       providertest.RotateToken(token),
	})
}

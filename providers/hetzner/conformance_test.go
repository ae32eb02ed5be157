package hetzner_test

import (
	"fmt"
	"net/netip"
	"testing"

	"berth/internal/cloudsim"
	"berth/providers/hetzner"
	"berth/providers/providertest"
)

const (
	token = "hcloudQ4w8ZxV1nR6tYpLk3sJd9fGhB2mC7eA"
	lb1   = "1001"
	lb2   = "1002"
	lb3   = "1003"
)

func account() cloudsim.Config {
	return cloudsim.Config{
		Token: token,
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Region: "fsn1"},
			{UUID: lb2, Name: "lb2", Region: "fsn1"},
			{UUID: lb3, Name: "lb3", Region: "fsn1"},
		},
		FloatingIPs: []cloudsim.FloatingIP{
			{Network: netip.MustParsePrefix("192.0.2.10/32"), Server: lb2},
			{Network: netip.MustParsePrefix("2001:db8:1::/64"), Server: lb2},
		},
		Seed: 1,
	}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Cloud{
		Name:    "hetzner",
		Entry:   hetzner.Entry,
		Secrets: []string{token},
		Section: func(endpoint string) string {
			return fmt.Sprintf("endpoint: %s/hetzner/api\ntoken: %s\n", endpoint, token)
		},
		Account: account,
		Mine:    lb1, Peer: lb2,
		Addr:   netip.MustParseAddr("192.0.2.10"),
		Inside: [2]netip.Addr{netip.MustParseAddr("2001:db8:1::a"), netip.MustParseAddr("2001:db8:1::b")},
		// Nothing but servers has floating IPs there.
		Foreign:      netip.MustParseAddr("192.0.2.99"),
		WriteMethod:  "POST",
		ListPath:     "/hetzner/api/floating_ips",
		EmptyList:    `{"floating_ips":[]}`,
		MetadataPath: "/hetzner/v1/metadata",
		ObserveCalls: func(int, int) int { return 1 },
		ClaimCalls:   1,
		ClaimWrites:  1,
		Releases:     true,
		Rotate:       providertest.RotateToken(token),
	})
}

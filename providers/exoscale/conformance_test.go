package exoscale_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers/exoscale"
	"berth/providers/providertest"
)

const (
	key    = "EXOa1b2c3d4e5f6a7b8c9d0e1f2"
	secret = "q7Rz_tUv4WxYb2Cd9EfGh1JkLm6NpQs8"
	lb1    = "11111111-1111-4111-8111-111111111111"
	lb2    = "22222222-2222-4222-8222-222222222222"
	lb3    = "33333333-3333-4333-8333-333333333333" // in another zone
	lb4    = "44444444-4444-4444-8444-444444444444"
	zone   = "ch-gva-2"

	eip4 = "e0000000-0000-4000-8000-000000000004"
	eip6 = "e0000000-0000-4000-8000-000000000006"
)

var (
	addr4   = netip.MustParseAddr("192.0.2.10")
	addr6a  = netip.MustParseAddr("2001:db8:1::a")
	addr6b  = netip.MustParseAddr("2001:db8:1::ff:b")
	foreign = netip.MustParseAddr("192.0.2.99")

	network4 = netip.MustParsePrefix("192.0.2.10/32")
	network6 = netip.MustParsePrefix("2001:db8:1::/96")
)

// account returns the account of most tests.
func account() cloudsim.Config {
	return cloudsim.Config{
		Key: key, Secret: secret,
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Region: zone, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11")}},
			{UUID: lb2, Name: "lb2", Region: zone, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
			{UUID: lb3, Name: "lb3", Region: "at-vie-1"},
			{UUID: lb4, Name: "lb4", Region: zone},
		},
		ElasticIPs: []cloudsim.ElasticIP{
			{ID: eip4, Network: network4, Zone: zone, Servers: []string{lb2}},
			{ID: eip6, Network: network6, Zone: zone, Servers: []string{lb2}},
		},
		Seed: 1,
	}
}

func TestConformance(t *testing.T) {
	rotated := 0
	providertest.Run(t, providertest.Cloud{
		Name:    "exoscale",
		Entry:   exoscale.Entry,
		Secrets: []string{key, secret},
		Section: func(endpoint string) string {
			return fmt.Sprintf("endpoint: %s/v2\nkey: %s\nsecret: %s\n", endpoint, key, secret)
		},
		Account: func() cloudsim.Config {
			c := account()
			c.SecurityGroups = []cloudsim.SecurityGroup{{ID: web, Name: "web"}}
			c.Servers[0].Groups, c.Servers[1].Groups = []string{web}, []string{web}
			return c
		},
		SlowOperations: 700 * time.Millisecond,
		Mine:           lb1, Peer: lb2,
		Addr: addr4, Inside: [2]netip.Addr{addr6a, addr6b},
		Foreign:      foreign,
		WriteMethod:  "PUT",
		ListPath:     "/v2/elastic-ip",
		EmptyList:    `{"elastic-ips":[]}`,
		MetadataPath: "/latest",
		Additive:     true,
		Rotate: func(s *cloudsim.Sim) map[string]string {
			rotated++
			k, sec := fmt.Sprintf("%d%s", rotated, key), fmt.Sprintf("%d%s", rotated, secret)
			s.SetKey(k, sec)
			return map[string]string{"key": k, "secret": sec}
		},
		// The elastic IPs, the own record, then the filter for each and each other
		// holder's record.
		ObserveCalls: func(objects, others int) int { return 2 + objects + others },
		// Attach, own record, filter, the other's record, detach.
		ClaimCalls:  5,
		ClaimWrites: 2,
		Releases:    true,
		Group:       "web",
	})
}

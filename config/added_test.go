package config_test

import (
	"slices"
	"testing"
)

func TestWhereAddressesCanBeAddedAtRunTime(t *testing.T) {
	const instances = "instances: [{name: web, addresses: [192.0.2.1], interface: eth1}]"
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"an election", etcdOf("5s") + "election: {interface: eth0, " + instances + "}\n", true},
		{"no instances, but the API", etcdOf("5s") + "election: {interface: eth0}\napi: {listen: \"127.0.0.1:1313\"}\n", true},
		{"no interface of the election", etcdOf("5s") + "election: {" + instances + "}\n", false},
		{"a pool", etcdOf("5s") + "election: {interface: eth0, " + instances + "}\npool: {enabled: true}\n", false},
		{"Patroni decides", "follow: {patroni: {url: \"http://127.0.0.1:8008\", role: leader}}\nelection: {interface: eth0, " + instances + "}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Adds(); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
			if _, on := c.OnInterfaces()["eth0"]; on != (tt.want || c.Pool.Enabled) {
				t.Errorf("want eth0 in use: %v, got %v", tt.want, c.OnInterfaces())
			}
		})
	}
}

func TestChecksOfAddedAddresses(t *testing.T) {
	c, err := parse(etcdOf("5s") + `health: [{tcp: {address: "h:1"}}]
election: {interface: eth0, health: [{tcp: {address: "h:2"}}], instances: [{name: web, addresses: [192.0.2.1], health: [{tcp: {address: "h:3"}}]}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.HealthOfAdded(); !slices.Equal(got, []string{"tcp h:1", "tcp h:2"}) {
		t.Errorf("want the checks of host and election, got %q", got)
	}
	for check, want := range map[string][]string{"tcp h:1": nil, "tcp h:2": nil, "tcp h:3": {"web"}} {
		if got := c.HealthConcerns(check); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: want it about %q, got %q", check, want, got)
		}
	}
}

func TestAnInstanceMayBeAnAddedAddress(t *testing.T) {
	const instances = "instances: [{name: web, addresses: [192.0.2.1]}, {name: \"2001:DB8::2\", addresses: [192.0.2.2]}]"
	for _, tt := range []struct {
		name, text, instance, want string
		known                      bool
	}{
		{"an instance", "election: {interface: eth0, " + instances + "}\n", "web", "web", true},
		{"an instance with the name of an address", "election: {interface: eth0, " + instances + "}\n", "2001:DB8::2", "2001:DB8::2", true},
		{"another name", "election: {interface: eth0, " + instances + "}\n", "db", "db", false},
		{"an address", "election: {interface: eth0, " + instances + "}\n", "10.0.0.1", "10.0.0.1", true},
		{"an address that is written otherwise", "election: {interface: eth0, " + instances + "}\n", "2001:DB8:0::1", "2001:db8::1", true},
		{"an IPv4 address in IPv6", "election: {interface: eth0, " + instances + "}\n", "::ffff:10.0.0.1", "10.0.0.1", true},
		{"an address where the pool has all", "election: {interface: eth0, " + instances + "}\npool: {enabled: true}\n", "10.0.0.1", "10.0.0.1", false},
		{"no instances", "election: {interface: eth0}\napi: {listen: \"127.0.0.1:1313\"}\n", "10.0.0.1", "10.0.0.1", true},
		{"no instances, and another name", "election: {interface: eth0}\napi: {listen: \"127.0.0.1:1313\"}\n", "web", "web", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(etcdOf("5s") + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if name, known := c.InElection(tt.instance); name != tt.want || known != tt.known {
				t.Errorf("want %q, %t, got %q, %t", tt.want, tt.known, name, known)
			}
		})
	}
}

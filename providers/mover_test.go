package providers_test

import (
	"net/netip"
	"testing"

	"berth/providers"
)

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.10/32", "2001:db8::/56", "192.0.2.1", "fe80::1%eth0", "::ffff:192.0.2.1/120", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := providers.ParseNetwork(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" {
			t.Errorf("%q: %v is not a network", text, p)
		}
		if again, err := providers.ParseNetwork(p.String()); err != nil || again != p {
			t.Errorf("%q: reads back as %v, %v", text, again, err)
		}
	})
}

func TestContaining(t *testing.T) {
	networks := map[netip.Prefix]string{}
	for _, s := range []string{"192.0.2.0/24", "192.0.2.10/32", "2001:db8:0:100::/56", "::/0"} {
		networks[netip.MustParsePrefix(s)] = s
	}
	for _, row := range []struct {
		name, addr, want string
	}{
		{"the address itself before the network around it", "192.0.2.10", "192.0.2.10/32"},
		{"within a network", "192.0.2.11", "192.0.2.0/24"},
		{"in none", "198.51.100.1", ""},
		{"within a network of IPv6", "2001:db8:0:1ff::1", "2001:db8:0:100::/56"},
		{"within the whole of IPv6", "2001:db8:0:200::1", "::/0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			network, got, ok := providers.Containing(networks, netip.MustParseAddr(row.addr))
			if got != row.want || ok != (row.want != "") || ok && network.String() != row.want {
				t.Errorf("%s: in %v, %q, %v, want %q", row.addr, network, got, ok, row.want)
			}
		})
	}
}

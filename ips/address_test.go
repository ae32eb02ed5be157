package ips_test

import (
	"testing"

	"berth/ips"
)

func TestAddressesThatCanBeAdded(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"IPv4", "192.0.2.1", "192.0.2.1/32"},
		{"with a length, whose host bits stay", "192.0.2.1/24", "192.0.2.1/24"},
		{"IPv6 in another spelling", "2001:DB8:0::1", "2001:db8::1/128"},
		{"IPv6 with a length", "2001:db8::1/64", "2001:db8::1/64"},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1/32"},
		{"IPv4 in IPv6 with a length", "::ffff:192.0.2.1/120", "192.0.2.1/24"},
		{"IPv4 in IPv6 with the length of a network of IPv6", "::ffff:192.0.2.1/96", ""},
		{"zone", "fe80::1%eth0", ""},
		{"zone with a length", "fe80::1%eth0/64", ""},
		{"length of everything", "192.0.2.1/0", ""},
		{"length that is too long", "192.0.2.1/33", ""},
		{"slash at the end", "192.0.2.1/", ""},
		{"two lengths", "192.0.2.1/24/24", ""},
		{"name", "web", ""},
		{"nothing", "", ""},
		{"unspecified", "0.0.0.0", ""},
		{"loopback", "::1", ""},
		{"multicast", "224.0.0.18", ""},
		{"broadcast", "255.255.255.255", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ip, err := ips.ParseAddress(tt.text)
			if got := ip.String(); err == nil && got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("want %q, got %q, %v", tt.want, got, err)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"192.0.2.1", "192.0.2.1/24", "2001:db8::1/64", "::ffff:192.0.2.1/120", "fe80::1%eth0", "/", "1/0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ip, err := ips.ParseAddress(text)
		if err != nil {
			return
		}
		if a := ip.Addr(); !ip.Prefix.IsValid() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6() || ip.Prefix.Bits() < 1 {
			t.Errorf("%q: got %v", text, ip)
		}
		if again, err := ips.ParseAddress(ip.String()); err != nil || again != ip {
			t.Errorf("%q: %v as a text is %v, %v", text, ip, again, err)
		}
	})
}

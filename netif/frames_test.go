package netif

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
)

var (
	mac1  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	addr4 = netip.MustParseAddr("192.0.2.254")
	addr6 = netip.MustParseAddr("2001:db8::254")
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The expected bytes follow RFC 826, 4861 and 8200.
func TestFrames(t *testing.T) {
	na, err := unsolicited(addr6, mac1)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := ndpProbe(addr6, mac1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"gratuitous request", gratuitous(addr4, mac1)[0],
			"ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c00002fe 000000000000 c00002fe"},
		{"gratuitous reply", gratuitous(addr4, mac1)[1],
			"ffffffffffff 020000000001 0806 0001 0800 06 04 0002 020000000001 c00002fe ffffffffffff c00002fe"},
		{"probe", arpProbe(addr4, mac1),
			"ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 c00002fe"},
		{"unsolicited advertisement", na,
			`333300000001 020000000001 86dd 60000000 0020 3a ff
			 20010db8000000000000000000000254 ff020000000000000000000000000001
			 88 00 XXXX 20000000 20010db8000000000000000000000254 0201 020000000001`},
		{"solicitation as a probe", ns,
			`3333ff000254 020000000001 86dd 60000000 0018 3a ff
			 00000000000000000000000000000000 ff0200000000000000000001ff000254
			 87 00 XXXX 00000000 20010db8000000000000000000000254`},
	} {
		if at := strings.Index(strings.Join(strings.Fields(tt.want), ""), "XXXX"); at >= 0 {
			if sum := checksum(tt.got[ethernetLen:]); sum != 0xffff {
				t.Errorf("%s: want the checksum right, got a sum of %04x", tt.name, sum)
			}
			tt.want = strings.Replace(tt.want, "XXXX", hex.EncodeToString(tt.got[at/2:at/2+2]), 1)
		}
		if want := unhex(t, tt.want); !bytes.Equal(want, tt.got) {
			t.Errorf("%s: want %x, got %x", tt.name, want, tt.got)
		}
	}
}

// checksum returns the sum of an IPv6 packet after RFC 4443, section 2.3 and RFC 8200,
// section 8.1: 0xffff if its checksum is right.
func checksum(p []byte) uint32 {
	sum := uint32(icmpv6) + uint32(len(p)-ipv6Len)
	for b := p[8:]; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}

func TestParseFrames(t *testing.T) {
	na, err := unsolicited(addr6, mac1)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	request := gratuitous(addr4, mac1)[0]
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string // "" if it claims nothing
	}{
		{"gratuitous request", request, "192.0.2.254 02:00:00:00:00:01"},
		{"gratuitous reply", gratuitous(addr4, mac1)[1], "192.0.2.254 02:00:00:00:00:01"},
		{"padded to the least length of Ethernet", append(bytes.Clone(request), make([]byte, 18)...), "192.0.2.254 02:00:00:00:00:01"},
		{"a request for another address", arpFrame(arpRequest, mac1, addr4, zeroMAC, netip.MustParseAddr("192.0.2.1")), "192.0.2.254 02:00:00:00:00:01"},
		{"a probe claims nothing", arpProbe(addr4, mac1), ""},
		{"ARP that is cut off", request[:41], ""},
		{"ARP for another kind of network", changed(request, 15, 6), ""},
		{"reverse ARP", changed(request, 21, 3), ""},
		{"advertisement", na, "2001:db8::254 02:00:00:00:00:01"},
		{"advertisement without an option", changed(na[:78], 19, 24), "2001:db8::254 02:00:00:00:00:01"},
		{"its option names another host than the sender", changed(na, len(na)-1, 9), "2001:db8::254 02:00:00:00:00:09"},
		{"advertisement through a router", changed(na, 21, 254), ""},
		{"advertisement that is cut off", na[:len(na)-1], ""},
		{"solicitation", changed(na, 54, 135), ""},
		{"another protocol over IPv6", changed(na, 20, 17), ""},
		{"nothing", nil, ""},
	} {
		got := ""
		for _, parse := range []func([]byte) (netip.Addr, net.HardwareAddr, bool){parseARP, parseNA} {
			if a, mac, ok := parse(tt.frame); ok {
				got += a.String() + " " + mac.String()
			}
		}
		if got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
		}
	}
}

// A frame that is made from a parsed claim is parsed as the same claim.
func FuzzParseARP(f *testing.F) {
	for _, b := range gratuitous(addr4, mac1) {
		f.Add(b)
	}
	f.Add(arpProbe(addr4, mac1))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, mac, ok := parseARP(b)
		if !ok {
			return
		}
		for _, again := range gratuitous(a, mac) {
			if a2, mac2, ok := parseARP(again); !ok || a2 != a || !bytes.Equal(mac, mac2) {
				t.Errorf("want %v, %v, got %v, %v, %v", a, mac, a2, mac2, ok)
			}
		}
	})
}

func FuzzParseNA(f *testing.F) {
	na, err := unsolicited(addr6, mac1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(na)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, mac, ok := parseNA(b)
		if !ok {
			return
		}
		again, err := unsolicited(a, mac)
		if err != nil {
			t.Fatal(err)
		}
		if a2, mac2, ok := parseNA(again); !ok || a2 != a || !bytes.Equal(mac, mac2) {
			t.Errorf("want %v, %v, got %v, %v, %v", a, mac, a2, mac2, ok)
		}
	})
}

package heartbeat

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// dump returns the bytes of a hex dump.
func dump(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var server = IDOf("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

// The first dump is a datagram as exoip sends it: version, priority twice, address, id.
func TestDatagramsAreThoseOfTheDump(t *testing.T) {
	for name, row := range map[string]struct {
		message message
		dump    string
	}{
		"IPv4": {message{netip.MustParseAddr("198.51.100.50"), 10, server}, `
			02 01 0a 0a
			c6 33 64 32
			6b a7 b8 10 9d ad 11 d1 80 b4 00 c0 4f d4 30 c8`},
		"IPv4, best priority": {message{netip.MustParseAddr("192.0.2.1"), 0, IDOf("00000000-0000-0000-0000-000000000000")}, `
			02 01 00 00  c0 00 02 01  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00`},
		"IPv6": {message{netip.MustParseAddr("2001:db8::10"), 255, server}, `
			02 02 ff ff
			20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 10
			6b a7 b8 10 9d ad 11 d1 80 b4 00 c0 4f d4 30 c8`},
	} {
		want := dump(t, row.dump)
		if got := row.message.append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n% x\nwant\n% x", name, got, want)
		}
		m, body, trailer, why := parse(want)
		if m != row.message || why != accepted || trailer != nil || !bytes.Equal(body, want) {
			t.Errorf("%s: parsed %+v, trailer % x, reason %d", name, m, trailer, why)
		}
	}
}

// The sum was made with Python's hmac over the bytes that the package comment names.
func TestASignedDatagramIsThatOfTheDump(t *testing.T) {
	key := []byte("sixteen bytes, and more")
	from, to := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	got := sign(key, message{netip.MustParseAddr("198.51.100.50"), 10, server}.append(nil), 0x0102030405060708, from, to)
	want := dump(t, `
		02 01 0a 0a c6 33 64 32 6b a7 b8 10 9d ad 11 d1 80 b4 00 c0 4f d4 30 c8
		01 02 03 04 05 06 07 08
		6f 28 3c 84 a9 b1 b2 93 88 11 43 32 46 24 20 f4 2e f9 a7 96 5c 2b bb b0 f2 0c a2 5e bc 6c a1 7b`)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n% x\nwant\n% x", got, want)
	}
	_, body, trailer, why := parse(got)
	if counter, ok := verify(key, body, trailer, from, to); why != accepted || !ok || counter != 0x0102030405060708 {
		t.Errorf("counter %x, verified %t, reason %d", counter, ok, why)
	}
	other := netip.MustParseAddr("10.0.0.3")
	for name, ok := range map[string]bool{
		"another key":         second(verify([]byte("sixteen bytes, and mine"), body, trailer, from, to)),
		"another source":      second(verify(key, body, trailer, other, to)),
		"another destination": second(verify(key, body, trailer, from, other)),
		"the way back":        second(verify(key, body, trailer, to, from)),
	} {
		if ok {
			t.Errorf("%s: it is taken for genuine", name)
		}
	}
	for i := range got {
		changed := bytes.Clone(got)
		changed[i] ^= 1
		if _, body, trailer, why := parse(changed); why == accepted && second(verify(key, body, trailer, from, to)) {
			t.Errorf("byte %d may be changed", i)
		}
	}
}

func second(_ uint64, ok bool) bool { return ok }

func TestAnythingElseIsRefused(t *testing.T) {
	good := message{netip.MustParseAddr("198.51.100.50"), 10, server}.append(nil)
	good6 := message{netip.MustParseAddr("2001:db8::1"), 10, server}.append(nil)
	with := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	for name, row := range map[string]struct {
		b   []byte
		why reason
	}{
		"nothing":                       {nil, wrongLength},
		"a byte less":                   {good[:23], wrongLength},
		"a byte more":                   {append(bytes.Clone(good), 0), wrongLength},
		"a hundred bytes":               {append(bytes.Clone(good), make([]byte, 76)...), wrongLength},
		"a trailer without its end":     {append(bytes.Clone(good), make([]byte, trailerSize-1)...), wrongLength},
		"exoip's request for its state": {[]byte("info"), wrongLength},
		"another version":               {with(good, 1, 3), wrongVersion},
		"a text of the right length":    {[]byte("info                    "), wrongVersion},
		"IPv4's length, IPv6's version": {with(good, 1, 2), wrongVersion},
		"IPv6's length, IPv4's version": {with(good6, 1, 1), wrongVersion},
		"two priorities":                {with(good, 3, 11), wrongPriority},
		"IPv4 in IPv6's form":           {dump(t, "0202 0a0a 00000000000000000000ffff c6336432 6ba7b8109dad11d180b400c04fd430c8"), wrongVersion},
	} {
		if _, _, _, why := parse(row.b); why != row.why {
			t.Errorf("%s: got %d, want %d", name, why, row.why)
		}
	}
}

func TestIDOfAUUIDIsItsBytesAndOfAnythingElseASum(t *testing.T) {
	if got := server.String(); got != "6ba7b810-9dad-11d1-80b4-00c04fd430c8" {
		t.Errorf("got %s", got)
	}
	if IDOf("6BA7B810-9DAD-11D1-80B4-00C04FD430C8") != server {
		t.Error("the case of a UUID counts")
	}
	// printf 'berth heartbeat id\0004711' | sha256sum
	if got := hex.EncodeToString(func() []byte { id := IDOf("4711"); return id[:] }()); got != "c3f45d28f03984362bc1e5a6b23cada0" {
		t.Errorf("got %s", got)
	}
	seen := map[ID]string{}
	for _, s := range []string{"", "1", "4711", "6ba7b8109dad11d180b400c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430cx", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if seen[IDOf(s)] != "" {
			t.Errorf("%q and %q have the same id", s, seen[IDOf(s)])
		}
		seen[IDOf(s)] = s
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message{netip.MustParseAddr("198.51.100.50"), 10, server}.append(nil))
	f.Add(message{netip.MustParseAddr("2001:db8::1"), 10, server}.append(nil))
	f.Add(sign([]byte("key"), message{netip.MustParseAddr("2001:db8::1"), 10, server}.append(nil), 1, netip.IPv6Loopback(), netip.IPv6Loopback()))
	f.Add([]byte("info"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, body, trailer, why := parse(b)
		if why != accepted {
			return
		}
		again := append(m.append(nil), trailer...)
		if !bytes.Equal(again, b) || !bytes.Equal(body, b[:len(b)-len(trailer)]) {
			t.Errorf("% x became % x", b, again)
		}
		if trailer != nil {
			verify([]byte("key"), body, trailer, m.address, netip.IPv6Loopback())
		}
	})
}

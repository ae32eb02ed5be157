package associate_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/associate"
)

func TestParseWait(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "forever": associate.Forever, "30s": 30 * time.Second, "1m": time.Minute} {
		if got, err := associate.ParseWait(text); err != nil || got != want {
			t.Errorf("%q: want %v, got %v, %v", text, want, got, err)
		}
	}
	for _, text := range []string{"0", "0s", "-1s", "30", "ever"} {
		if _, err := associate.ParseWait(text); err == nil || !strings.Contains(err.Error(), "--wait="+text+": write a time") {
			t.Errorf("%q: want an error that says what to write, got %v", text, err)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	got, err := associate.ParseAddresses([]string{"192.0.2.20", "::ffff:192.0.2.10", "2001:DB8:1::A", "192.0.2.10"})
	if want := []netip.Addr{two, one, six}; err != nil || !slices.Equal(got, want) {
		t.Errorf("want %v, got %v, %v", want, got, err)
	}
	for _, text := range []string{"192.0.2.10/32", "fe80::1%eth0", "lb1", "30s", ""} {
		if _, err := associate.ParseAddresses([]string{text}); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

package associate

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Forever is a Wait without an end, and WithoutEnd how ParseWait has it written.
const (
	Forever    time.Duration = -1
	WithoutEnd               = "forever"
)

// ParseWait reads a wait: a duration, WithoutEnd, or nothing for one attempt.
func ParseWait(text string) (time.Duration, error) {
	switch text {
	case "":
		return 0, nil
	case WithoutEnd:
		return Forever, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait <= 0 {
		return 0, fmt.Errorf("--wait=%s: write a time, such as --wait=30s, or --wait alone", text)
	}
	return wait, nil
}

// ParseAddresses reads addresses that a person has named, each once.
func ParseAddresses(texts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, text := range texts {
		addr, err := netip.ParseAddr(text)
		if err == nil && addr.Zone() == "" {
			addrs = append(addrs, addr.Unmap())
			continue
		}
		if _, notTime := time.ParseDuration(text); notTime == nil {
			return nil, fmt.Errorf("%q is not an IP address; a time stands behind the equals sign of --wait=%s", text, text)
		}
		return nil, fmt.Errorf("%q is not an IP address; write one without a length, such as 192.0.2.10", text)
	}
	return Unique(addrs), nil
}

// Unique returns the addresses without repetitions, in their order.
func Unique(addrs []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

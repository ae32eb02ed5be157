package ips

import (
	"fmt"
	"net/netip"
	"regexp"

	"berth/vrrp"
)

// Check is a health check of an address: a connection to a server. An address is healthy
// on a member while all its checks succeed, and always without any.
type Check struct {
	Type string `json:"type"` // TCP
	Host string `json:"host"` // a name or an address
	Port int    `json:"port"`
}

// TCP is the only type of checks.
const TCP = "TCP"

// Limits of what a caller may write.
const (
	MaxChecks   = 16   // of one address
	MaxInterval = 3600 // in seconds
)

// Parse returns the address of a spec, or an *InvalidError with the first of its mistakes,
// which does not repeat a text: something else can have been pasted there.
func (s Spec) Parse() (vrrp.FloatingIP, error) {
	ip, err := ParseAddress(s.IP)
	if err != nil {
		return ip, &InvalidError{fmt.Sprintf("invalid IP: %v", err)}
	}
	return ip, Change{&s.Checks, &s.KeepaliveInterval, &s.HealthcheckInterval}.Valid()
}

// Valid returns an *InvalidError with the first mistake of a change.
func (c Change) Valid() error {
	if c.Checks != nil {
		if n := len(*c.Checks); n > MaxChecks {
			return &InvalidError{fmt.Sprintf("%d health checks are too many: an address has %d at most", n, MaxChecks)}
		}
		for _, check := range *c.Checks {
			if err := check.Valid(); err != nil {
				return err
			}
		}
	}
	for _, interval := range []struct {
		name    string
		seconds *int
	}{{"keepalive_interval", c.KeepaliveInterval}, {"healthcheck_interval", c.HealthcheckInterval}} {
		if s := interval.seconds; s != nil && (*s < 0 || *s > MaxInterval) {
			return &InvalidError{fmt.Sprintf("invalid %s %d: it is in seconds, from 1 to %d, or 0 for the default", interval.name, *s, MaxInterval)}
		}
	}
	return nil
}

// hostName is a name as RFC 1123, section 2.1, has it; underscores are in use, too.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// zoneName is what the zone of a link-local address can be: the name of an interface, of
// IFNAMSIZ-1 bytes at most, or its number. Programs print it.
var zoneName = regexp.MustCompile(`^[A-Za-z0-9_.:@-]{1,15}$`)

// maxHost bounds a name (RFC 1035, section 2.3.4), with a dot at its end.
const maxHost = 254

// Valid returns an *InvalidError with the first mistake of a check.
func (c Check) Valid() error {
	if c.Type != TCP {
		return &InvalidError{"invalid health check type: TCP is the only one"}
	}
	addr, err := netip.ParseAddr(c.Host)
	if err == nil && addr.Zone() != "" && !zoneName.MatchString(addr.Zone()) || err != nil && (len(c.Host) > maxHost || !hostName.MatchString(c.Host)) {
		return &InvalidError{"invalid health check host: it is a host name or an IP address, without a port"}
	}
	switch {
	case c.Port < 0: // LinK's words
		return &InvalidError{fmt.Sprintf("health check port cannot be negative, and it is %d: write 1 to 65535", c.Port)}
	case c.Port == 0 || c.Port > 65535:
		return &InvalidError{fmt.Sprintf("invalid health check port %d: write 1 to 65535", c.Port)}
	}
	return nil
}

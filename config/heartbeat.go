package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"berth/internal/section"
)

// Heartbeat is how `berth watch` agrees with its peers on the owner of each of the
// managed addresses.
type Heartbeat struct {
	Given         bool          // the file has the section
	Listen        string        // UDP address and port; without an address all of this host
	Interval      time.Duration // between two heartbeats
	DeadRatio     int           // intervals without a heartbeat after which a peer counts as dead
	Priority      int           // from 0 to 255, the lowest is the owner
	Peers         []HostPort    // none with a SecurityGroup
	SecurityGroup string        // the servers of which are the peers; empty: Peers
	KeyFile       string        // empty: heartbeats are not signed
	KeyRollover   bool          // heartbeats without a signature are sent and taken, too
	Witness       string        // host and port that an owner must reach by TCP; empty: none
	ReleaseOnStop bool          // detach the addresses at the end if no peer lives
}

// HostPort is an address or the name of a host, and a port.
type HostPort struct {
	Host string
	Port uint16
}

// String returns both, as net.JoinHostPort.
func (h HostPort) String() string { return net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))) }

// Bounds of the heartbeat's keys.
const (
	minHeartbeat, maxHeartbeat = 100 * time.Millisecond, time.Minute // of interval
	minDeadRatio, maxDeadRatio = 2, 100
	maxPriority                = 255
)

// StateDirectory is where berth keeps what must outlive a boot, unless the key
// state-directory or systemd names another.
const StateDirectory = "/var/lib/berth"

// StateDirectoryIn returns where berth keeps what must outlive a boot: state-directory,
// else the first one that systemd has made for the unit (StateDirectory= in
// systemd.exec(5)), else StateDirectory.
func (c *Config) StateDirectoryIn(getenv func(string) string) string {
	made, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":")
	return cmp.Or(c.StateDirectory, made, StateDirectory)
}

// Watches reports whether heartbeats decide who owns the managed addresses.
func (c *Config) Watches() bool { return c.Heartbeat.Given }

// DeadTime is how long a peer may be silent before it counts as dead.
func (h *Heartbeat) DeadTime() time.Duration { return time.Duration(h.DeadRatio) * h.Interval }

func defaultHeartbeat() Heartbeat {
	return Heartbeat{Listen: ":12345", Interval: time.Second, DeadRatio: 3, Priority: 10}
}

// fillHeartbeat reads the section. Managed addresses, provider, election, pool and follow
// must have been read.
func fillHeartbeat(top *section.Section, c *Config) {
	h := &c.Heartbeat
	var peers []string
	s := top.Sub("heartbeat", section.Keys{
		"listen":          &h.Listen,
		"interval":        section.Duration{To: &h.Interval},
		"dead-ratio":      &h.DeadRatio,
		"priority":        &h.Priority,
		"peers":           &peers,
		"security-group":  &h.SecurityGroup,
		"key-file":        &h.KeyFile,
		"key-rollover":    &h.KeyRollover,
		"witness":         &h.Witness,
		"release-on-stop": &h.ReleaseOnStop,
	})
	if h.Given = top.Given("heartbeat"); !h.Given {
		return
	}
	if h.Interval < minHeartbeat || h.Interval > maxHeartbeat {
		s.Refuse("interval", h.Interval.String(), "a duration from 100ms to 1m")
	}
	if h.DeadRatio < minDeadRatio || h.DeadRatio > maxDeadRatio {
		s.Refuse("dead-ratio", strconv.Itoa(h.DeadRatio), "a whole number from 2 to 100")
	}
	if h.Priority < 0 || h.Priority > maxPriority {
		s.Refuse("priority", strconv.Itoa(h.Priority), "a whole number from 0 to 255; the host with the lowest one is the owner")
	}
	s.Path("key-file", h.KeyFile, "/etc/berth/heartbeat-key")
	if h.KeyRollover && !s.Given("key-file") {
		s.Refuse("key-rollover", "true without key-file, so that no heartbeat is signed", "key-file as well, or leave this key out")
	}
	port := listenPort(s, h.Listen)
	h.Peers = peersOf(s, peers, port)
	s.Exclusive("peers", "security-group")
	if s.Empty("peers") && !s.Given("security-group") && !s.Wrong("peers") {
		s.Missing("peers", "the other hosts, such as [192.0.2.2, lb3.example.com], or security-group")
	}
	if w := h.Witness; w != "" {
		if _, ok := parseHostPort(w, 0); !ok {
			s.Refuse("witness", "", "an address or a name with a TCP port, such as 192.0.2.1:443")
		}
	}
	if top.Empty("managed-addresses") {
		top.MissingFor(top.Line("heartbeat"), "managed-addresses", "the floating IPs whose owner the heartbeats decide, such as [192.0.2.10]")
	}
	c.refuseDeciders(top)
}

// refuseDeciders refuses what decides who owns an address beside the heartbeats.
func (c *Config) refuseDeciders(top *section.Section) {
	for _, other := range []struct {
		key, instead string
		given        bool
	}{
		{"election", "heartbeat out, for berth elect, or election, for berth watch", top.Given("election")},
		{"pool", "heartbeat out, for berth elect, or pool, for berth watch", c.Pool.Enabled},
		{"follow", "heartbeat out, for berth elect, or follow, for berth watch", top.Given("follow")},
	} {
		if other.given {
			top.Refuse(other.key, "a section beside heartbeat, so that two parts would decide who owns an address", "one of the two: leave "+other.instead)
		}
	}
}

// listenPort checks the address to listen at and returns its port.
func listenPort(s *section.Section, listen string) uint16 {
	host, port, err := net.SplitHostPort(listen)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil || perr != nil || n == 0 {
		s.Refuse("listen", "", "a UDP port, such as :12345, or an address of this host and a port, such as 192.0.2.1:12345")
		return 1 // the peers are not to blame
	}
	return uint16(n)
}

// peersOf reads the list of peers, each of whose items may be a list with commas.
func peersOf(s *section.Section, list []string, port uint16) (all []HostPort) {
	seen := map[HostPort]bool{}
	for i, item := range list {
		for text := range strings.SplitSeq(item, ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			peer, ok := parseHostPort(text, port)
			if !ok {
				s.RefuseItem("peers", i, "", "an address or a name, with or without a port, such as 192.0.2.2, lb2.example.com:12345 or [2001:db8::2]:12345")
				break
			}
			if !seen[peer] {
				seen[peer] = true
				all = append(all, peer)
			}
		}
	}
	return all
}

// parseHostPort reads an address or a name, with a port or, if there is a default, without.
func parseHostPort(text string, port uint16) (HostPort, bool) {
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if a, err := netip.ParseAddr(bare); err == nil && (bare == text || a.Is6()) {
		return HostPort{a.Unmap().String(), port}, port != 0 && usablePeer(a)
	}
	host := text
	if strings.Contains(text, ":") {
		var err error
		var written string
		if host, written, err = net.SplitHostPort(text); err != nil {
			return HostPort{}, false
		}
		n, err := strconv.ParseUint(written, 10, 16)
		if err != nil {
			return HostPort{}, false
		}
		port = uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return HostPort{a.Unmap().String(), port}, port != 0 && usablePeer(a)
	}
	return HostPort{strings.ToLower(host), port}, port != 0 && isServerName(host) && !looksLikeAddress(host)
}

// looksLikeAddress reports whether the last part of a name is a number, which no name of a
// host ends in (RFC 3696, section 2): it is an address with a mistake.
func looksLikeAddress(host string) bool {
	last := host[strings.LastIndex(host, ".")+1:]
	return strings.Trim(last, "0123456789") == ""
}

// usablePeer reports whether an address can be that of one other host.
func usablePeer(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() }

// MinKey is the least length of the key of the heartbeats, in bytes.
const MinKey = 16

// Key returns the key that signs the heartbeats, nil without one. The error is a
// *section.Problem: the file cannot be read, other users can read it, or it is too short.
func (h *Heartbeat) Key() ([]byte, error) {
	if h.KeyFile == "" {
		return nil, nil
	}
	key, err := ReadSecret(h.KeyFile)
	if err == nil && len(key) < MinKey {
		err = fmt.Errorf("%s has less than %d bytes; make a key with: openssl rand -base64 32", h.KeyFile, MinKey)
	}
	if err != nil {
		return nil, &section.Problem{Key: "heartbeat.key-file", Text: err.Error()}
	}
	return []byte(key.Reveal()), nil
}

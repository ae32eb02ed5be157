package config

import (
	"fmt"
	"net/textproto"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"berth/internal/journal"
	"berth/internal/section"

	"go.uber.org/zap"
)

// Health is one health check: exactly one of the kinds, and when it counts.
type Health struct {
	// Name is that of the configuration, or the kind and the target. Checks of one name
	// are the same check, however many lists have it.
	Name     string
	Interval time.Duration // between the beginnings of two runs
	Timeout  time.Duration // of one run; not longer than Interval
	Rise     int           // how many good runs in a row make it well
	Fall     int           // how many bad ones make it unwell

	HTTP     *HTTPCheck
	TCP      *TCPCheck
	Exec     *ExecCheck
	Postgres *PostgresCheck
	GRPC     *GRPCCheck

	line  int    // of the kind
	place string // of the kind, for messages
}

// HTTPCheck asks an HTTP server.
type HTTPCheck struct {
	URL             string
	Method          string
	Codes           [][2]int // ranges of status codes that are good, with both ends
	Contains        string
	Matches         *regexp.Regexp
	Headers         map[string]string // may be secret
	CAFile          string            // instead of the system's authorities
	CertFile        string
	KeyFile         string
	FollowRedirects bool
}

// TCPCheck connects.
type TCPCheck struct {
	Address string // host and port, or unix: and the path of a socket
	Banner  string // what the first bytes of the server must contain
}

// ExecCheck starts a program.
type ExecCheck struct {
	Command     []string // not empty; the program's path or name, and its arguments
	Environment map[string]string
}

// PostgresCheck asks a PostgreSQL server. One of DSN and DSNFile is given.
type PostgresCheck struct {
	DSN     Secret
	DSNFile string
	Query   string
	Expect  string // the first column of the first row; empty: any
}

// ReadDSN returns the connection string. A file that has it is read now, and refused if
// every user can read it.
func (p *PostgresCheck) ReadDSN() (string, error) {
	if p.DSNFile == "" {
		return p.DSN.Reveal(), nil
	}
	dsn, err := ReadSecret(p.DSNFile)
	return dsn.Reveal(), err
}

// GRPCCheck asks a server that speaks grpc.health.v1.
type GRPCCheck struct {
	Address string // host and port, or unix: and the path of a socket
	Service string // empty: the server as a whole
}

// Problem adds the line and the key of the check to an error about it.
func (h Health) Problem(err error) error {
	return &section.Problem{Line: h.line, Key: h.place, Text: err.Error()}
}

// HealthChecks returns the checks of the whole configuration, each once.
func (c *Config) HealthChecks() []Health {
	lists := [][]Health{c.Health, c.Pool.Health, c.Election.Health}
	for _, in := range c.Election.Instances {
		lists = append(lists, in.Health)
	}
	return distinct(lists...)
}

// HealthOf returns the names of the checks that must be well for this host to own an
// instance of the election, or for PoolInstance a part of the pool, each once.
func (c *Config) HealthOf(instance string) []string {
	if c.Pool.Enabled && instance == PoolInstance {
		return healthNames(c.Health, c.Pool.Health)
	}
	lists := [][]Health{c.Health, c.Election.Health}
	for _, in := range c.Election.Instances {
		if in.Name == instance {
			lists = append(lists, in.Health)
		}
	}
	return healthNames(lists...)
}

// HealthOfAdded returns the names of the checks that must be well for this host to own an
// address that is added at run time, each once.
func (c *Config) HealthOfAdded() []string { return healthNames(c.Health, c.Election.Health) }

// HealthConcerns returns the instances of the election, and PoolInstance for the pool, for
// which a check must be well; nil for all, those that are added at run time included.
func (c *Config) HealthConcerns(check string) []string {
	if c.Adds() && slices.Contains(c.HealthOfAdded(), check) {
		return nil
	}
	all := c.Election.Names()
	if c.Pool.Enabled {
		all = append(all, PoolInstance)
	}
	return slices.DeleteFunc(all, func(instance string) bool { return !slices.Contains(c.HealthOf(instance), check) })
}

// healthNames returns the names of the checks of some lists, each once.
func healthNames(lists ...[]Health) []string {
	var names []string
	for _, h := range distinct(lists...) {
		names = append(names, h.Name)
	}
	return names
}

func distinct(lists ...[]Health) []Health {
	var all []Health
	for _, h := range slices.Concat(lists...) {
		if find(all, h.Name) == nil {
			all = append(all, h)
		}
	}
	return all
}

// WarnOfHealth tells of the passwords of health checks that every user can read.
func (c *Config) WarnOfHealth(j *journal.Journal) {
	for _, h := range c.HealthChecks() {
		if c.OthersCanRead && h.secret() {
			j.Tell(secretReadable, zap.String("key", h.place), zap.String("file", c.Path), zap.Int("line", h.line))
		}
	}
}

// harmless are the headers that no key or password is sent in. All others may have one.
var harmless = []string{"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Content-Type", "Host", "Origin",
	"Pragma", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// secret reports whether the check has what may be a secret in the configuration itself.
func (h Health) secret() bool {
	switch {
	case h.Postgres != nil:
		text := h.Postgres.DSN.Reveal()
		if u, err := url.Parse(text); err == nil && u.User != nil && oneUser(u, text) {
			_, set := u.User.Password()
			return set || strings.Contains(u.RawQuery, "password")
		}
		return strings.Contains(text, "password") || strings.Contains(text, "@")
	case h.HTTP != nil:
		for name := range h.HTTP.Headers {
			if !slices.Contains(harmless, textproto.CanonicalMIMEHeaderKey(name)) {
				return true
			}
		}
		u, err := url.Parse(h.HTTP.URL)
		return err != nil || strings.Contains(u.RawQuery, "=") || !oneUser(u, h.HTTP.URL)
	case h.Exec != nil:
		return len(h.Exec.Environment) > 0
	}
	return false
}

// Bounds and defaults of a check.
const (
	leastInterval   = 100 * time.Millisecond
	defaultInterval = 2 * time.Second
	defaultTimeout  = time.Second
	maxInterval     = time.Hour
	maxStreak       = 100
	maxName         = 128
)

var nameWanted = fmt.Sprintf("a text of one line and %d bytes at most", maxName)

// unprintable reports whether a character disturbs a terminal or a table.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// fillHealth reads the list of health checks that a section has under the key health.
// before are the checks that were read before: one of the same name must be the same.
// A section that has such a list declares the key as a section.List.
func fillHealth(s *section.Section, before []Health) []Health {
	var all []Health
	for i := range s.Len("health") {
		h := Health{Interval: defaultInterval, Timeout: defaultTimeout, Rise: 2, Fall: 3}
		item := s.Item("health", i, section.Keys{
			"http": section.Any, "tcp": section.Any, "exec": section.Any, "postgres": section.Any, "grpc": section.Any,
			"name":     &h.Name,
			"interval": section.Duration{To: &h.Interval},
			"timeout":  section.Duration{To: &h.Timeout},
			"rise":     &h.Rise,
			"fall":     &h.Fall,
		})
		fillTimes(item, &h)
		target := fillKind(item, &h)
		if h.Name == "" {
			h.Name = target
		} else if len(h.Name) > maxName || strings.ContainsFunc(h.Name, unprintable) {
			item.Refuse("name", "", nameWanted)
		}
		if h.Name == "" {
			continue // a problem is known
		}
		if other := find(slices.Concat(before, all), h.Name); other != nil && !h.same(*other) {
			item.Refuse("name", fmt.Sprintf("a check with the name of another one, on line %d, that differs from it", other.line), "a name of its own")
			continue
		}
		all = append(all, h)
	}
	return all
}

func find(all []Health, name string) *Health {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

// same reports whether two checks differ at most in where they stand.
func (h Health) same(other Health) bool {
	other.line, other.place = h.line, h.place
	return reflect.DeepEqual(h, other)
}

// fillTimes checks when a check runs and counts. A default gives way to what is written.
func fillTimes(item *section.Section, h *Health) {
	switch {
	case h.Timeout <= h.Interval:
	case !item.Given("timeout"):
		h.Timeout = h.Interval
	case !item.Given("interval"):
		h.Interval = h.Timeout
	default:
		item.Refuse("timeout", h.Timeout.String(), "no more than the interval, "+h.Interval.String())
	}
	switch {
	case h.Interval < leastInterval:
		item.Refuse("interval", h.Interval.String(), leastInterval.String()+" or more")
	case h.Interval > maxInterval && item.Given("interval"):
		item.Refuse("interval", h.Interval.String(), maxInterval.String()+" or less")
	case h.Interval > maxInterval:
		item.Refuse("timeout", h.Timeout.String(), maxInterval.String()+" or less")
	}
	for _, streak := range []struct {
		key string
		n   int
	}{{"rise", h.Rise}, {"fall", h.Fall}} {
		if streak.n < 1 || streak.n > maxStreak {
			item.Refuse(streak.key, strconv.Itoa(streak.n), fmt.Sprintf("a whole number from 1 to %d", maxStreak))
		}
	}
}

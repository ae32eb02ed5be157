package config

import (
	"net/url"
	"strings"
	"time"

	"berth/vrrp"

	"gopkg.in/yaml.v3"
)

// Config is a checked configuration. It is immutable after Load or Parse.
type Config struct {
	Path string // the file, for messages

	// LockFileTemplate holds %s for the name of the instance, the last one if
	// there are several. OwnLockDirectory is set for berth's default, whose
	// directory berth makes for itself.
	LockFileTemplate   string
	OwnLockDirectory   bool
	LockTimeout        time.Duration
	KeepalivedConfig   string
	KeepalivedConfigID string // empty: host name up to the first dot
	KeepalivedVersion  string // empty: that of the installed keepalived
	KeepalivedPIDFile  string
	RunDirectory       string
	LogFile            string            // of the notify script, the service and elections; empty: see package logs
	ManagedAddresses   []vrrp.FloatingIP // instead of the instance's own
	RefreshInterval    time.Duration
	RefreshTimeout     time.Duration
	BackOff            BackOff
	Metrics            Metrics
	Etcd               Etcd
	Fencing            Fencing
	Election           Election
	Provider           string               // as written, may be empty
	Sections           map[string]yaml.Node // provider sections by name, undecoded
	OthersCanRead      bool                 // the file's mode lets everybody read it
}

// Metrics is where a service shows its metrics; empty values are nowhere.
type Metrics struct {
	Listen   string // address and port, for /metrics
	Textfile string // kept up to date, for the textfile collector of node_exporter
}

// Etcd is where an etcd cluster is, and who this host is there.
type Etcd struct {
	Endpoints    []string
	CAFile       string // instead of the system's authorities
	CertFile     string
	KeyFile      string
	Username     string
	Password     Secret
	PasswordFile string
	Prefix       string // ends in a slash
	Member       string // empty: host name
	LeaseTTL     time.Duration
}

// Fencing makes a MASTER also need the instance's lease.
type Fencing struct {
	Enabled    bool
	OnEtcdLoss string // Refuse or Allow
}

// What happens when etcd cannot be reached for longer than the lease lasts.
const (
	Refuse = "refuse"  // fencing: nothing is written without the lease
	Allow  = "allow"   // fencing: VRRP alone decides
	Free   = "release" // election: the addresses are given up in time
	Keep   = "keep"    // election: the owner stays
)

// Election is what `berth elect` campaigns for.
type Election struct {
	Interface  string // of the instances that name none
	OnEtcdLoss string // Free or Keep
	Instances  []ElectionInstance
	Announce   Announce
}

// ElectionInstance is addresses that have one owner.
type ElectionInstance struct {
	Name      string
	Interface string            // that gets the addresses; empty: none does, the instance has floating IPs alone
	Addresses []vrrp.FloatingIP // as /32 or /128 unless written with a length
}

// Announce is how often the owner of an address tells its neighbours.
type Announce struct {
	Count    int           // times, after it became the owner
	Interval time.Duration // between these
	Refresh  time.Duration // and then
}

// Least lease times, see docs/fencing.md.
const (
	minElectTTL   = 4 * time.Second
	minFencingTTL = 2 * time.Second
)

// BackOff is how failed attempts are spaced, before jitter.
type BackOff struct {
	InitialInterval time.Duration
	Multiplier      float64 // at least 1
	MaxInterval     time.Duration
	MaxElapsedTime  time.Duration // 0: never back to the normal interval
}

// LockFile returns the path of the lock of an instance. The name is escaped
// as a path segment of a URL is, so that it can hold any byte.
func (c *Config) LockFile(instance string) string {
	return fillTemplate(c.LockFileTemplate, instance)
}

// FormerLockFile returns the path that was the default of earlier versions of
// berth for the lock of an instance, or "" where the configuration names a
// template. As long as such a version may run, or come back, its lock counts too.
func (c *Config) FormerLockFile(instance string) string {
	if !c.OwnLockDirectory {
		return ""
	}
	return fillTemplate("/var/lock/berth-%s.lock", instance)
}

func fillTemplate(template, instance string) string {
	at := strings.LastIndex(template, "%s")
	return template[:at] + EscapeName(instance) + template[at+len("%s"):]
}

// EscapeName makes one file name of an instance name, which may hold any byte.
func EscapeName(instance string) string {
	switch instance {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(instance)
}

// defaults are the values of a file that says nothing.
func defaults() Config {
	return Config{
		LockTimeout:       10 * time.Second,
		KeepalivedConfig:  "/etc/keepalived/keepalived.conf",
		KeepalivedPIDFile: "/run/keepalived.pid",
		RunDirectory:      "/run/berth",
		RefreshInterval:   time.Minute,
		RefreshTimeout:    10 * time.Second,
		BackOff: BackOff{
			InitialInterval: time.Second,
			Multiplier:      1.1,
			MaxInterval:     10 * time.Second,
		},
		Etcd:     Etcd{Prefix: "/berth/", LeaseTTL: 6 * time.Second},
		Fencing:  Fencing{OnEtcdLoss: Refuse},
		Election: Election{OnEtcdLoss: Free, Announce: Announce{Count: 5, Interval: time.Second, Refresh: time.Minute}},
		Sections: map[string]yaml.Node{},
	}
}

// FloatyLockFileTemplate is the default of lock-file-template for a binary
// called as floaty.
const FloatyLockFileTemplate = "/var/lock/floaty-%s.lock"

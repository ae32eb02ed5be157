package config

import (
	"time"

	"berth/internal/section"
	"berth/vrrp"

	"gopkg.in/yaml.v3"
)

// Config is a checked configuration. It is immutable after Load or Parse. Each
// section of the file has a type and a file of this package; the fields here are
// the keys that stand in no section, see top.go, and the sections.
type Config struct {
	Path string // of the file, for messages

	// LockFileTemplate holds %s for the name of the instance; in the default, which
	// can have several, the last one counts. OwnLockDirectory is set for berth's
	// default, whose directory berth makes for itself.
	LockFileTemplate   string
	OwnLockDirectory   bool
	LockTimeout        time.Duration
	KeepalivedConfig   string
	KeepalivedConfigID string // empty: host name up to the first dot
	KeepalivedVersion  string // empty: that of the installed keepalived
	KeepalivedPIDFile  string
	RunDirectory       string
	StateDirectory     string            // as written; see StateDirectoryIn
	LogFile            string            // of the notify script, the service and elections; empty: see package logs
	ManagedAddresses   []vrrp.FloatingIP // instead of the instance's own
	RefreshInterval    time.Duration
	RefreshTimeout     time.Duration

	BackOff   BackOff
	Metrics   Metrics
	Etcd      Etcd
	Fencing   Fencing
	Follow    Follow
	Election  Election
	Pool      Pool
	Heartbeat Heartbeat
	API       API
	Health    []Health             // checks of this host
	Provider  string               // as written, may be empty
	Sections  map[string]yaml.Node // provider sections by name, undecoded

	secrets       map[string]Secret // of sections, beside the text, see Options
	OthersCanRead bool              // the file's mode lets every user read it
	doc           *yaml.Node        // the whole file, for Located; may be nil
	explain       func(*section.Problem) *Problem
}

package config

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// raw is the file as written. A pointer that stays nil was not given, or given
// as null or as an empty value, and leaves the default.
type raw struct {
	LockFileTemplate   string         `yaml:"lock-file-template"`
	LockTimeout        *duration      `yaml:"lock-timeout"`
	KeepalivedConfig   string         `yaml:"keepalived-config"`
	KeepalivedConfigID string         `yaml:"keepalived-config-id"`
	KeepalivedVersion  string         `yaml:"keepalived-version"`
	KeepalivedPIDFile  string         `yaml:"keepalived-pid-file"`
	RunDirectory       string         `yaml:"run-directory"`
	ManagedAddresses   []address      `yaml:"managed-addresses"`
	RefreshInterval    *duration      `yaml:"refresh-interval"`
	RefreshTimeout     *duration      `yaml:"refresh-timeout"`
	BackOff            rawBackOff     `yaml:"back-off"`
	Metrics            rawMetrics     `yaml:"metrics"`
	Etcd               rawEtcd        `yaml:"etcd"`
	Fencing            rawFencing     `yaml:"fencing"`
	Election           rawElection    `yaml:"election"`
	Provider           string         `yaml:"provider"`
	Sections           map[string]any `yaml:",inline"`
}

type rawMetrics struct {
	Listen   string `yaml:"listen"`
	Textfile string `yaml:"textfile"`
}

type rawEtcd struct {
	Endpoints    []string  `yaml:"endpoints"`
	CAFile       string    `yaml:"ca-file"`
	CertFile     string    `yaml:"cert-file"`
	KeyFile      string    `yaml:"key-file"`
	Username     string    `yaml:"username"`
	Password     string    `yaml:"password"`
	PasswordFile string    `yaml:"password-file"`
	Prefix       string    `yaml:"prefix"`
	Member       string    `yaml:"member"`
	LeaseTTL     *duration `yaml:"lease-ttl"`
}

type rawFencing struct {
	Enabled    bool   `yaml:"enabled"`
	OnEtcdLoss string `yaml:"on-etcd-loss"`
}

type rawElection struct {
	Interface  string                `yaml:"interface"`
	OnEtcdLoss string                `yaml:"on-etcd-loss"`
	Instances  []rawElectionInstance `yaml:"instances"`
	Announce   rawAnnounce           `yaml:"announce"`
}

type rawElectionInstance struct {
	Name      string    `yaml:"name"`
	Addresses []address `yaml:"addresses"`
}

type rawAnnounce struct {
	Count    *int      `yaml:"count"`
	Interval *duration `yaml:"interval"`
	Refresh  *duration `yaml:"refresh"`
}

type rawBackOff struct {
	InitialInterval *duration `yaml:"initial-interval"`
	Multiplier      *float64  `yaml:"multiplier"`
	MaxInterval     *duration `yaml:"max-interval"`
	MaxElapsedTime  *duration `yaml:"max-elapsed-time"`
}

// duration is a length of time as Go writes it, or a bare 0.
type duration struct {
	time.Duration
	line int // 0: not given, empty, or refused
}

func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return lineError(n.Line, "expects a duration such as 30s or 1m30s")
	}
	if n.Value == "" {
		return nil
	}
	v, err := time.ParseDuration(n.Value) // accepts a bare 0
	if err != nil {
		return lineError(n.Line, "%q is no duration; write it with its unit, such as 30s or 1m30s", n.Value)
	}
	if v < 0 {
		return lineError(n.Line, "%s is negative; a duration is 0 or more", n.Value)
	}
	d.Duration, d.line = v, n.Line
	return nil
}

// address is one entry of a list of addresses: an address, or an address with a
// prefix length. Host bits are kept.
type address struct {
	text string
	line int
}

func (a *address) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return lineError(n.Line, "expects an address such as 192.0.2.10 or 192.0.2.10/24")
	}
	a.text, a.line = n.Value, n.Line
	return nil
}

// lineError returns an error in the form in which yaml.v3 reports its own, so
// that one function presents both.
func lineError(line int, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...))}}
}

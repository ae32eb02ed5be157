package config

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/internal/rundir"
	"berth/internal/section"

	"gopkg.in/yaml.v3"
)

// keepalivedVersion is a version as keepalived numbers its releases; the last numbers may
// be left out.
var keepalivedVersion = regexp.MustCompile(`^\d{1,4}(\.\d{1,4}){0,2}$`)

// defaults are the values of a file that has no key.
func defaults() Config {
	return Config{
		LockTimeout:       10 * time.Second,
		KeepalivedConfig:  "/etc/keepalived/keepalived.conf",
		KeepalivedPIDFile: "/run/keepalived.pid",
		RunDirectory:      "/run/berth",
		RefreshInterval:   time.Minute,
		RefreshTimeout:    10 * time.Second,
		BackOff:           defaultBackOff(),
		Etcd:              defaultEtcd(),
		Fencing:           defaultFencing(),
		Follow:            defaultFollow(),
		Election:          defaultElection(),
		Pool:              defaultPool(),
		Heartbeat:         defaultHeartbeat(),
		Sections:          map[string]yaml.Node{},
	}
}

// fill puts the values of the document in the place of the defaults, and returns
// every problem of the document.
func fill(c *Config, doc *yaml.Node, o Options) []*section.Problem {
	var provider string
	var managed []string
	keys := section.Keys{
		"lock-file-template":   &c.LockFileTemplate,
		"lock-timeout":         section.Duration{To: &c.LockTimeout},
		"keepalived-config":    &c.KeepalivedConfig,
		"keepalived-config-id": &c.KeepalivedConfigID,
		"keepalived-version":   &c.KeepalivedVersion,
		"keepalived-pid-file":  &c.KeepalivedPIDFile,
		"run-directory":        &c.RunDirectory,
		"state-directory":      &c.StateDirectory,
		"log-file":             &c.LogFile,
		"managed-addresses":    &managed,
		"refresh-interval":     section.Duration{To: &c.RefreshInterval},
		"refresh-timeout":      section.Duration{To: &c.RefreshTimeout},
		"back-off":             section.Any,
		"metrics":              section.Any,
		"etcd":                 section.Any,
		"fencing":              section.Any,
		"follow":               section.Any,
		"election":             section.Any,
		"health":               section.List,
		"pool":                 section.Any,
		"heartbeat":            section.Any,
		"api":                  section.Any,
		"provider":             &provider,
	}
	for name := range o.Sections {
		keys[name] = section.Any
	}
	s := section.Read("", doc, keys)
	fillPaths(s, c)
	if v := c.KeepalivedVersion; v != "" && !keepalivedVersion.MatchString(v) {
		s.Refuse("keepalived-version", "", "a version such as 2.2.7")
	}
	// An address that is there twice is moved once, as by floaty.
	seen := map[netip.Addr]bool{}
	for _, ip := range addresses(s, "managed-addresses", managed) {
		if !seen[ip.Addr()] {
			seen[ip.Addr()] = true
			c.ManagedAddresses = append(c.ManagedAddresses, ip)
		}
	}
	if len(o.Sections) > 0 {
		s.Choice("provider", &c.Provider, provider, slices.Sorted(maps.Keys(o.Sections))...)
	} else {
		c.Provider = provider
	}
	fillBackOff(s, c)
	fillMetrics(s, c)
	fillAPI(s, c)
	fencing := fillFencing(s, c)
	c.Health = fillHealth(s, nil)
	pool := fillPool(s, c)
	fillFollow(s, c)
	if c.Pool.Enabled {
		c.Follow.refuse(pool, "enabled")
	}
	if c.Fencing.Enabled && c.Follow.Decides() {
		c.Follow.refuse(fencing, "enabled")
		c.Fencing.Enabled = false // what it would need is not missing
	}
	instances := fillElection(s, c)
	fillEtcd(s, c)
	completePool(s, pool, c)
	fillHeartbeat(s, c)
	checkKeys(instances, c)
	all := problemsOf(s.Err())
	for _, name := range slices.Sorted(maps.Keys(o.Sections)) {
		if node := s.Node(name); node != nil {
			all = append(all, problemsOf(o.Sections[name](node))...)
			c.Sections[name] = *node
		}
	}
	return all
}

// fillPaths checks the paths, and completes that of the locks.
func fillPaths(s *section.Section, c *Config) {
	s.Path("keepalived-config", c.KeepalivedConfig, "/etc/keepalived/keepalived.conf")
	s.Path("keepalived-pid-file", c.KeepalivedPIDFile, "/run/keepalived.pid")
	s.Path("run-directory", c.RunDirectory, "/run/berth")
	s.Path("state-directory", c.StateDirectory, StateDirectory)
	s.Path("log-file", c.LogFile, "/var/log/berth.log or /proc/1/fd/2")
	own := rundir.Dir(c.RunDirectory).LockFileTemplate()
	if c.OwnLockDirectory = c.LockFileTemplate == "" || c.LockFileTemplate == own; c.OwnLockDirectory {
		c.LockFileTemplate = own
	} else if t := c.LockFileTemplate; strings.Count(t, "%s") != 1 || strings.Count(t, "%") != 1 {
		s.Refuse("lock-file-template", "", "a path with exactly one %s, for the name of the instance, and no other %, such as /run/lock/berth-%s.lock")
	} else {
		s.Path("lock-file-template", t, "/run/lock/berth-%s.lock")
	}
}

package app

import (
	"net/netip"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/probe"
	"berth/internal/reading"
	"berth/keepalivedconf"
)

// newVersions returns what finds out as which version keepalived.conf is to be read: as
// the keepalived does that runs or is installed, unless the configuration says otherwise.
func newVersions(c *config.Config, runDirectory string, k *keepalived.Daemon, j *journal.Journal) *keepalived.Versions {
	return keepalived.NewVersions(keepalived.VersionOptions{Configured: c.KeepalivedVersion, RunDirectory: runDirectory, Process: k.Parent, Journal: j})
}

// readAs returns the same for a command that only reports, and which options follow from
// it.
func readAs(c *config.Config) (keepalived.Version, keepalivedconf.Options) {
	o := keepalivedconf.Options{ConfigID: c.KeepalivedConfigID}
	conf, _ := keepalivedconf.ParseFile(c.KeepalivedConfig, o) // for its FIFOs, which tell which keepalived is meant
	v := newVersions(c, "", probe.Beside(c.KeepalivedPIDFile, conf), nil).Report()
	o.Version = v.ReadAs
	return v, o
}

// newBook returns the book of the configured keepalived.conf and of what k has loaded
// of it.
func newBook(c *config.Config, version func() string, k *keepalived.Daemon, bound func() (func(netip.Addr) bool, error), j *journal.Journal) *reading.Book {
	return &reading.Book{
		Path: c.KeepalivedConfig, Options: keepalivedconf.Options{ConfigID: c.KeepalivedConfigID}, Version: version, Managed: c.ManagedAddresses, RunDirectory: c.RunDirectory,
		Process: k.Parent, Ask: k.Addresses, Bound: bound, Journal: j,
	}
}

// interfaces returns how keepalived's configuration is told which interfaces there are.
func interfaces(cfg *config.Config, conf *keepalivedconf.Config) func(name string) (mtu int, exists bool) {
	return presence.Interfaces(probe.Beside(cfg.KeepalivedPIDFile, conf).Parent())
}

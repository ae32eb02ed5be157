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

// readingOptions returns how keepalived.conf is to be read: as the installed
// keepalived does, unless the configuration says otherwise.
func readingOptions(c *config.Config, runDirectory string, j *journal.Journal) keepalivedconf.Options {
	return keepalivedconf.Options{ConfigID: c.KeepalivedConfigID, Version: keepalived.Version(c.KeepalivedVersion, runDirectory, j)}
}

// newBook returns the book of the configured keepalived.conf and of what k has loaded
// of it.
func newBook(c *config.Config, o keepalivedconf.Options, k *keepalived.Daemon, bound func() (func(netip.Addr) bool, error), j *journal.Journal) *reading.Book {
	return &reading.Book{
		Path: c.KeepalivedConfig, Options: o, Managed: c.ManagedAddresses, RunDirectory: c.RunDirectory,
		Process: k.Parent, Ask: k.Addresses, Bound: bound, Journal: j,
	}
}

// interfaces returns how keepalived's configuration is told which interfaces there are.
func interfaces(cfg *config.Config, conf *keepalivedconf.Config) func(name string) (mtu int, exists bool) {
	return presence.Interfaces(probe.Beside(cfg.KeepalivedPIDFile, conf).Parent())
}

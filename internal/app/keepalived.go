package app

import (
	"errors"
	"net/netip"
	"os"

	"berth/config"
	"berth/fifo"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/selftest"
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

// beside is the keepalived beside a command that only reports: the one that has a FIFO
// of keepalived.conf open, or that of the pid file.
func beside(cfg *config.Config, conf *keepalivedconf.Config) *keepalived.Daemon {
	o := keepalived.Options{PIDFile: cfg.KeepalivedPIDFile}
	if conf != nil && len(conf.FIFOs) > 0 {
		o.Belongs = func(pid int) bool {
			for _, path := range conf.FIFOs {
				if open, _ := fifo.OpenIn(pid, path); open {
					return true
				}
			}
			return false
		}
	}
	return keepalived.New(o)
}

// keepalivedProcess is the probe of selftest.Process.
func keepalivedProcess(cfg *config.Config, conf *keepalivedconf.Config) (int, error) {
	return beside(cfg, conf).Watchable()
}

// fifos is the probe of selftest.FIFOs.
func fifos(cfg *config.Config, conf *keepalivedconf.Config) []selftest.FIFO {
	if conf == nil {
		return nil
	}
	k, err := beside(cfg, conf).Current()
	var all []selftest.FIFO
	for _, path := range conf.FIFOs {
		f := selftest.FIFO{Path: path, Keepalived: k.Parent}
		if err == nil {
			f.Cure = keepalived.Reload(cfg.KeepalivedConfig, k.Parent)
			for _, pid := range k.Writers() {
				open, err := fifo.OpenIn(pid, path)
				f.Open = f.Open || open
				f.Err = errors.Join(f.Err, err)
			}
			if f.Open {
				f.Err = nil
			}
		}
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			f.Missing = true
		}
		reader, err := fifo.ReaderOf(path)
		f.Reader, f.Err = reader, errors.Join(f.Err, err)
		all = append(all, f)
	}
	return all
}

// interfaces returns how keepalived's configuration is told which interfaces there are.
func interfaces(cfg *config.Config, conf *keepalivedconf.Config) func(name string) (mtu int, exists bool) {
	return presence.Interfaces(beside(cfg, conf).Parent())
}

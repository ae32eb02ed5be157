package probe

import (
	"errors"
	"os"

	"berth/fifo"
	"berth/internal/keepalived"
	"berth/keepalivedconf"
	"berth/selftest"
)

// Beside returns the keepalived beside a command that only reports: the one that has a
// FIFO of keepalived.conf open, or that of the pid file. conf may be nil.
func Beside(pidFile string, conf *keepalivedconf.Config) *keepalived.Daemon {
	o := keepalived.Options{PIDFile: pidFile}
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

// FIFOs returns which processes have each FIFO of keepalived.conf open. path is that of
// keepalived.conf, for the cure; conf may be nil.
func FIFOs(path, pidFile string, conf *keepalivedconf.Config) []selftest.FIFO {
	if conf == nil {
		return nil
	}
	k, err := Beside(pidFile, conf).Current()
	var all []selftest.FIFO
	for _, name := range conf.FIFOs {
		f := selftest.FIFO{Path: name, Keepalived: k.Parent}
		if err == nil {
			f.Cure = keepalived.Reload(path, k.Parent)
			for _, pid := range k.Writers() {
				open, err := fifo.OpenIn(pid, name)
				f.Open = f.Open || open
				f.Err = errors.Join(f.Err, err)
			}
			if f.Open {
				f.Err = nil
			}
		}
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			f.Missing = true
		}
		reader, err := fifo.ReaderOf(name)
		f.Reader, f.Err = reader, errors.Join(f.Err, err)
		all = append(all, f)
	}
	return all
}

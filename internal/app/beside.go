package app

import (
	"errors"
	"net"
	"os"

	"berth/config"
	"berth/fifo"
	"berth/internal/pidfd"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/keepalivedconf"
	"berth/selftest"
)

// beside is the keepalived that runs beside a command that only looks: the one
// that has a FIFO of keepalived.conf open, or that of the pid file.
func beside(cfg *config.Config, conf *keepalivedconf.Config) (supervise.Keepalived, error) {
	if conf == nil || len(conf.FIFOs) == 0 {
		return supervise.Find(cfg.KeepalivedPIDFile, nil)
	}
	return supervise.Find(cfg.KeepalivedPIDFile, func(pid int) bool {
		for _, path := range conf.FIFOs {
			if open, _ := fifo.OpenIn(pid, path); open {
				return true
			}
		}
		return false
	})
}

// keepalivedProcess is the probe of selftest.Process.
func keepalivedProcess(cfg *config.Config, conf *keepalivedconf.Config) (int, error) {
	k, err := beside(cfg, conf)
	if err != nil {
		return 0, err
	}
	p, err := pidfd.Open(k.Parent)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return k.Parent, p.Polled()
}

// fifos is the probe of selftest.FIFOs.
func fifos(cfg *config.Config, conf *keepalivedconf.Config) []selftest.FIFO {
	if conf == nil {
		return nil
	}
	k, err := beside(cfg, conf)
	var all []selftest.FIFO
	for _, path := range conf.FIFOs {
		f := selftest.FIFO{Path: path, Keepalived: k.Parent}
		if err == nil {
			f.Cure = reopen(cfg.KeepalivedConfig, k.Parent)
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

// interfaces returns how keepalived's configuration is to be told which interfaces
// there are: those of the network namespace in which keepalived runs, and this
// process's own where that cannot be looked into.
func interfaces(cfg *config.Config, conf *keepalivedconf.Config) func(name string) (mtu int, exists bool) {
	k, err := beside(cfg, conf)
	if err == nil {
		if same, err := truth.SameNetwork(k.Parent); err == nil && !same {
			return func(name string) (int, bool) {
				mtu, ok, err := truth.Link(k.Parent, name)
				if err != nil {
					return machineInterface(name)
				}
				return mtu, ok
			}
		}
	}
	return machineInterface
}

func machineInterface(name string) (int, bool) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return ifi.MTU, true
}

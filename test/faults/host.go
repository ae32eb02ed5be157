package faults

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// A Host is one of the machines that may own the addresses.
type Host struct {
	Node  *testnet.Node    // another one after a death
	Berth *testnet.Process // the last one started
	// Patroni is the host's member of the cluster, with Options.Patroni.
	Patroni *lab.Patroni

	number  int
	lab     *Lab
	member  string       // in etcd, if it is not the host's name
	service *service     // with Options.Health
	client  *http.Client // of the host's API
}

// Name is the host's name, and by default that of its member in etcd.
func (h *Host) Name() string { return fmt.Sprintf("host%d", h.number) }

func (h *Host) servicePort() string { return h.Name() + "s" }
func (h *Host) etcdPort() string    { return h.Name() + "e" }

func (h *Host) own6() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8::1%d/64", h.number))
}

// boot makes the machine, connected and configured; berth does not run.
func (h *Host) boot() error {
	l := h.lab
	n, err := l.Node(h.Name())
	if err != nil {
		return err
	}
	h.Node = n
	if err := l.Switch.Observe(n); err != nil {
		return err
	}
	if err := errors.Join(
		l.join(n, ServiceLink, "service", h.servicePort(), fmt.Sprintf("192.0.2.1%d/24", h.number), h.own6().String()),
		l.join(n, EtcdLink, "etcd", h.etcdPort(), h.etcdAddress().String()+"/24"),
		n.Install(BerthPath, l.options.Berth, 0o755),
		n.WriteFile(ConfigPath, h.config(), 0o600),
		l.askNameServers(n),
		n.WriteFile(clockPath, strings.Repeat("\x00", 8), 0o600),
	); err != nil {
		return err
	}
	h.client = h.newClient(1, func() {})
	if l.options.Health {
		if err := h.serve(); err != nil {
			return err
		}
	}
	if l.options.Patroni {
		if err := h.addPatroni(); err != nil {
			return err
		}
	}
	// A machine that returns has its old network card.
	mac := net.HardwareAddr{2, 0, 0, 0, 1, byte(h.number)}
	l.record.host(n, mac)
	return n.SetHardwareAddress(ServiceLink, mac)
}

func (h *Host) etcdAddress() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 78, 0, byte(10 + h.number)})
}

// Start starts berth.
func (h *Host) Start() error {
	args := []string{BerthPath, "elect", ConfigPath}
	if h.lab.options.Link {
		// Variables of the machine, as HOSTNAME, are not those of the host.
		args = []string{"/usr/bin/env", "-i", "INTERFACE=" + ServiceLink, "ETCD_HOSTS=" + h.lab.Endpoints(), BerthPath, "link"}
		// The commands that read a configuration find the one that LinK's environment means.
		if err := h.Do(context.Background(), strings.Join(args, " ")+" --print-config >"+ConfigPath); err != nil {
			return err
		}
	}
	if h.lab.options.Clock {
		args = append([]string{"/usr/bin/env", clockEnv + "=" + clockPath}, args...)
	}
	p, err := h.Node.Start("berth", args[0], args[1:]...)
	if err != nil {
		return err
	}
	h.lab.Record(p.Log)
	h.Berth = p
	return nil
}

// Running reports whether the host's berth lives.
func (h *Host) Running() bool { return h.Berth != nil && h.Berth.Exited().IsZero() }

// Signal sends berth a signal, and waits for its end if it is a deadly one.
func (h *Host) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := h.Berth.Signal(sig); err != nil {
		return err
	}
	switch sig {
	case unix.SIGKILL, unix.SIGTERM, unix.SIGUSR2:
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	select {
	case <-h.Berth.Done():
	case <-ctx.Done():
		return fmt.Errorf("wait for berth of %s to end on %v: %w", h.Name(), sig, context.Cause(ctx))
	}
	if code := h.Berth.ExitCode(); sig != unix.SIGKILL && code != 0 {
		return fmt.Errorf("berth of %s ended on %v with status %d: want 0", h.Name(), sig, code)
	}
	return nil
}

// Die ends the host as a loss of power does.
func (h *Host) Die() error {
	// From here on no other machine can see what the host's kernel still does.
	err := errors.Join(h.lab.Switch.Unplug(h.servicePort()), h.lab.Switch.Unplug(h.etcdPort()))
	h.lab.record.dead(h.Node)
	if h.service != nil {
		err = errors.Join(err, h.service.close())
	}
	return errors.Join(err, h.Node.Close(), h.lab.Switch.Remove(h.servicePort()), h.lab.Switch.Remove(h.etcdPort()))
}

// Do runs a command line of the host's shell.
func (h *Host) Do(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	if out, err := h.Node.Run(ctx, "/bin/sh", "-c", command); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// SetClock makes the wall clock of the host's berth go wrong by d, in whole
// seconds. It needs Options.Clock.
func (h *Host) SetClock(d time.Duration) error {
	return h.Node.Do(func() error {
		f, err := unix.Open(clockPath, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(f)
		_, err = unix.Pwrite(f, binary.NativeEndian.AppendUint64(nil, uint64(int64(d/time.Second))), 0)
		return err
	})
}

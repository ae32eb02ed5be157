package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/internal/testnet"
)

// Paths on a host, as an operator has them, but for Syslog: the lab's logger
// writes into this FIFO.
const (
	BerthPath      = "/usr/bin/berth"
	BerthConf      = "/etc/berth.yml"
	FIFOPath       = "/run/berth/keepalived.fifo"
	KeepalivedConf = "/etc/keepalived/keepalived.conf"
	NotifyPath     = "/usr/lib/berth/notify"
	Syslog         = "/run/syslog"
)

// A Host is a server of the account, with keepalived and berth installed.
type Host struct {
	*testnet.Node
	UUID  string
	Addr4 netip.Addr
	Addr6 netip.Addr

	lab  *Lab
	port string // the other end of its cable, on the router
}

func (l *Lab) host(i int, binary string) (*Host, error) {
	name := fmt.Sprintf("host%d", i)
	n, err := l.Node(name)
	if err != nil {
		return nil, err
	}
	v4, v6 := address(i)
	h := &Host{Node: n, UUID: uuid(i), Addr4: v4.Addr(), Addr6: v6.Addr(), lab: l, port: name}
	if err := testnet.Cable(n, Link, l.Router, h.port); err != nil {
		return nil, err
	}
	if err := errors.Join(
		n.AddAddress(Link, v4), n.AddAddress(Link, v6), n.Up(Link), gateway(n, "10.77.0.1", "2001:db8:77::1"),
		n.Install(BerthPath, binary, 0o755),
		n.Install(NotifyPath, l.dist("notify"), 0o755),
		n.Install("/etc/keepalived/berth-fifo.conf", l.dist("keepalived/berth-fifo.conf"), 0o644),
		n.Install("/etc/keepalived/berth-notify.conf", l.dist("keepalived/berth-notify.conf"), 0o644),
		// There is no syslog daemon on the hosts.
		n.WriteFile("/usr/bin/logger", "#!/bin/sh\nexec cat >"+Syslog+"\n", 0o755),
	); err != nil {
		return nil, err
	}
	if _, err := h.Pipe(Syslog); err != nil {
		return nil, err
	}
	if err := n.WatchAddresses(func(e testnet.AddressEvent) {
		if e.Address.Addr() == h.Addr4 || e.Address.Addr() == h.Addr6 || e.Address.Addr().IsLinkLocalUnicast() {
			return
		}
		l.mu.Lock()
		l.bindings = append(l.bindings, Binding{Time: e.Time, Host: h, Address: e.Address.Addr(), Bound: e.Added})
		l.mu.Unlock()
	}); err != nil {
		return nil, err
	}
	return h, h.respond()
}

// dist returns the path of a file that the project ships.
func (l *Lab) dist(name string) string { return filepath.Join(l.root, "dist", name) }

// Has reports whether the address is on the host's interface now, and since
// when it is or is not.
func (h *Host) Has(ip netip.Addr) (bool, time.Time) {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	for _, b := range slices.Backward(h.lab.bindings) {
		if b.Host == h && b.Address == ip {
			return b.Bound, b.Time
		}
	}
	return false, time.Time{}
}

// Start runs a program on the host and keeps its output with the lab's.
func (h *Host) Start(name, path string, args ...string) (*testnet.Process, error) {
	p, err := h.Node.Start(name, path, args...)
	if err == nil {
		h.lab.Record(p.Log)
	}
	return p, err
}

// Pipe is testnet's, with the output kept with the lab's.
func (h *Host) Pipe(path string) (*testnet.Log, error) {
	log, err := h.Node.Pipe(path)
	if err == nil {
		h.lab.Record(log)
	}
	return log, err
}

// Cut pulls the host's cable; Mend plugs it in again.
func (h *Host) Cut() error  { return h.lab.Router.Down(h.port) }
func (h *Host) Mend() error { return h.lab.Router.Up(h.port) }

// ConfigureBerth writes berth's configuration: the account's, times short
// enough for tests, and extra lines of YAML. A key in extra may not repeat one
// of those.
func (h *Host) ConfigureBerth(extra string) error {
	return h.WriteFile(BerthConf, fmt.Sprintf(`provider: cloudscale
cloudscale:
  endpoint: %s
  token: %s
  server-uuid: %s
%s`, Endpoint, Token, h.UUID, extra), 0o600)
}

// Fast is for ConfigureBerth: a berth whose retries and refreshes fit a test.
const Fast = `refresh-interval: 500ms
refresh-timeout: 500ms
back-off: {initial-interval: 50ms, multiplier: 1.5, max-interval: 500ms}
`

// An Instance is a vrrp_instance of keepalived.conf.
type Instance struct {
	Name      string
	ID        int // virtual_router_id
	Priority  int
	Addresses []netip.Addr
	Excluded  []netip.Addr
	Lines     string // more lines inside the block
}

// A Mode is a way in which keepalived tells berth what happens.
type Mode string

// The modes.
const (
	FIFO   Mode = "FIFO"   // berth is a service that reads a FIFO
	Notify Mode = "notify" // berth is run by a script for each event
	Script Mode = "script" // keepalived runs the berth that reads its FIFO
)

// ScriptFIFO is keepalived's own FIFO in the mode Script.
const ScriptFIFO = "/run/keepalived.fifo"

// scriptDefs has keepalived run berth as its FIFO script. It adds the path of the
// FIFO as the last argument. The shell is there for the log.
const scriptDefs = `global_defs {
    script_user root
    vrrp_notify_fifo ` + ScriptFIFO + `
    vrrp_notify_fifo_script "/usr/lib/berth/fifo-script"
}
`

// Advert is the time between two adverts of a MASTER. A host that hears none for
// a little more than three of them takes over: short enough for a test, long
// enough for a busy machine that does not run it for a moment.
const Advert = 300 * time.Millisecond

// ConfigureKeepalived writes keepalived.conf.
func (h *Host) ConfigureKeepalived(mode Mode, instances ...Instance) error {
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n    router_id %s\n    vrrp_version 3\n}\n", h.Name)
	if mode == Script {
		b.WriteString(scriptDefs)
		if err := h.WriteFile("/usr/lib/berth/fifo-script", "#!/bin/sh\nexec "+BerthPath+" --verbose --fifo "+BerthConf+" \"$@\" 2>"+Syslog+"\n", 0o755); err != nil {
			return err
		}
	}
	if mode == FIFO {
		b.WriteString("include /etc/keepalived/berth-fifo.conf\n")
	}
	for _, v := range instances {
		fmt.Fprintf(&b, "\nvrrp_instance %s {\n    state BACKUP\n    interface %s\n    virtual_router_id %d\n    priority %d\n    advert_int %g\n",
			v.Name, Link, v.ID, v.Priority, Advert.Seconds())
		if mode == Notify {
			b.WriteString("    include /etc/keepalived/berth-notify.conf\n")
		}
		for _, list := range []struct {
			name      string
			addresses []netip.Addr
		}{{"virtual_ipaddress", v.Addresses}, {"virtual_ipaddress_excluded", v.Excluded}} {
			if len(list.addresses) == 0 {
				continue
			}
			fmt.Fprintf(&b, "    %s {\n", list.name)
			for _, ip := range list.addresses {
				fmt.Fprintf(&b, "        %v/%d\n", ip, ip.BitLen())
			}
			b.WriteString("    }\n")
		}
		b.WriteString(v.Lines + "}\n")
	}
	return h.WriteFile(KeepalivedConf, b.String(), 0o644)
}

// StartKeepalived starts keepalived as its unit does, but with its log on
// standard error. Its scripts inherit the environment, in which berth is verbose.
func (h *Host) StartKeepalived() (*testnet.Process, error) {
	path, err := testnet.Program("keepalived")
	if err != nil {
		return nil, err
	}
	return h.Start("keepalived", "/usr/bin/env", "BERTH_LOG_VERBOSE=1", path, "--dont-fork", "--log-console", "--log-detail")
}

// Keepalived finds keepalived's processes on the host: the parent and its VRRP
// child. A process that does not exist is the zero Task. A child whose parent has
// died has the id of another process as Parent.
func (h *Host) Keepalived() (parent, child testnet.Task, err error) {
	tasks, err := h.Tasks()
	var all []testnet.Task
	for _, t := range tasks {
		if t.Name != "keepalived" {
			continue
		}
		if t.Parent == os.Getpid() {
			parent = t
		} else {
			all = append(all, t)
		}
	}
	for _, t := range all {
		// Not a script of the child on its way to exec.
		if parent.PID == 0 || t.Parent == parent.PID {
			child = t
		}
	}
	return parent, child, err
}

// StartService starts berth as the shipped unit does, with more flags in front
// of those of its ExecStart line, and returns when its FIFO is there.
func (h *Host) StartService(ctx context.Context, flags ...string) (*testnet.Process, error) {
	unit, err := ReadUnit(h.lab.dist("berth.service"))
	if err != nil {
		return nil, err
	}
	command := strings.Fields(unit["ExecStart"])
	if len(command) == 0 {
		return nil, errors.New("read berth.service: no ExecStart")
	}
	// systemd makes the run-time directory before it executes the command.
	if err := h.Do(func() error { return os.MkdirAll("/run/"+unit["RuntimeDirectory"], 0o755) }); err != nil {
		return nil, err
	}
	made, err := h.WaitFile(ctx, FIFOPath)
	if err != nil {
		return nil, err
	}
	p, err := h.Start("berth", command[0], append(flags, command[1:]...)...)
	if err != nil {
		return nil, err
	}
	if err := made(); err != nil {
		return nil, fmt.Errorf("wait for berth's FIFO: %w; it said: %s", err, p.Log)
	}
	return p, nil
}

// ReadUnit returns the last value of each key of a systemd unit, all sections
// together.
func ReadUnit(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	unit := make(map[string]string)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			unit[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return unit, nil
}

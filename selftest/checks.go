package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// one returns a single finding.
func one(level Level, seen, cure string) []Finding {
	return []Finding{{Level: level, Seen: seen, Cure: cure}}
}

// Configuration reports on berth's own configuration, which has been read before the
// self-test begins.
func Configuration(path string, othersCanReadSecrets bool) Check {
	return Check{"configuration", func(context.Context) []Finding {
		if othersCanReadSecrets {
			return one(Warn, path+" can be read by every user and may hold a secret", "chmod o= "+path)
		}
		return one(OK, path, "")
	}}
}

// Keepalived is what a probe found in keepalived's configuration.
type Keepalived struct {
	Path      string
	Instances []string // with their addresses, for people
	Refused   string   // why keepalived would refuse the file, "" if it would not
	Warnings  []string // each with its cure behind the last semicolon
	Unloaded  string   // how the file differs from what keepalived has loaded, "" if it does not
}

// KeepalivedVersion reports as which version of keepalived its configuration is read and
// why, and what is assumed of it, each with its cure behind the last semicolon.
func KeepalivedVersion(read string, warnings []string) Check {
	return Check{"keepalived version", func(context.Context) []Finding {
		var all []Finding
		for _, w := range warnings {
			all = append(all, warning(w))
		}
		return append(all, Finding{Level: OK, Seen: read})
	}}
}

// warning returns the finding of a text with its cure behind the last semicolon.
func warning(text string) Finding {
	f := Finding{Level: Warn, Seen: text}
	if n := strings.LastIndex(text, "; "); n >= 0 {
		f.Seen, f.Cure = text[:n], text[n+len("; "):]
	}
	return f
}

// KeepalivedConfig reports on keepalived.conf. Without the file the self-test
// passes, so that the provider can be tested before keepalived is installed.
func KeepalivedConfig(read func() (Keepalived, error)) Check {
	return Check{"keepalived.conf", func(context.Context) []Finding {
		k, err := read()
		if err != nil {
			return one(Warn, err.Error(), "install keepalived and write its configuration, or set keepalived-config")
		}
		var all []Finding
		if k.Refused != "" {
			all = append(all, Finding{Level: Fail, Seen: "keepalived would refuse " + k.Path + ": " + k.Refused, Cure: "correct the file, then: keepalived -t"})
		}
		if k.Unloaded != "" {
			all = append(all, Finding{Level: Warn, Seen: k.Unloaded, Cure: "check it with: keepalived -t, then: systemctl reload keepalived"})
		}
		for _, w := range k.Warnings {
			all = append(all, warning(w))
		}
		if len(k.Instances) == 0 {
			return append(all, Finding{Level: Warn, Seen: k.Path + " has no vrrp_instance", Cure: "add a vrrp_instance with virtual_ipaddress"})
		}
		for _, in := range k.Instances {
			all = append(all, Finding{Level: OK, Seen: in})
		}
		return all
	}}
}

// Process reports whether keepalived runs. Without a pid, err is the reason why
// keepalived was not found; beside a pid, the reason why its end is noticed late.
func Process(find func() (pid int, err error)) Check {
	return Check{"keepalived", func(context.Context) []Finding {
		switch pid, err := find(); {
		case pid != 0 && err != nil:
			return one(Warn, fmt.Sprintf("runs with pid %d and is watched by polling /proc: %v", pid, err),
				"allow berth the system calls pidfd_open and pidfd_send_signal")
		case pid != 0:
			return one(OK, fmt.Sprintf("runs with pid %d", pid), "")
		default:
			return one(Warn, "was not found: "+err.Error(), "start keepalived, or set keepalived-pid-file")
		}
	}}
}

// FIFO is what a probe found out about a FIFO that keepalived.conf names.
type FIFO struct {
	Path       string
	Keepalived int    // its pid, 0 if it is not known to run
	Open       bool   // keepalived has the FIFO open
	Reader     int    // pid of the berth that reads it, 0 if none is known
	Err        error  // why Open or Reader is not known
	Missing    bool   // there is no such FIFO
	Cure       string // what makes keepalived open it
}

// FIFOs reports whether the events of keepalived reach berth: keepalived opens a FIFO
// once, and goes on writing into it after it was replaced by another.
func FIFOs(probe func() []FIFO) Check {
	return Check{"FIFO", func(context.Context) []Finding {
		var all []Finding
		for _, f := range probe() {
			all = append(all, f.finding())
		}
		return all
	}}
}

func (f FIFO) finding() Finding {
	switch {
	case f.Missing && f.Keepalived == 0:
		return Finding{Level: Warn, Seen: "there is no " + f.Path + " yet", Cure: "start berth --fifo, and then keepalived"}
	case f.Missing:
		return Finding{Level: Fail, Seen: fmt.Sprintf("there is no %s, but keepalived runs: its events are lost", f.Path), Cure: "start berth --fifo, then: " + f.Cure}
	case f.Err != nil:
		return Finding{Level: Warn, Seen: fmt.Sprintf("cannot tell which processes have %s open: %v", f.Path, f.Err), Cure: "run berth --test as root"}
	case f.Keepalived != 0 && !f.Open:
		return Finding{Level: Fail, Seen: fmt.Sprintf("keepalived (pid %d) does not have %s open, which it opens only at its start and reload: no event reaches berth", f.Keepalived, f.Path), Cure: f.Cure}
	case f.Reader == 0:
		return Finding{Level: Warn, Seen: "no berth is known to read " + f.Path, Cure: "start berth --fifo (systemctl start berth)"}
	case f.Keepalived == 0:
		return Finding{Level: OK, Seen: fmt.Sprintf("%s is read by process %d", f.Path, f.Reader)}
	}
	return Finding{Level: OK, Seen: fmt.Sprintf("%s is open in keepalived and read by process %d", f.Path, f.Reader)}
}

// EtcdMember is what one endpoint of etcd answered.
type EtcdMember struct {
	Endpoint string
	Err      error
	Took     time.Duration
}

// Etcd reports on the endpoints and on the owners of the instances. It fails if no
// endpoint answers: an endpoint answers only with a majority of the cluster.
func Etcd(ask func(ctx context.Context) (members []EtcdMember, owners []string, err error)) Check {
	return Check{"etcd", func(ctx context.Context) []Finding {
		members, owners, err := ask(ctx)
		var all []Finding
		level := Fail
		for _, m := range members {
			if m.Err == nil {
				level = Warn // one endpoint is enough
			}
		}
		for _, m := range members {
			if m.Err != nil {
				all = append(all, Finding{Level: level, Seen: m.Endpoint + ": " + m.Err.Error(), Cure: "check etcd.endpoints, certificates and password, and: etcdctl endpoint health"})
				continue
			}
			all = append(all, Finding{Level: OK, Seen: fmt.Sprintf("%s answers in %v", m.Endpoint, m.Took.Round(100*time.Microsecond))})
		}
		for _, o := range owners {
			all = append(all, Finding{Level: OK, Seen: o})
		}
		if err != nil && level != Fail {
			all = append(all, Finding{Level: Fail, Seen: err.Error(), Cure: "check the rights of etcd.username below etcd.prefix"})
		}
		return all
	}}
}

// Patroni reports whether the Patroni at a URL says that this host has a role. ask returns
// an error if the answer says neither.
func Patroni(url, role string, ask func(ctx context.Context) (has bool, err error)) Check {
	return Check{"Patroni", func(ctx context.Context) []Finding {
		has, err := ask(ctx)
		switch {
		case err != nil:
			return one(Fail, url+": "+err.Error(), "check that Patroni runs and that its restapi.listen includes this address: curl -i "+url)
		case !has:
			return one(OK, url+" answers: this host is not "+role, "")
		}
		return one(OK, url+" answers: this host is "+role, "")
	}}
}

// Interface reports whether addresses can be bound to the interface of an election.
// check returns the error with which berth elect would refuse to start, and the reason
// why the interface cannot be used now, "" if it can.
func Interface(name string, check func() (unready string, err error)) Check {
	return Check{"interface", func(context.Context) []Finding {
		unready, err := check()
		switch {
		case err != nil:
			return one(Fail, err.Error(), "correct this, or give the instances another interface, because berth elect does not start; run the self-test as the user of the service")
		case unready != "":
			return one(Fail, unready, "ip link set "+name+" up, and check its cable and switch")
		}
		return one(OK, name+" is up, and its addresses can be changed", "")
	}}
}

// Server reports this host's server at the provider.
func Server(self func(ctx context.Context) (id, name string, err error)) Check {
	return Check{"own server", func(ctx context.Context) []Finding {
		id, name, err := self(ctx)
		if err != nil {
			return one(Fail, err.Error(), "check the token and the server's id in the configuration")
		}
		if name != "" {
			id += " (" + name + ")"
		}
		return one(OK, id, "")
	}}
}

// FloatingIP is an address at the provider.
type FloatingIP struct {
	Address string
	Managed bool   // it is a floating IP of the account
	Owner   string // for people
}

// FloatingIPs reports the owner of each address.
func FloatingIPs(observe func(ctx context.Context) ([]FloatingIP, error)) Check {
	return Check{"floating IPs", func(ctx context.Context) []Finding {
		ips, err := observe(ctx)
		if err != nil {
			return one(Fail, err.Error(), "check endpoint, token and network")
		}
		if len(ips) == 0 {
			return one(Warn, "there is no address to manage", "add addresses to the vrrp_instance, or managed-addresses")
		}
		var all []Finding
		for _, ip := range ips {
			if !ip.Managed {
				all = append(all, Finding{Level: Warn, Seen: ip.Address + " is not a floating IP of the account and is left alone",
					Cure: "order it at the provider, if it should be one"})
				continue
			}
			all = append(all, Finding{Level: OK, Seen: ip.Address + " is at " + ip.Owner})
		}
		return all
	}}
}

// Directory reports whether files can be written into a directory. With made, berth
// makes the directory when it needs it, so that it may be missing.
func Directory(what, path string, made bool) Check {
	return Check{what, func(context.Context) []Finding {
		dir := path
		for {
			err := unix.Access(dir, unix.W_OK|unix.X_OK)
			if err == nil {
				if st, serr := os.Stat(dir); serr == nil && !st.IsDir() {
					return one(Fail, dir+" is not a directory", "remove it")
				}
				return one(OK, path, "")
			}
			parent := filepath.Dir(dir)
			if !made || !errors.Is(err, unix.ENOENT) || parent == dir {
				return one(Fail, fmt.Sprintf("cannot write into %s: %v", dir, err), "run as root, or: mkdir -p "+path)
			}
			dir = parent
		}
	}}
}

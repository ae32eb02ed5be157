package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// plane is hosts of which each has a member of an etcd that asks for client certificates,
// as the control plane of a cluster has them.
type plane struct {
	*segment
	hosts []*planeHost
	// The files of a client of etcd, on this machine.
	ca, cert, key string
}

// planeHost is a host, with a program that a supervisor starts again whenever it ends.
type planeHost struct {
	*testnet.Node
	plane      *plane
	address    netip.Addr
	supervisor *testnet.Process
}

// newPlane makes hosts 192.0.2.11 and so on, with a member of etcd each. It ends with the
// test.
func newPlane(t *testing.T, names ...string) *plane {
	t.Helper()
	p := &plane{segment: newSegment(t)}
	p.must(p.router.AddAddress("br0", netip.MustParsePrefix("192.0.2.1/24")))
	members := map[string]*testnet.Node{}
	for i, name := range names {
		h := &planeHost{Node: p.attach(name, 11+i), plane: p, address: netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)})}
		p.must(h.AddAddress(lab.Link, netip.PrefixFrom(h.address, 24)))
		p.hosts = append(p.hosts, h)
		members[h.address.String()] = h.Node
	}
	p.beginOn(etcdtest.Options{TLS: true}, members)
	var err error
	p.ca = p.etcd.CAFile()
	p.cert, p.key, err = p.etcd.ClientCertificate("client", time.Hour)
	p.must(err)
	return p
}

// certificates gives a host the files of a client of etcd, under these names.
func (h *planeHost) certificates(ca, cert, key string) {
	h.plane.t.Helper()
	h.plane.must(errors.Join(h.Install(ca, h.plane.ca, 0o644), h.Install(cert, h.plane.cert, 0o644), h.Install(key, h.plane.key, 0o600)))
}

// supervise has a supervisor run a command line of a shell, and run it again when it ends.
func (h *planeHost) supervise(line string) {
	h.plane.t.Helper()
	h.bash(h.plane.t, "rm -f "+retired)
	const loop = `while [ ! -e ` + retired + ` ]; do
  %s &
  echo "started $!"
  wait $! && status=0 || status=$?
  echo "ended $status"
  sleep 0.1
done
`
	var err error
	h.supervisor, err = h.Start("supervisor", "/bin/bash", "-c", fmt.Sprintf(loop, line))
	h.plane.must(err)
	h.plane.Record(h.supervisor.Log)
}

// retired is the file with which a supervisor starts nothing again.
const retired = "/run/retired"

// signal sends a signal to the program that was started last, unless it has ended.
func (h *planeHost) signal(sig syscall.Signal) {
	h.plane.t.Helper()
	pid := 0
	for _, line := range h.supervisor.Log.Lines() {
		if text, ok := strings.CutPrefix(line.Text, "started "); ok {
			pid, _ = strconv.Atoi(text)
		}
	}
	h.bash(h.plane.t, fmt.Sprintf("kill -%d %d || true", sig, pid))
}

// retire ends the program by a signal, and the supervisor, so that nothing is started again.
func (h *planeHost) retire(sig syscall.Signal) {
	h.plane.t.Helper()
	h.plane.must(h.WriteFile(retired, "", 0o600))
	h.plane.until(h.Name+" to end", func() bool {
		h.signal(sig)
		return !h.supervisor.Exited().IsZero()
	})
}

// says waits until the supervisor or the program has written a text after a moment.
func (h *planeHost) says(text string, since time.Time) {
	h.plane.t.Helper()
	h.plane.until(fmt.Sprintf("%s to say %q", h.Name, text), func() bool {
		_, ok := h.supervisor.Log.Find(since, contains(text))
		return ok
	})
}

// ended waits until the program has ended with a status after a moment.
func (h *planeHost) ended(status int, since time.Time) {
	h.plane.t.Helper()
	h.plane.until(fmt.Sprintf("%s to end with status %d", h.Name, status), func() bool {
		_, ok := h.supervisor.Log.Find(since, func(line string) bool { return line == fmt.Sprint("ended ", status) })
		return ok
	})
}

// owner waits until one of the hosts alone has an address, and returns that.
func (p *plane) owner(a netip.Addr, among ...*planeHost) (owner *planeHost) {
	p.t.Helper()
	p.until(fmt.Sprintf("one host to have %v", a), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, h := range among {
			if own := p.owners[a]; len(own) == 1 && own[0] == h.Name {
				owner = h
				return true
			}
		}
		return false
	})
	return owner
}

// others returns the hosts but one.
func (p *plane) others(but *planeHost) (all []*planeHost) {
	for _, h := range p.hosts {
		if h != but {
			all = append(all, h)
		}
	}
	return all
}

// loseMajority ends the etcd of all hosts but the first, and returns when the last one had
// ended: no renewal of a lease is acknowledged after that. restore starts them again.
func (p *plane) loseMajority() time.Time {
	p.t.Helper()
	for _, m := range p.etcd.Members()[1:] {
		p.must(m.Kill())
	}
	return time.Now()
}

// drops waits until no host has an address, and fails the test if that was more than d
// after a moment.
func (p *plane) drops(a netip.Addr, d time.Duration, since time.Time) {
	p.t.Helper()
	p.none([]netip.Addr{a})
	p.mu.Lock()
	defer p.mu.Unlock()
	if took := p.left[a].Sub(since); took > d {
		p.t.Errorf("want no host to have %v after %v, it took %v", a, d, took)
	}
}

func (p *plane) restore() {
	p.t.Helper()
	for _, m := range p.etcd.Members()[1:] {
		p.must(m.Restart())
	}
	p.ready()
}

// steps returns a function that runs parts that follow each other. After each, no two hosts
// may have had an address at once.
func (p *plane) steps(t *testing.T) func(name string, f func(t *testing.T)) {
	return func(name string, f func(t *testing.T)) {
		if t.Failed() {
			return // what follows needs the state that this should have left
		}
		t.Run(name, func(t *testing.T) {
			outer := p.t
			p.t = t
			defer func() { p.t = outer }()
			f(t)
			p.once()
		})
	}
}

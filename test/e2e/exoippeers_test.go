package e2e_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
	"berth/test/lab"

	"golang.org/x/sys/unix"
)

// A datagram that a peer has received.
type exoipDatagram struct {
	at   time.Time
	from netip.AddrPort
	text []byte
}

// exoipPeer is a peer at the port of exoip, which sends what a test wants to be sent.
type exoipPeer struct {
	conn  *net.UDPConn
	heard sync.WaitGroup

	mu   sync.Mutex
	seen []exoipDatagram // guarded by mu
}

// listen makes a peer on a node. It ends with the test.
func (f *exoipField) listen(n *testnet.Node) *exoipPeer {
	f.t.Helper()
	p := &exoipPeer{}
	f.must(n.Do(func() (err error) {
		p.conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 12345})
		return err
	}))
	p.heard.Go(func() {
		for packet := make([]byte, 1500); ; {
			n, from, err := p.conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				return // closed
			}
			p.mu.Lock()
			p.seen = append(p.seen, exoipDatagram{time.Now(), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), slices.Clone(packet[:n])})
			p.mu.Unlock()
			f.Bell().Ring()
		}
	})
	f.OnClose(p.close)
	return p
}

func (p *exoipPeer) close() error {
	err := p.conn.Close()
	p.heard.Wait()
	return err
}

// all returns what the peer has received so far.
func (p *exoipPeer) all() []exoipDatagram {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// heartbeat is a datagram of exoip, with the id of a NIC.
func heartbeat(priority byte) []byte {
	nic, _ := hex.DecodeString("e1c0ffee0000400080000000000000ab")
	ip := lab.ElasticIP.As4()
	return slices.Concat([]byte{2, 1, priority, priority}, ip[:], nic)
}

// send sends a datagram to exoip of a host.
func (f *exoipField) send(p *exoipPeer, to *lab.Host, datagram []byte) {
	f.t.Helper()
	_, err := p.conn.WriteToUDPAddrPort(datagram, netip.AddrPortFrom(to.Addr4, 12345))
	f.must(err)
}

// exoipGap bounds the time between two heartbeats with -t 1, on a machine of which both cores
// are busy.
const exoipGap = 1200 * time.Millisecond

// regular fails the test if a host was silent for longer than that after it was heard first.
func (p *exoipPeer) regular(f *exoipField, h *lab.Host, clock *lab.Probe) {
	f.t.Helper()
	var last time.Time
	heard := 0
	for _, d := range p.all() {
		if d.from.Addr() != h.Addr4 {
			continue
		}
		heard++
		if gap := d.at.Sub(last); !last.IsZero() && gap-clock.Stalled(last, d.at) > exoipGap {
			f.t.Errorf("want the heartbeats of %s at most %v apart, got %v at %s", h.Name, exoipGap, gap, d.at.Format("05.000"))
		}
		last = d.at
	}
	if heard < 2 {
		f.t.Errorf("want heartbeats of %s, got %d", h.Name, heard)
	}
}

// The peers are listed by -p, and the faults that exoip had are mended: hosts of one
// priority have one owner, a slow API delays no heartbeat, an owner that is killed and
// started again loses nothing, and forged datagrams have no effect. A host may be in its own
// list.
func TestExoipWithPeers(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "killall")
	f := newExoipField(t)
	clock := f.client(lab.ElasticIP)[0]
	peer, forger := f.listen(f.Router), f.listen(f.Client)
	start := func(h *lab.Host, flags string) {
		f.t.Helper()
		f.sh(h, fmt.Sprintf("exoip -v -W -t 1 -r 2 -p %v -p %v:12345,10.77.0.1 %s %s &", f.host1.Addr4, f.host2.Addr4, flags, f.credentials()))
	}
	start(f.host1, "")
	start(f.host2, "")
	f.at(f.host1)

	// Three calls one after the other take longer than a peer may be silent.
	f.Sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 1500 * time.Millisecond}})
	f.sh(f.host2, "killall -USR1 exoip")
	f.at(f.host2)
	f.heal()
	for _, h := range f.Hosts {
		peer.regular(f, h, clock)
	}
	f.neverAway()

	moves := len(f.Moves())
	f.must(f.host2.Signal(f.processes(f.host2)[0].PID, unix.SIGKILL))
	f.ended(f.host2)
	start(f.host2, "-P 9")
	for range 3 {
		f.send(forger, f.host1, heartbeat(1))                         // from an address that is no peer's
		f.send(peer, f.host2, append(heartbeat(1), "information"...)) // too long
		f.send(peer, f.host2, heartbeat(1)[:20])
	}
	f.pass(4*time.Second, clock)
	if got := len(f.Moves()); got != moves {
		t.Errorf("want no move, got %+v", f.Moves()[moves:])
	}
	f.at(f.host2)

	// Both have the same priority again.
	f.sh(f.host2, "killall -USR2 exoip")
	f.at(f.host1)
	f.neverAway()
}

// oldExoip sends the heartbeats of exoip. Nothing else of exoip works: its API is retired.
const oldExoip = `#!/usr/bin/python3
import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 12345))
priority = int(os.environ.get("IF_HOST_PRIORITY", "10"))
nic = bytes.fromhex("e1c0ffee0000400080000000000000ab")
text = bytes([2, 1, priority, priority]) + socket.inet_aton(os.environ["IF_ADDRESS"]) + nic
while True:
    for host in "10.77.0.11", "10.77.0.12":
        s.sendto(text, (host, 12345))
    time.sleep(1)
`

// Hosts with exoip get berth one after the other, by the commands of the documentation,
// without a moment in which no instance has the elastic IP, and without one in which it is
// not served. The exoip that is left sends heartbeats, and cannot move anything.
func TestExoipRollsOver(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "ifup", "ifquery", "killall", "python3", "setsid")
	f := newExoipField(t)
	for i, h := range f.Hosts {
		f.stanza(h)
		f.must(h.Do(func() error { return unix.Unlink(exoipPath) }))
		f.must(h.WriteFile(exoipPath, oldExoip, 0o755))
		f.sh(h, fmt.Sprintf("sed -i '/down/a\\  host-priority %d' /etc/network/interfaces.d/51-exoip.cfg; ifup lo:1", 10+i))
	}
	f.must(f.Sim.Attach(lab.Network(lab.ElasticIP), f.host1.UUID))
	probe := f.client(lab.ElasticIP)[0]
	f.served(f.host1, time.Now(), probe)
	begin := time.Now()
	moves := len(f.Moves())
	commands := documented(t, "exoip")
	for _, h := range f.Hosts {
		f.sh(h, commands[0])
		f.sh(h, commands[1])
		f.until("berth to be the exoip of "+h.Name, func() bool {
			all := f.processes(h)
			return len(all) == 1 && all[0].Args[0] == exoipPath
		})
		f.pass(exoipHold+500*time.Millisecond, probe)
	}
	if got := len(f.Moves()); got != moves {
		t.Errorf("want no move, got %+v", f.Moves()[moves:])
	}
	f.unbroken(probe, begin)

	// From here on the hosts take over from each other.
	f.sh(f.host1, "ifdown lo:1")
	f.at(f.host2)
	f.neverAway()
}

// unbroken fails the test if a request of the client has been lost since a moment.
func (f *exoipField) unbroken(p *lab.Probe, since time.Time) {
	f.t.Helper()
	f.pass(lab.Interval, p)
	for _, s := range p.Samples() {
		if s.Sent.After(since) && s.Answered.IsZero() && time.Since(s.Sent) > time.Second {
			f.t.Errorf("want every request to be answered, that of %s was not", s.Sent.Format("05.000"))
		}
	}
}

package faults

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"berth/internal/testnet"
	"berth/test/lab"
)

// A recorder writes the history of a lab. All times are of its own clock, that of
// this program.
type recorder struct {
	bell  *testnet.Bell
	stop  chan struct{}
	wait  sync.WaitGroup
	cable *os.File // frames of the client's cable, nil if the lab does not record them

	mu      sync.Mutex
	history History
	names   map[*testnet.Node]string // of the hosts that live
	owned   map[netip.Addr][]string
	macs    map[[6]byte]string
}

func newRecorder(bell *testnet.Bell, addresses []netip.Addr) *recorder {
	return &recorder{
		bell: bell, stop: make(chan struct{}),
		history: History{Addresses: addresses, Samples: make(map[netip.Addr][]lab.Sample)},
		names:   make(map[*testnet.Node]string), owned: make(map[netip.Addr][]string), macs: make(map[[6]byte]string),
	}
}

// host makes a node known as a host, and its hardware address.
func (r *recorder) host(n *testnet.Node, mac net.HardwareAddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[n], r.macs[[6]byte(mac)] = n.Name, n.Name
}

// dead ends all that a host owned; later events of its kernel are ignored.
func (r *recorder) dead(n *testnet.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, n)
	for _, a := range r.history.Addresses {
		if slices.Contains(r.owned[a], n.Name) {
			r.change(Change{At: time.Now(), Host: n.Name, Address: a})
		}
	}
}

func (r *recorder) address(e testnet.AddressEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := r.names[e.Node]
	switch {
	case e.Lost:
		r.history.Lost = true
	case name != "" && slices.Contains(r.history.Addresses, e.Address.Addr()):
		r.change(Change{At: e.Time, Host: name, Address: e.Address.Addr(), Owned: e.Added})
	}
}

// change records a change of an address. It is called with mu held.
func (r *recorder) change(c Change) {
	if n := len(r.history.Changes); n > 0 && !c.At.After(r.history.Changes[n-1].At) {
		c.At = r.history.Changes[n-1].At.Add(1)
	}
	r.history.Changes = append(r.history.Changes, c)
	owners := slices.DeleteFunc(slices.Clone(r.owned[c.Address]), func(o string) bool { return o == c.Host })
	if c.Owned {
		owners = append(owners, c.Host)
	}
	r.owned[c.Address] = owners
}

// act records an act that is about to happen, or has happened, and returns its time.
func (r *recorder) act(a Act) time.Time {
	r.mu.Lock()
	a.At = time.Now()
	r.history.Acts = append(r.history.Acts, a)
	r.mu.Unlock()
	r.bell.Ring()
	return a.At
}

// owners returns the hosts that have an address now.
func (r *recorder) owners(a netip.Addr) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owned[a]
}

// served reports whether the newest answer to a request sent after since came in
// time from the host.
func (r *recorder) served(a netip.Addr, host string, since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.history.Samples[a]) {
		if !s.Sent.After(since) {
			break
		}
		if s.By != "" {
			return s.By == host && s.Answered.Sub(s.Sent) <= late
		}
	}
	return false
}

// since returns a copy of the history from a moment to now.
func (r *recorder) since(begin time.Time) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cable != nil && dropped(r.cable) {
		r.history.Lost = true
	}
	h := r.history
	h.Begin, h.End = begin, time.Now()
	h.Changes, h.Announcements = slices.Clone(h.Changes), slices.Clone(h.Announcements)
	h.Acts = slices.DeleteFunc(slices.Clone(h.Acts), func(a Act) bool { return a.At.Before(begin) })
	h.Samples = maps.Clone(h.Samples)
	for a, s := range h.Samples {
		h.Samples[a] = slices.Clone(s)
	}
	return &h
}

// listen takes down what arrives on the client's cable.
func (r *recorder) listen(client *testnet.Node, link string) error {
	var fd int
	if err := client.Do(func() (err error) {
		fd, err = capture(link)
		return err
	}); err != nil {
		return fmt.Errorf("capture at %s: %w", client.Name, err)
	}
	socket := os.NewFile(uintptr(fd), "capture")
	r.cable = socket
	r.wait.Go(func() {
		<-r.stop
		socket.Close()
	})
	r.wait.Go(func() {
		for b := make([]byte, 2048); ; {
			n, err := socket.Read(b)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err == nil { // else the link is down
				r.heard(parseFrame(b[:n]), time.Now())
			}
		}
	})
	return nil
}

func (r *recorder) heard(f frame, now time.Time) {
	r.mu.Lock()
	host := r.macs[f.from]
	samples := r.history.Samples[f.address]
	switch {
	case host == "" || !slices.Contains(r.history.Addresses, f.address):
	case f.kind == announcement:
		r.history.Announcements = append(r.history.Announcements, Announcement{now, host, f.address})
	case f.kind == answer && f.number < uint64(len(samples)):
		samples[f.number].Answered, samples[f.number].By = now, host
	}
	r.mu.Unlock()
	r.bell.Ring()
}

// probe sends an echo request to each address every lab.Interval.
func (r *recorder) probe(client *testnet.Node, addresses []netip.Addr) error {
	for _, a := range addresses {
		network := "ip4:icmp"
		if a.Is6() {
			network = "ip6:ipv6-icmp"
		}
		var conn net.PacketConn
		if err := client.Do(func() (err error) {
			conn, err = net.ListenPacket(network, "")
			return err
		}); err != nil {
			return fmt.Errorf("probe %v: %w", a, err)
		}
		to := &net.IPAddr{IP: a.AsSlice()}
		r.wait.Go(func() {
			defer conn.Close()
			ticker := time.NewTicker(lab.Interval)
			defer ticker.Stop()
			for number := uint64(0); ; number++ {
				r.mu.Lock()
				r.history.Samples[a] = append(r.history.Samples[a], lab.Sample{Sent: time.Now()})
				r.mu.Unlock()
				// An error, as of a neighbour that does not answer, is a request
				// lost like others.
				conn.WriteTo(echoRequest(a, number), to)
				r.bell.Ring()
				select {
				case <-ticker.C:
				case <-r.stop:
					return
				}
			}
		})
	}
	return nil
}

func (r *recorder) close() error {
	close(r.stop)
	r.wait.Wait()
	return nil
}

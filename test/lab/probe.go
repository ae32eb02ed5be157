package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// probePort is where every host answers with its name.
const probePort = 7777

// respond answers UDP requests to any address of the host, from that address,
// with the request followed by the host's name. Like any service that
// listens on the wildcard address it answers while the address is there.
func (h *Host) respond() error {
	for _, family := range []struct {
		network       string
		level, option int
	}{
		{"udp4", unix.IPPROTO_IP, unix.IP_PKTINFO},
		{"udp6", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
	} {
		var conn *net.UDPConn
		err := h.Do(func() (err error) {
			conn, err = net.ListenUDP(family.network, &net.UDPAddr{Port: probePort})
			return err
		})
		if err != nil {
			return err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		var optErr error
		if err := raw.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), family.level, family.option, 1)
		}); err != nil || optErr != nil {
			return fmt.Errorf("ask for packet information: %w, %w", err, optErr)
		}
		var answering sync.WaitGroup
		answering.Go(func() { answer(conn, h.Name) })
		h.lab.OnClose(func() error {
			err := conn.Close()
			answering.Wait()
			return err
		})
	}
	return nil
}

func answer(conn *net.UDPConn, name string) {
	request, info := make([]byte, 64), make([]byte, 128)
	for {
		n, infoLen, _, from, err := conn.ReadMsgUDPAddrPort(request, info)
		if err != nil {
			return // closed
		}
		// The received packet information, sent back as it is, makes the
		// address asked the source of the answer (ip(7), ipv6(7)). It fails
		// when the address has gone meanwhile: no answer then, as in life.
		conn.WriteMsgUDPAddrPort(append(request[:n:n], name...), info[:infoLen], from)
	}
}

// A Sample is one request of the client.
type Sample struct {
	Sent     time.Time
	Answered time.Time // zero if it was lost, or is not answered yet
	By       string    // host that answered
}

// A Probe is a client that asks one address again and again, whatever happens.
type Probe struct {
	To netip.Addr

	mu      sync.Mutex
	samples []Sample
}

// Interval is the time between two requests of a probe.
const Interval = 10 * time.Millisecond

// Probe starts asking an address; it ends with the lab.
func (l *Lab) Probe(to netip.Addr) (*Probe, error) {
	p := &Probe{To: to}
	var conn *net.UDPConn
	if err := l.Client.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", nil)
		return err
	}); err != nil {
		return nil, fmt.Errorf("probe %v: %w", to, err)
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { p.send(conn, l.Bell().Ring, stop) })
	running.Go(func() { p.receive(conn, l.Bell().Ring) })
	l.OnClose(func() error {
		close(stop)
		err := conn.Close()
		running.Wait()
		return err
	})
	return p, nil
}

func (p *Probe) send(conn *net.UDPConn, ring func(), stop <-chan struct{}) {
	to := netip.AddrPortFrom(p.To, probePort)
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for number := uint64(0); ; number++ {
		p.mu.Lock()
		p.samples = append(p.samples, Sample{Sent: time.Now()})
		p.mu.Unlock()
		// An error, as of a missing route, is a request lost like others.
		conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, number), to)
		ring()
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

func (p *Probe) receive(conn *net.UDPConn, ring func()) {
	answer := make([]byte, 64)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(answer)
		if err != nil {
			return // closed
		}
		if from.Addr().Unmap() != p.To || n <= 8 {
			continue
		}
		number := binary.BigEndian.Uint64(answer)
		p.mu.Lock()
		if number < uint64(len(p.samples)) {
			s := &p.samples[number]
			s.Answered, s.By = time.Now(), string(answer[8:n])
		}
		p.mu.Unlock()
		ring()
	}
}

// Samples returns all requests so far, in the order sent.
func (p *Probe) Samples() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.samples)
}

// ServedBy reports whether the newest answer to a request sent after since came
// from h, and when the first such answer by h arrived.
func (p *Probe) ServedBy(h *Host, since time.Time) (first time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.samples) {
		if !s.Sent.After(since) {
			break
		}
		switch {
		case s.By == h.Name:
			first, ok = s.Answered, true
		case s.By != "" && !ok:
			return time.Time{}, false
		}
	}
	return first, ok
}

// Stalled returns for how long, between two moments, the machine did not even
// run the client. Time that the machine takes so is not counted against berth.
func (p *Probe) Stalled(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stalled(p.samples, from, to)
}

// Stalled is the same for requests recorded, one each [Interval].
func Stalled(samples []Sample, from, to time.Time) (stalled time.Duration) {
	// One request before, for the time since it.
	first := max(1, sort.Search(len(samples), func(i int) bool { return !samples[i].Sent.Before(from) }))
	for i := first; i < len(samples); i++ {
		begin, end := samples[i-1].Sent.Add(Interval), samples[i].Sent
		if begin.After(to) {
			break
		}
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if end.After(begin) {
			stalled += end.Sub(begin)
		}
	}
	return stalled
}

// An Outage is a time in which the client's requests were lost.
type Outage struct {
	From, To time.Time // the first request lost, the first answered again
	Lost     int
}

// Duration is how long the client was without service, as it saw it.
func (o Outage) Duration() time.Duration { return o.To.Sub(o.From) }

// Outages finds the runs of lost requests between answered ones. Requests
// before the first answer and after the last do not count.
func Outages(samples []Sample) []Outage {
	var outages []Outage
	served := false
	var open Outage
	for _, s := range samples {
		switch {
		case s.By == "" && served:
			if open.Lost == 0 {
				open.From = s.Sent
			}
			open.Lost++
		case s.By != "":
			if open.Lost > 0 {
				open.To = s.Sent
				outages = append(outages, open)
			}
			served, open = true, Outage{}
		}
	}
	return outages
}

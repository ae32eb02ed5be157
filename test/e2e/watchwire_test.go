package e2e_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
)

// beats are the heartbeats that arrive at a host, as the kernel shows them to a raw socket.
type beats struct {
	mu   sync.Mutex // guards list
	list []arrival
}

type arrival struct {
	at   time.Time
	from netip.Addr
	data []byte
}

// listen records the heartbeats that arrive at a host until the end of the lab.
func listen(f *watchField, h *lab.Host) *beats {
	f.t.Helper()
	b := &beats{}
	var conn *net.IPConn
	f.must(h.Do(func() (err error) {
		conn, err = net.ListenIP("ip4:udp", nil)
		return err
	}))
	var reading sync.WaitGroup
	reading.Go(func() {
		for packet := make([]byte, 2000); ; {
			n, from, err := conn.ReadFromIP(packet)
			if err != nil {
				return // closed
			}
			if n < 8 || binary.BigEndian.Uint16(packet[2:]) != watchPort {
				continue
			}
			source, _ := netip.AddrFromSlice(from.IP)
			if n > 12 && packet[8] == 2 && packet[9] == 1 { // no garbage
				b.mu.Lock()
				b.list = append(b.list, arrival{time.Now(), source.Unmap(), bytes.Clone(packet[8:n])})
				b.mu.Unlock()
				f.Bell().Ring()
			}
		}
	})
	f.OnClose(func() error {
		err := conn.Close()
		reading.Wait()
		return err
	})
	return b
}

// from returns the heartbeats of a host between two moments.
func (b *beats) from(host netip.Addr, since, until time.Time) []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.list), func(a arrival) bool {
		return a.from != host || !a.at.After(since) || !a.at.Before(until)
	})
}

func (b *beats) since(host netip.Addr, since time.Time) bool {
	return len(b.from(host, since, time.Now())) > 0
}

func (b *beats) priority(host netip.Addr) byte {
	all := b.from(host, time.Time{}, time.Now())
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].data[2]
}

// gaps fails the test if two heartbeats of a host lay further apart than 1.2 intervals.
func (b *beats) gaps(t *testing.T, h *watchHost, since, until time.Time, clock *lab.Probe) {
	t.Helper()
	all, longest := b.from(h.Addr4, since, until), time.Duration(0)
	for i := 1; i < len(all); i++ {
		longest = max(longest, all[i].at.Sub(all[i-1].at)-clock.Stalled(all[i-1].at, all[i].at))
	}
	t.Logf("%s: %d heartbeats, longest gap %v", h.Name, len(all), longest)
	if longest > watchInterval*12/10 || len(all) < 2 {
		t.Errorf("%s: a gap of %v among %d heartbeats, want 1.2 intervals at most", h.Name, longest, len(all))
	}
}

// forge sends a datagram with any source address.
func (f *watchField) forge(from, to netip.Addr, data []byte) {
	f.t.Helper()
	f.must(f.Router.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		packet := make([]byte, 28, 28+len(data))
		packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP // the kernel fills in the rest of ip(7)
		copy(packet[12:], from.AsSlice())
		copy(packet[16:], to.AsSlice())
		binary.BigEndian.PutUint16(packet[20:], watchPort)
		binary.BigEndian.PutUint16(packet[22:], watchPort)
		binary.BigEndian.PutUint16(packet[24:], uint16(8+len(data))) // no checksum, which IPv4 allows
		return os.NewSyscallError("sendto", unix.Sendto(fd, append(packet, data...), 0, &unix.SockaddrInet4{Addr: to.As4()}))
	}))
}

// flood sends 10,000 datagrams of garbage per second to a host until stop is called, half
// of them with the length of a heartbeat.
func (f *watchField) flood(to netip.Addr) (stop func()) {
	f.t.Helper()
	var conn net.Conn
	f.must(f.Client.Do(func() (err error) {
		conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, watchPort)))
		return err
	}))
	end := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		defer conn.Close()
		garbage := rand.New(rand.NewPCG(*seed, 1))
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
			}
			for i := range 100 {
				b := make([]byte, 24)
				if i%2 == 0 {
					b = make([]byte, garbage.IntN(1400))
				}
				for j := range b {
					b[j] = byte(garbage.Uint32())
				}
				_, _ = conn.Write(b) // an ICMP error while no berth listens
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		sending.Wait()
	})
}

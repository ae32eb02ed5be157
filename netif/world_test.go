package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"berth/internal/journal"
	"berth/internal/testnet"
)

// world is a host, a neighbour on its only interface, eth0, and an operator: once
// as data in a bubble of synctest, once in namespaces of the real kernel.
type world struct {
	open    func(*testing.T, Options) *Interface
	changes <-chan change // of addresses of the host
	heard   func() []frame
	// By another program of the host:
	add    func(p netip.Prefix)
	remove func(p netip.Prefix)
	down   func() // the interface, administratively
	up     func()
	cut    func() // its carrier
	mend   func()
	claim  func(a netip.Addr) // by the neighbour
	// forever makes an address permanent.
	forever func(p netip.Prefix)
	// Only with the real kernel:
	neighbourAdds func(p netip.Prefix)
	sysctl        func(key, value string)
	run           func(command string) // on the host
	// The interface is deleted, and another of the same name made.
	destroy, create func()
	rename          func(name string)    // the interface
	addElsewhere    func(p netip.Prefix) // to another interface of the host
	deleteElsewhere func(p netip.Prefix)
	moveAway        func()        // the interface, into another namespace
	has             func() string // addresses on the interface but for its own link-local one
	wait            func(why string, cond func() bool)
}

var (
	v4 = netip.MustParsePrefix("192.0.2.254/32")
	v6 = netip.MustParsePrefix("2001:db8::254/128")
)

// inBothWorlds runs a test body with the fake and with the real kernel.
func inBothWorlds(t *testing.T, body func(*testing.T, *world)) {
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { body(t, fakeWorld(t, newFakeKernel())) })
	})
	t.Run("kernel", func(t *testing.T) { body(t, kernelWorld(t)) })
}

func fakeWorld(t *testing.T, k *fakeKernel) *world {
	set := func(change func(*link)) func() {
		return func() {
			k.mu.Lock()
			l := k.link
			k.mu.Unlock()
			change(&l)
			k.setLink(l)
		}
	}
	return &world{
		open: func(t *testing.T, o Options) *Interface {
			i, err := open(o, k, openRecord(o.Record, journal.New(nil), o.Managed))
			if err != nil {
				t.Fatal(err)
			}
			return i
		},
		changes: k.changes,
		heard:   k.sent,
		add:     func(p netip.Prefix) { k.alter(func() { k.set(address{prefix: p, valid: forever}) }) },
		remove:  func(p netip.Prefix) { k.alter(func() { k.delete(p) }) },
		down:    set(func(l *link) { l.up, l.carrier = false, false }),
		up:      set(func(l *link) { l.up, l.carrier = true, true }),
		cut:     set(func(l *link) { l.carrier = false }),
		mend:    set(func(l *link) { l.carrier = true }),
		forever: func(p netip.Prefix) { k.alter(func() { k.set(address{prefix: p, valid: forever}) }) },
		destroy: func() { k.setLink(link{}) },
		create:  func() { k.setLink(link{index: 8, name: "eth0", up: true, carrier: true, mac: fakeMAC}) },
		rename: func(name string) {
			set(func(l *link) { l.name = name })()
		},
		addElsewhere:    func(p netip.Prefix) { k.elsewhere(address{on: 1, prefix: p, valid: forever}, added) },
		deleteElsewhere: func(p netip.Prefix) { k.elsewhere(address{on: 1, prefix: p, valid: forever}, deleted) },
		claim: func(a netip.Addr) {
			k.events <- event{kind: claimed, claimed: a, mac: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
		},
		has: func() string {
			_, list, _ := k.state(false)
			var all []string
			for _, a := range list {
				all = append(all, a.prefix.String())
			}
			return strings.Join(all, " ")
		},
		wait: func(why string, cond func() bool) {
			t.Helper()
			for range 10000 {
				synctest.Wait()
				if cond() {
					return
				}
				time.Sleep(time.Millisecond) // of the bubble
			}
			t.Fatalf("want %s within 10 s", why)
		},
	}
}

func kernelWorld(t *testing.T) *world {
	testnet.Require(t, "ip")
	bell := new(testnet.Bell)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	host, neighbour := newNode(t, "host", bell), newNode(t, "neighbour", bell)
	changes := make(chan change, 10000)
	var heard frames
	must(t, testnet.Cable(host, "eth0", neighbour, "eth0"))
	must(t, errors.Join(host.Up("eth0"), neighbour.Up("eth0")))
	must(t, host.WatchAddresses(func(e testnet.AddressEvent) {
		if !e.Address.Addr().IsLinkLocalUnicast() {
			changes <- change{e.Time, e.Address, e.Added}
		}
	}))
	heard.capture(t, neighbour, bell)
	ip := func(n *testnet.Node, args string) func() {
		return func() {
			t.Helper()
			if out, err := n.Run(ctx, "/bin/sh", "-c", "ip "+args); err != nil {
				t.Fatalf("ip %s: %s, %v", args, out, err)
			}
		}
	}
	current := "eth0"
	return &world{
		open: func(t *testing.T, o Options) *Interface {
			var k kernel
			must(t, host.Do(func() (err error) {
				k, err = openKernel(o.Name)
				return err
			}))
			k.(*linux).dial = func(groups ...int) (f *os.File, err error) {
				return f, host.Do(func() error {
					f, err = netlinkSocket(groups...)
					return err
				})
			}
			// Outside of the node, which has files of its own.
			i, err := open(o, k, openRecord(o.Record, journal.New(nil), o.Managed))
			must(t, err)
			return i
		},
		changes: changes,
		heard:   heard.list,
		add:     func(p netip.Prefix) { t.Helper(); ip(host, fmt.Sprintf("address add %v dev eth0", p))() },
		remove:  func(p netip.Prefix) { t.Helper(); ip(host, fmt.Sprintf("address del %v dev eth0", p))() },
		down:    ip(host, "link set eth0 down"),
		up:      ip(host, "link set eth0 up"),
		cut:     ip(neighbour, "link set eth0 down"),
		mend:    ip(neighbour, "link set eth0 up"),
		forever: func(p netip.Prefix) {
			ip(host, fmt.Sprintf("address replace %v dev eth0 valid_lft forever preferred_lft forever", p))()
		},
		destroy:         ip(host, "link del eth0"),
		moveAway:        func() { t.Helper(); must(t, host.Move("eth0", newNode(t, "elsewhere", bell))) },
		rename:          func(name string) { t.Helper(); ip(host, "link set "+current+" name "+name)(); current = name },
		addElsewhere:    func(p netip.Prefix) { t.Helper(); ip(host, fmt.Sprintf("address add %v dev lo", p))() },
		deleteElsewhere: func(p netip.Prefix) { t.Helper(); ip(host, fmt.Sprintf("address del %v dev lo", p))() },
		neighbourAdds:   func(p netip.Prefix) { must(t, neighbour.AddAddress("eth0", p)) },
		sysctl:          func(key, value string) { must(t, host.Sysctl(key, value)) },
		run: func(command string) {
			t.Helper()
			if out, err := host.Run(ctx, "/bin/sh", "-c", command); err != nil {
				t.Fatalf("%s: %s, %v", command, out, err)
			}
		},
		create: func() {
			must(t, testnet.Cable(host, "eth0", neighbour, "eth0"))
			must(t, errors.Join(host.Up("eth0"), neighbour.Up("eth0")))
			heard.capture(t, neighbour, bell)
		},
		claim: func(a netip.Addr) {
			frames, err := announcement(a, net.HardwareAddr{2, 0, 0, 0, 0, 9})
			must(t, err)
			for _, f := range frames {
				must(t, heard.send(f))
			}
		},
		has: func() string {
			out, err := host.Run(ctx, "/bin/sh", "-c", "ip -o address show dev "+current)
			must(t, err)
			var all []string
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) > 3 && !strings.HasPrefix(f[3], "fe80:") {
					all = append(all, f[3])
				}
			}
			return strings.Join(all, " ")
		},
		wait: func(why string, cond func() bool) {
			t.Helper()
			// Watched events ring the bell; for the others cond is called again soon.
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				err := bell.Wait(short, cond)
				cancel()
				if err == nil {
					return
				}
			}
			t.Fatalf("want %s within a minute", why)
		},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newNode(t testing.TB, name string, bell *testnet.Bell) *testnet.Node {
	n, err := testnet.New(name, bell)
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// frames has what the neighbour receives on eth0.
type frames struct {
	fakeKernel // for its list of frames
	conn       *packet.Conn
}

func (f *frames) capture(t *testing.T, n *testnet.Node, bell *testnet.Bell) {
	must(t, n.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		f.conn, err = packet.Listen(eth0, packet.Raw, 3, nil) // ETH_P_ALL
		return err
	}))
	done, conn := make(chan struct{}), f.conn
	go func() {
		defer close(done)
		for buffer := make([]byte, 2048); ; {
			n, _, err := conn.ReadFrom(buffer)
			if errors.Is(err, unix.ENETDOWN) {
				continue // reported once
			}
			if err != nil {
				return
			}
			f.fakeKernel.send(append([]byte(nil), buffer[:n]...))
			bell.Ring()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
}

func (f *frames) list() []frame { return f.sent() }

func (f *frames) send(data []byte) error {
	_, err := f.conn.WriteTo(data, &packet.Addr{HardwareAddr: data[:6]})
	return err
}

// there returns what the interface has under a managed address now. Only one goroutine
// at a time may ask the kernel.
func (i *Interface) there(p netip.Prefix) []address {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.observe(false); err != nil {
		panic(err) // no test calls it while the kernel does not answer
	}
	return i.present[p.Addr()]
}

// Present returns the managed addresses that are on the interface now.
func (i *Interface) Present() (list []netip.Prefix) {
	for a := range i.allManaged() {
		if len(i.there(i.allManaged()[a])) > 0 {
			list = append(list, i.allManaged()[a])
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

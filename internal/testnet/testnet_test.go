package testnet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/internal/testnet"
)

func TestMain(m *testing.M) {
	if os.Getenv("TESTNET_LEAVE_NODE") != "" {
		leaveNode()
	}
	os.Exit(m.Run())
}

// node starts a node that ends with the test.
func node(t *testing.T, name string, bell *testnet.Bell) *testnet.Node {
	t.Helper()
	testnet.Require(t)
	n, err := testnet.New(name, bell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// within bounds every wait of these tests.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestNodesShareNeitherFilesNorNameNorProcesses(t *testing.T) {
	a, b := node(t, "a", new(testnet.Bell)), node(t, "b", new(testnet.Bell))
	for _, path := range []string{"/run/nodetest", "/run/lock/nodetest1", "/var/lock/nodetest2", "/etc/nodetest", "/usr/bin/nodetest", "/tmp/nodetest"} {
		if err := a.WriteFile(path, "a's", 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := a.ReadFile(path)
		if err != nil || string(got) != "a's" {
			t.Errorf("in a: want %s to hold a's, got %q, %v", path, got, err)
		}
		if _, err := b.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("in b: want no %s, got %v", path, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("outside: want no %s, got %v", path, err)
		}
	}
	got, err := a.Run(within(t), "/bin/sh", "-c", `cat /proc/sys/kernel/hostname; tr '\0' ' ' </proc/1/cmdline; echo; cd /proc; echo [0-9]*`)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if want := []string{"a", "berth-testnet-init a "}; !cmp.Equal(want, lines[:2]) {
		t.Error(cmp.Diff(want, lines))
	}
	// Process 1 and the shell; not the machine's.
	if got := strings.Fields(lines[2]); len(got) != 2 || got[0] != "1" {
		t.Errorf("want two processes, got %q", got)
	}
}

func TestCableCarriesPacketsUntilItIsCut(t *testing.T) {
	bell := new(testnet.Bell)
	a, b, sw := node(t, "a", bell), node(t, "b", bell), node(t, "switch", bell)
	if err := sw.Bridge("br0"); err != nil {
		t.Fatal(err)
	}
	for i, n := range []*testnet.Node{a, b} {
		port := "port" + strconv.Itoa(i)
		if err := testnet.Cable(n, "eth0", sw, port); err != nil {
			t.Fatal(err)
		}
		for _, prefix := range []string{fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("2001:db8::%d/64", i+1)} {
			if err := n.AddAddress("eth0", netip.MustParsePrefix(prefix)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(n.Up("eth0"), sw.Plug("br0", port)); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range []string{"10.0.0.2:7", "[2001:db8::2]:7"} {
		var listener *net.UDPConn
		if err := b.Do(func() (err error) {
			listener, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if err := a.Do(func() error {
			c, err := net.Dial("udp", address)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("hello"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		deadline, _ := within(t).Deadline()
		listener.SetReadDeadline(deadline)
		got := make([]byte, 100)
		n, err := listener.Read(got)
		if err != nil || string(got[:n]) != "hello" {
			t.Errorf("at %s: want hello, got %q, %v", address, got[:n], err)
		}
	}
	if err := sw.Down("port1"); err != nil {
		t.Fatal(err)
	}
	out, err := b.Run(within(t), "/bin/sh", "-c", "ip -o link show eth0")
	if err != nil || !strings.Contains(out, "eth0") || strings.Contains(out, "LOWER_UP") {
		t.Errorf("want eth0 of b without carrier, got %s, %v", out, err)
	}
}

// A network that loses packets is another fault than a cable that is pulled.
func TestUnpluggedAndMutedNodesNoticeNothing(t *testing.T) {
	bell := new(testnet.Bell)
	a, b, sw := node(t, "a", bell), node(t, "b", bell), node(t, "switch", bell)
	if err := sw.Bridge("br0"); err != nil {
		t.Fatal(err)
	}
	for i, n := range []*testnet.Node{a, b} {
		port := "port" + strconv.Itoa(i)
		if err := errors.Join(testnet.Cable(n, "eth0", sw, port),
			n.AddAddress("eth0", netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1))), n.Up("eth0"), sw.Plug("br0", port)); err != nil {
			t.Fatal(err)
		}
	}
	of := map[*testnet.Node]netip.Addr{a: netip.MustParseAddr("10.0.0.1"), b: netip.MustParseAddr("10.0.0.2")}
	var listeners = map[*testnet.Node]*net.UDPConn{}
	for _, n := range []*testnet.Node{a, b} {
		if err := n.Do(func() (err error) {
			listeners[n], err = net.ListenUDP("udp", &net.UDPAddr{Port: 7})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer listeners[n].Close()
	}
	// hears reports whether a packet from one node arrives at the other, and the
	// sender has no error.
	hears := func(from, to *testnet.Node, word string) bool {
		if _, err := listeners[from].WriteToUDPAddrPort([]byte(word), netip.AddrPortFrom(of[to], 7)); err != nil {
			t.Errorf("want the sender to notice nothing, got %v", err)
		}
		listeners[to].SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		got := make([]byte, 100)
		n, err := listeners[to].Read(got)
		return err == nil && string(got[:n]) == word
	}
	for _, tt := range []struct {
		name  string
		do    func() error
		there bool // packets of a arrive at b
		back  bool // and packets of b at a
	}{
		{"joined", func() error { return nil }, true, true},
		{"a muted towards b", func() error { return a.Mute("eth0", of[b]) }, false, true},
		{"unmuted", func() error { return a.Unmute("eth0", of[b]) }, true, true},
		{"b unplugged", func() error { return sw.Unplug("port1") }, false, false},
		{"plugged in again", func() error { return sw.Plug("br0", "port1") }, true, true},
	} {
		if err := tt.do(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := hears(a, b, tt.name); got != tt.there {
			t.Errorf("%s: want words of a to arrive: %t, got %t", tt.name, tt.there, got)
		}
		if got := hears(b, a, tt.name); got != tt.back {
			t.Errorf("%s: want words of b to arrive: %t, got %t", tt.name, tt.back, got)
		}
	}
}

func TestWatchAddressesTellsEveryChangeInOrder(t *testing.T) {
	bell := new(testnet.Bell)
	n := node(t, "a", bell)
	events := make(chan testnet.AddressEvent, 10)
	if err := n.WatchAddresses(func(e testnet.AddressEvent) { events <- e }); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Run(within(t), "/bin/sh", "-c",
		"ip addr add 192.0.2.1/24 dev lo; ip addr add 2001:db8::1/128 dev lo; ip addr del 192.0.2.1/24 dev lo"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []testnet.AddressEvent{
		{Node: n, Address: netip.MustParsePrefix("192.0.2.1/24"), Added: true},
		{Node: n, Address: netip.MustParsePrefix("2001:db8::1/128"), Added: true},
		{Node: n, Address: netip.MustParsePrefix("192.0.2.1/24")},
	} {
		select {
		case got := <-events:
			got.Time = time.Time{}
			if got != want {
				t.Errorf("want %v, got %v", want, got)
			}
		case <-within(t).Done():
			t.Fatalf("want %v, got nothing", want)
		}
	}
}

// An address that goes back and forth between two nodes is never reported in both,
// or in none, because the reader was late.
func TestWatchAddressesKeepsTheOrderBetweenNodes(t *testing.T) {
	bell := new(testnet.Bell)
	a, b, stranger := node(t, "a", bell), node(t, "b", bell), node(t, "stranger", bell)
	if err := a.Observe(b); err != nil {
		t.Fatal(err)
	}
	// A cable gives the kernel an id for the network of a node that is not
	// observed.
	if err := testnet.Cable(a, "eth0", stranger, "eth0"); err != nil {
		t.Fatal(err)
	}
	const rounds = 50
	events := make(chan testnet.AddressEvent, 4*rounds)
	if err := a.WatchAddresses(func(e testnet.AddressEvent) { events <- e }); err != nil {
		t.Fatal(err)
	}
	address := netip.MustParsePrefix("192.0.2.1/32")
	if err := stranger.AddAddress("lo", address); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		for _, n := range []*testnet.Node{a, b} {
			if err := errors.Join(n.AddAddress("lo", address), n.RemoveAddress("lo", address)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx := within(t)
	var last time.Time
	for i := range 4 * rounds {
		want := testnet.AddressEvent{Node: []*testnet.Node{a, a, b, b}[i%4], Address: address, Added: i%2 == 0}
		select {
		case got := <-events:
			if !got.Time.After(last) {
				t.Errorf("event %d: want a time after %v, got %v", i, last, got.Time)
			}
			last, got.Time = got.Time, time.Time{}
			if got != want {
				t.Fatalf("event %d: want %v, got %v", i, want, got)
			}
		case <-ctx.Done():
			t.Fatalf("event %d: want %v, got nothing", i, want)
		}
	}
}

func TestProcessOutputIsKeptByLine(t *testing.T) {
	bell := new(testnet.Bell)
	n := node(t, "a", bell)
	pipe, err := n.Pipe("/run/log")
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Start("writer", "/bin/sh", "-c", "echo out; echo err >&2; echo piped >/run/log; echo console >>/proc/1/fd/1; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		log  *testnet.Log
		text string
	}{{p.Log, "out\nerr\n"}, {pipe, "piped\n"}, {n.Console, "console\n"}} {
		if err := bell.Wait(within(t), func() bool { return want.log.String() == want.text }); err != nil {
			t.Errorf("%s: want %q, got %q", want.log.Name, want.text, want.log)
		}
	}
	<-p.Done()
	if got := p.ExitCode(); got != 3 {
		t.Errorf("want exit code 3, got %d", got)
	}
}

func TestWaitFile(t *testing.T) {
	n := node(t, "a", new(testnet.Bell))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		path string
		ctx  context.Context
		make string
		want error
	}{
		{"made while waiting", "/run/new", within(t), "/run/new", nil},
		{"there before", "/etc/passwd", ended, "", nil},
		{"something else is made", "/run/never", ended, "/run/other", context.Canceled},
	} {
		wait, err := n.WaitFile(tt.ctx, tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if tt.make != "" {
			if err := n.WriteFile(tt.make, "", 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := wait(); !errors.Is(err, tt.want) {
			t.Errorf("%s: want %v, got %v", tt.name, tt.want, err)
		}
	}
}

func TestTasksFindsGrandchildrenAndSignalReachesOnlyTheNode(t *testing.T) {
	bell := new(testnet.Bell)
	n := node(t, "a", bell)
	p, err := n.Start("shell", "/bin/sh", "-c",
		"mkfifo /run/never; sh -c 'echo started; read never </run/never' & wait; echo killed")
	if err != nil {
		t.Fatal(err)
	}
	if err := bell.Wait(within(t), func() bool { return p.Log.String() == "started\n" }); err != nil {
		t.Fatal(err)
	}
	tasks, err := n.Tasks()
	if err != nil || len(tasks) != 2 {
		t.Fatalf("want the shell and its child, got %v, %v", tasks, err)
	}
	if tasks[1].Peak < 100 {
		t.Errorf("want a shell to have some memory, got %d KiB", tasks[1].Peak)
	}
	want := testnet.Task{PID: tasks[1].PID, LocalPID: tasks[1].LocalPID, Parent: p.PID(), Name: "sh", Peak: tasks[1].Peak, Args: []string{"sh", "-c", "echo started; read never </run/never"}}
	if diff := cmp.Diff(want, tasks[1]); diff != "" {
		t.Error(diff)
	}
	if err := n.Signal(os.Getpid(), 0); err == nil {
		t.Error("want a refusal to signal a process outside the node, got none")
	}
	if err := n.Signal(tasks[1].PID, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := bell.Wait(within(t), func() bool { return strings.HasSuffix(p.Log.String(), "killed\n") }); err != nil {
		t.Errorf("want the shell to notice, got %q", p.Log)
	}
}

// leaveNode makes a node with a process that left its session, prints the id of that
// process and waits to be killed.
func leaveNode() {
	n, err := testnet.New("left", new(testnet.Bell))
	if err == nil {
		_, err = n.Start("sleeper", "/usr/bin/setsid", "/bin/sleep", "100")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tasks, err := n.Tasks()
	fmt.Println(tasks[0].PID, err)
	select {}
}

func TestNothingIsLeftWhenTheMakerIsKilled(t *testing.T) {
	testnet.Require(t)
	maker := exec.Command("/proc/self/exe")
	maker.Env = append(os.Environ(), "TESTNET_LEAVE_NODE=1")
	out, err := maker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, scanErr := fmt.Sscan(line, &pid); err != nil || scanErr != nil {
		t.Fatalf("want a process id, got %q, %v", line, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := maker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	maker.Wait() // killed
	// A pidfd becomes readable when its process ends.
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	if ready != 1 || err != nil {
		t.Errorf("want process %d of the node to be gone, got %d, %v", pid, ready, err)
	}
}

package presence_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/presence"
	"berth/internal/testnet"

	"github.com/google/go-cmp/cmp"
)

// apart is a process in a network namespace of its own, in which it runs commands.
type apart struct {
	pid int
	in  io.Writer
	out *bufio.Reader
}

// newApart starts such a process, with an interface.
func newApart(t *testing.T, link string) *apart {
	t.Helper()
	a := newShell(t, syscall.CLONE_NEWNET)
	a.run(t, "ip link add "+link+" type veth peer name other && ip link set "+link+" mtu 1400 up")
	return a
}

// newShell starts a process that runs commands, in new namespaces of the kinds in
// flags.
func newShell(t *testing.T, flags uintptr) *apart {
	t.Helper()
	cmd := exec.Command("sh", "-c", `while read -r line; do eval "$line" 2>&1; echo done; done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return &apart{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
}

func (a *apart) run(t *testing.T, command string) {
	t.Helper()
	fmt.Fprintln(a.in, command)
	if line, err := a.out.ReadString('\n'); err != nil || line != "done\n" {
		t.Fatalf("%s: %q, %v", command, line, err)
	}
}

// keepalived has a net_namespace, and after its restart another one, in which the
// interface has another name.
func TestAddressesAreThoseOfTheNetworkNamespaceOfKeepalived(t *testing.T) {
	testnet.Require(t, "ip")
	ip := netip.MustParseAddr("192.0.2.7")
	// The first thread of this process may be parked in another namespace, see inside,
	// and /proc shows that of the first thread: a child is in berth's own for certain.
	beside := newShell(t, 0)
	first, second := newApart(t, "blue0"), newApart(t, "green0")
	first.run(t, "ip addr add 192.0.2.7/32 dev blue0")
	var pid atomic.Int64
	n := presence.NewNetwork(func() (int, bool) { return int(pid.Load()), pid.Load() != 0 })
	defer n.Close()
	wantOn := func(want []string, known bool) {
		t.Helper()
		bound, err := n.Addresses()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, bound[ip]); diff != "" {
			t.Errorf("interfaces of the address (-want +got):\n%s", diff)
		}
		if n.Known() != known {
			t.Errorf("known to be keepalived's: %v, want %v", n.Known(), known)
		}
	}
	wantOn(nil, false)
	pid.Store(int64(beside.pid))
	wantOn(nil, true)
	pid.Store(int64(first.pid))
	wantOn([]string{"blue0"}, true)
	pid.Store(0)
	wantOn([]string{"blue0"}, false) // left behind, and read still
	pid.Store(int64(first.pid))

	changed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Subscribe(ctx, func() { changed <- struct{}{} }) }()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Subscribe returned %v, want the cause", err)
		}
	}()
	await := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatal("no news of " + what)
		}
	}
	await("the subscription")
	first.run(t, "ip addr del 192.0.2.7/32 dev blue0")
	await("the address that was taken off")
	wantOn(nil, true)
	pid.Store(int64(second.pid))
	await("the move")
	await("the subscription there")
	second.run(t, "ip addr add 192.0.2.7/32 dev green0")
	await("the address that came")
	wantOn([]string{"green0"}, true)

	inside := presence.Interfaces(second.pid, true)
	if mtu, ok := inside("green0"); mtu != 1400 || !ok {
		t.Errorf("interface inside: %d, %v", mtu, ok)
	}
	if _, ok := inside("blue0"); ok {
		t.Error("found the interface of the other namespace")
	}
	for _, known := range []bool{false, true} { // the second is of a process that has ended
		if _, ok := presence.Interfaces(1<<30, known)("lo"); !ok {
			t.Error("want the interfaces of berth's own namespace where keepalived's is not known")
		}
	}
	pid.Store(int64(beside.pid))
	wantOn(nil, true)
}

// The shipped unit takes the right to enter namespaces from berth.
func TestNetworkNamespaceThatMayNotBeEnteredIsAnErrorWithItsCure(t *testing.T) {
	if os.Getenv("ENTER") != "" {
		var pid int
		if _, err := fmt.Sscan(os.Getenv("ENTER"), &pid); err != nil {
			t.Fatal(err)
		}
		n := presence.NewNetwork(func() (int, bool) { return pid, true })
		if bound, err := n.Addresses(); !errors.Is(err, presence.ErrNetwork) || n.Known() {
			t.Errorf("got %v, %v, known %v; want ErrNetwork", bound, err, n.Known())
		}
		return
	}
	testnet.Require(t, "ip", "setpriv")
	a := newApart(t, "blue0")
	cmd := exec.Command("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("ENTER=%d", a.pid))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

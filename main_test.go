package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){"berth": main}
	for name := range predecessors {
		programs[name] = main
	}
	if programs[filepath.Base(os.Args[0])] == nil {
		apart()
		// The race detector sleeps for a second at exit, in which each predecessor would
		// have to be killed.
		os.Setenv(raceOptions, "atexit_sleep_ms=0")
		// Most tests that run beside others wait for the lease of an etcd of their own.
		flag.Set("test.parallel", "4")
	}
	testscript.Main(m, programs)
}

// raceOptions is the variable with the options of the race detector.
const raceOptions = "GORACE"

// Two servers; this host is lb1, the floating IPs begin at lb2.
const (
	lb1      = "11111111-1111-4111-8111-111111111111"
	lb2      = "22222222-2222-4222-8222-222222222222"
	apiToken = "S3CRET-T0KEN-THAT-MUST-NOT-SHOW"
	apiKey   = "EX0-K3Y-THAT-MUST-NOT-SHOW" // of Exoscale, whose secret is the token
)

// waitLimit bounds each wait for something that must happen.
const waitLimit = time.Minute

// oneInstance is a keepalived.conf with the instance VI_1 and its address, on the one
// interface that every machine has.
const oneInstance = "vrrp_instance VI_1 {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n"

// asBerth makes a directory in which the test binary is berth, see TestMain.
func asBerth(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "berth"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apart executes the tests again in a mount namespace of their own, where that is
// permitted. A script that was not started by keepalived looks for any keepalived in its
// mount namespace, and would find those that the tests of other packages play.
func apart() {
	const done = "BERTH_TEST_APART"
	if os.Getenv(done) != "" || os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread() // the namespace belongs to this thread until exec
	if unix.Unshare(unix.CLONE_NEWNS) != nil {
		runtime.UnlockOSThread()
		return
	}
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), done+"=1"))
	}
	fmt.Fprintln(os.Stderr, "execute the tests in a mount namespace:", err)
	os.Exit(1)
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			sim, err := cloudsim.New(cloudsim.Config{
				Token: apiToken,
				Servers: []cloudsim.Server{
					{UUID: lb1, Name: "lb1", Region: "lpg", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("2001:db8:100::11")}},
					{UUID: lb2, Name: "lb2", Region: "lpg", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12"), netip.MustParseAddr("2001:db8:100::12")}},
				},
				FloatingIPs: []cloudsim.FloatingIP{
					{Network: netip.MustParsePrefix("192.0.2.1/32"), Region: "lpg", Server: lb2},
					{Network: netip.MustParsePrefix("192.0.2.2/32"), Region: "lpg", Server: lb2},
					{Network: netip.MustParsePrefix("2001:db8:1::/56"), Region: "lpg", Server: lb2},
				},
				Key: apiKey, Secret: apiToken,
				ElasticIPs: []cloudsim.ElasticIP{
					{ID: "e0000000-0000-4000-8000-000000000004", Network: netip.MustParsePrefix("203.0.113.4/32"), Zone: "lpg", Servers: []string{lb2}},
					{ID: "e0000000-0000-4000-8000-000000000006", Network: netip.MustParsePrefix("2001:db8:2::/96"), Zone: "lpg", Servers: []string{lb2}},
				},
			})
			if err != nil {
				return err
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			srv := &http.Server{Handler: sim}
			go srv.Serve(l) // ends with the Close below
			env.Defer(func() { srv.Close() })
			env.Values[simKey{}] = sim
			env.Setenv("SIM", "http://"+l.Addr().String())
			env.Setenv("TOKEN", apiToken)
			env.Setenv("KEY", apiKey)
			env.Setenv(raceOptions, os.Getenv(raceOptions))
			env.Setenv("LB1", lb1)
			env.Setenv("LB2", lb2)
			hostname, err := os.Hostname()
			env.Setenv("HOST", hostname)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   cmdStatus,
			"api":      cmdAPI,
			"port":     cmdPort,
			"pair":     cmdPair,
			"expand":   cmdExpand,
			"holder":   cmdHolder,
			"move":     cmdMove,
			"refuse":   cmdRefuse,
			"requests": cmdRequests,
			"waitfor":  cmdWaitFor,
			"fifo":     cmdFIFO,
			"send":     cmdSend,
			"systemd":  cmdSystemd,
		},
	})
}

type simKey struct{}

func simOf(ts *testscript.TestScript) *cloudsim.Sim { return ts.Value(simKey{}).(*cloudsim.Sim) }

// cmdStatus runs a command and checks its exit status: status N COMMAND ARG...
// The files stdout and stderr then have what the command has printed.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		m := regexp.MustCompile(`exit status (\d+)`).FindStringSubmatch(err.Error())
		if m == nil {
			ts.Fatalf("%v", err)
		}
		got, _ = strconv.Atoi(m[1])
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cmdExpand replaces variables in files.
func cmdExpand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(text), ts.Getenv)), 0o600))
		ts.Check(os.Chmod(path, 0o600))
	}
}

// cmdHolder waits until a floating IP of any cloud is at a server: holder NETWORK SERVER;
// an empty SERVER stands for none, and several stand with a + between them.
func cmdHolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: holder NETWORK SERVER")
	}
	network := netip.MustParsePrefix(args[0])
	eventually(ts, func() string {
		if got := strings.Join(simOf(ts).Holders(network.Addr()), "+"); got != args[1] {
			return fmt.Sprintf("%s is at %q, want %q", network, got, args[1])
		}
		return ""
	})
}

// cmdMove moves a floating IP as the provider's console would.
func cmdMove(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(simOf(ts).Give(netip.MustParsePrefix(args[0]).Addr(), args[1]))
}

// cmdRefuse makes the API refuse the next requests: refuse STATUS COUNT.
func cmdRefuse(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: refuse STATUS COUNT")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	simOf(ts).SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: status, Count: count}})
}

// cmdRequests waits until the API had exactly N requests that match.
func cmdRequests(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: requests N 'METHOD PATH regexp'")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	re := regexp.MustCompile(args[1])
	eventually(ts, func() string {
		n := 0
		for _, r := range simOf(ts).History() {
			if re.MatchString(r.Method + " " + r.Path) {
				n++
			}
		}
		if n != want {
			return fmt.Sprintf("%d requests match %s, want %d", n, re, want)
		}
		return ""
	})
}

// cmdWaitFor waits until a file holds a match: waitfor FILE REGEXP.
func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[1])
	eventually(ts, func() string {
		text, _ := os.ReadFile(ts.MkAbs(args[0]))
		if !re.Match(text) {
			return fmt.Sprintf("no match for %s in %s:\n%s", re, args[0], text)
		}
		return ""
	})
}

// cmdFIFO makes a FIFO.
func cmdFIFO(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(unix.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// cmdSend writes a line into a FIFO as keepalived does: send FIFO LINE.
func cmdSend(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteString(args[1] + "\n")
	ts.Check(err)
}

// cmdSystemd listens on NAME.socket as systemd does for a service, and writes
// what the service tells it into the file NAME.
func cmdSystemd(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: f.Name() + ".socket", Net: "unixgram"})
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.Close()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return // closed
			}
			f.Write(append(buf[:n:n], '\n'))
		}
	}()
	ts.Defer(func() {
		conn.Close()
		<-done
	})
}

// eventually waits until there is no problem any more, and fails the script after
// waitLimit.
func eventually(ts *testscript.TestScript, problem func() string) {
	if p := await(problem); p != "" {
		ts.Fatalf("%s", p)
	}
}

package reading

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// three is a file of an instance with three addresses; none of its lines is
// indented, so that keepalived's copy of it is the same.
const three = `vrrp_instance VI_1 {
interface eth0
virtual_router_id 1
virtual_ipaddress {
192.0.2.1/32
192.0.2.2/32
192.0.2.3/32
}
}
`

// brokenFiles are what becomes of three while it is being written, with the line
// that the error names, and what keepalived may still load.
var brokenFiles = []struct {
	name, text string
	line       int
	reason     string
}{
	{"half written", three[:strings.Index(three, "192.0.2.2")], 4, "not closed"},
	{"refused", strings.Replace(three, "virtual_router_id 1\n", "\n", 1) + "", 0, ""},
	{"refused and shorter", strings.Replace(strings.Replace(three, "virtual_router_id 1\n", "\n", 1), "192.0.2.2/32\n", "", 1), 1, "virtual_router_id"},
	{"include gone", strings.Replace(three, "192.0.2.2/32\n192.0.2.3/32\n", "include gone.conf\n", 1), 6, "no such file"},
	{"template unfilled", strings.Replace(three, "192.0.2.2/32", "{{ vip }}", 1), 6, "not an address"},
	{"definition unset", strings.Replace(three, "192.0.2.2/32", "${VIP}", 1), 6, "definition was not replaced"},
	{"placeholder", strings.Replace(three, "192.0.2.2/32", "@VIP@/32", 1), 6, "template"},
	{"words", strings.Replace(three, "192.0.2.2/32", "VIP_2", 1), 6, "not an address"},
}

// shelf is a book and the machine around it.
type shelf struct {
	*Book
	t    *testing.T
	path string
	logs *observer.ObservedLogs

	mu    sync.Mutex
	noted string
	on    []string // addresses on the host
}

// note returns the newest note about the file.
func (s *shelf) note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noted
}

// here puts these addresses on the host.
func (s *shelf) here(all ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = all
}

func newShelf(t *testing.T, dir, text string) *shelf {
	core, logs := observer.New(zapcore.InfoLevel)
	s := &shelf{t: t, path: filepath.Join(dir, "keepalived.conf"), logs: logs}
	s.Book = &Book{Path: s.path, RunDirectory: dir, Journal: journal.New(zap.New(core)),
		Noted: func(note string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.noted = note
		},
		Bound: func() (func(netip.Addr) bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			on := s.on
			return func(a netip.Addr) bool { return slices.Contains(on, a.String()) }, nil
		}}
	if text != "" {
		s.write(text)
	}
	return s
}

func (s *shelf) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// has returns the last parts of the addresses of VI_1.
func (s *shelf) has() string {
	ips, err := s.Addresses("VI_1")
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, ip := range ips {
		list = append(list, strings.TrimPrefix(ip.Addr().String(), "192.0.2."))
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

func (s *shelf) wantHas(want string) {
	s.t.Helper()
	if got := s.has(); got != want {
		s.t.Errorf("in force: %s, want %s; the log:\n%v", got, want, s.logs.All())
	}
}

func (s *shelf) errors() []observer.LoggedEntry {
	return s.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level == zapcore.ErrorLevel }).All()
}

// run runs the book for the test. Call it inside a bubble.
func (s *shelf) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	synctest.Wait()
}

// keepalived is a process that has loaded a file, as far as /proc shows it: this one.
type keepalived struct {
	t *testing.T
	f *os.File
}

func newKeepalived(t *testing.T, s *shelf) *keepalived {
	t.Helper()
	fd, err := unix.MemfdCreate("/keepalived/consolidated_configuration", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	k := &keepalived{t, os.NewFile(uintptr(fd), "consolidated")}
	t.Cleanup(func() { k.f.Close() })
	s.Process = func() (int, bool) { return os.Getpid(), true }
	return k
}

// load is what a reload does.
func (k *keepalived) load(path, text string) { k.put("# " + path + "\n" + text + "!\n") }

func (k *keepalived) put(text string) {
	k.t.Helper()
	if err := errors.Join(k.f.Truncate(0), os.WriteFile(fmt.Sprintf("/proc/self/fd/%d", k.f.Fd()), []byte(text), 0)); err != nil {
		k.t.Fatal(err)
	}
}

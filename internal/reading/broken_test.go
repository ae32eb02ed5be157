package reading

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/vrrp"

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

// brokenFiles are what becomes of three while somebody writes it, with the line
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
	{"template unfilled", strings.Replace(three, "192.0.2.2/32", "{{ vip }}", 1), 6, "no address"},
	{"definition unset", strings.Replace(three, "192.0.2.2/32", "${VIP}", 1), 6, "definition was not replaced"},
	{"placeholder", strings.Replace(three, "192.0.2.2/32", "@VIP@/32", 1), 6, "template"},
	{"words", strings.Replace(three, "192.0.2.2/32", "VIP_2", 1), 6, "no address"},
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

// note returns what was said last of the file.
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
	s.Book = &Book{Path: s.path, RunDirectory: dir, Log: zap.New(core),
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

// Nobody can tell what keepalived runs: the good reading counts.
func TestABrokenFileTakesNoAddressAway(t *testing.T) {
	for _, broken := range brokenFiles {
		t.Run(broken.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, dir, three)
				s.run(t)
				s.wantHas("1,2,3")
				s.write(broken.text)
				time.Sleep(2 * time.Second)
				s.wantHas("1,2,3")
				said := s.errors()
				if len(said) != 1 {
					t.Fatalf("want one error within 2 s, got %v", said)
				}
				got := said[0].ContextMap()
				if !strings.Contains(said[0].Message, "the last good reading stays in force") || got["file"] != s.path ||
					broken.line > 0 && got["line"] != int64(broken.line) || !strings.Contains(fmt.Sprint(got["reason"]), broken.reason) {
					t.Errorf("want an error that names %s:%d and %q, got %v %v", s.path, broken.line, broken.reason, said[0].Message, got)
				}
				if !strings.Contains(s.note(), "then reload keepalived") {
					t.Errorf("want a note with the cure, got %q", s.note())
				}
				time.Sleep(time.Hour)
				if n := len(s.errors()); n != 1 {
					t.Errorf("%d errors after an hour, want 1", n)
				}
				s.write(strings.Replace(three, "192.0.2.3/32\n", "", 1))
				time.Sleep(2 * time.Second)
				s.wantHas("1,2")
				if s.note() != "" {
					t.Errorf("a note about a good file: %q", s.note())
				}
			})
		})
	}
}

func TestAnEmptiedFileTakesNoAddressAway(t *testing.T) {
	for name, text := range map[string]string{
		"empty file": "", "comment": "# made anew\n", "no address": strings.NewReplacer("192.0.2.1/32\n", "", "192.0.2.2/32\n", "", "192.0.2.3/32\n", "").Replace(three),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, dir, three)
				s.run(t)
				s.write(text)
				time.Sleep(2 * time.Second)
				s.wantHas("1,2,3")
				if said := s.errors(); len(said) != 1 || said[0].ContextMap()["file"] != s.path || said[0].ContextMap()["line"] != int64(1) {
					t.Errorf("want one error that names the place, got %v", said)
				}
			})
		})
	}
}

// keepalived is asked for nothing: what it has loaded is seen.
func TestAChangedFileWaitsUntilKeepalivedHasLoadedIt(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.here("192.0.2.1", "192.0.2.2", "192.0.2.3")
		s.run(t)
		changed := strings.Replace(three, "192.0.2.3/32", "192.0.2.4/32", 1)
		s.write(changed)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
		if s.note() != changedNote {
			t.Errorf("the note is %q, want %q", s.note(), changedNote)
		}
		if said := s.errors(); len(said) > 0 {
			t.Errorf("errors about a good file: %v", said)
		}

		k.load(s.path, changed)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3,4") // it is not off the host yet
		s.here("192.0.2.1", "192.0.2.2", "192.0.2.4")
		time.Sleep(time.Second)
		s.wantHas("1,2,4")
		if s.note() != "" {
			t.Errorf("a note about a file that is loaded: %q", s.note())
		}
		s.write("# a comment is no change\n" + changed)
		time.Sleep(2 * time.Second)
		if s.note() != "" {
			t.Errorf("a note about a new comment: %q", s.note())
		}
	})
}

func TestABrokenFileThatKeepalivedHasLoadedCounts(t *testing.T) {
	for _, broken := range brokenFiles {
		if strings.HasPrefix(broken.name, "refused") {
			continue // it would have ended
		}
		t.Run(broken.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, dir, three)
				k := newKeepalived(t, s)
				k.load(s.path, three)
				s.run(t)
				s.write(broken.text)
				time.Sleep(2 * time.Second)
				s.wantHas("1,2,3")
				said := s.errors()
				if len(said) != 1 || !strings.Contains(said[0].Message, "what keepalived has loaded stays in force") {
					t.Errorf("want one error, got %v", said)
				}
				loaded := broken.text
				if broken.name == "include gone" {
					loaded = strings.Replace(loaded, "include gone.conf\n", "\n#! Config files missing 'gone.conf'.\n", 1)
				}
				k.load(s.path, loaded)
				time.Sleep(2 * time.Second)
				if got := s.has(); strings.Contains(got, "2") || !strings.Contains(got, "1") {
					t.Errorf("in force: %s, want what keepalived runs", got)
				}
				if s.note() != "" {
					t.Errorf("a note about what keepalived runs: %q", s.note())
				}
			})
		})
	}
}

// With reload_check_config keepalived writes what it refuses into its copy, and
// goes on with what it had.
func TestACopyThatKeepalivedRefusesIsNotWhatItRuns(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.run(t)
		refused := brokenFiles[2].text
		s.write(refused)
		k.load(s.path, refused)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
	})
}

func TestACopyThatKeepalivedIsWritingIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.run(t)
		k.put("# " + s.path + "\n" + three[:strings.Index(three, "192.0.2.2")])
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
		k.put("")
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
	})
}

func TestTheCopyOfAnotherFileIsNoAnswer(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir, three)
	newKeepalived(t, s).load("/etc/keepalived/other.conf", strings.Replace(three, "192.0.2.2/32\n", "", 1))
	s.wantHas("1,2,3")
	if s.note() != "" {
		t.Errorf("a note about another keepalived: %q", s.note())
	}
}

// The process of a takeover, or a berth that was started anew, finds the file
// half written.
func TestAFirstReadingThatIsBrokenMovesAllAddresses(t *testing.T) {
	for _, broken := range brokenFiles {
		t.Run(broken.name+", the last good reading is known", func(t *testing.T) {
			dir := t.TempDir()
			former := newShelf(t, dir, three)
			former.wantHas("1,2,3")
			former.Keep()
			s := newShelf(t, dir, broken.text)
			s.wantHas("1,2,3")
			if said := s.errors(); len(said) != 1 || !strings.Contains(said[0].Message, "the last good reading stays in force") {
				t.Errorf("want one error, got %v", said)
			}
		})
		t.Run(broken.name+", keepalived has loaded another", func(t *testing.T) {
			s := newShelf(t, t.TempDir(), broken.text)
			newKeepalived(t, s).load(s.path, three)
			s.wantHas("1,2,3")
		})
		t.Run(broken.name+", nothing is known", func(t *testing.T) {
			s := newShelf(t, t.TempDir(), broken.text)
			if got := s.has(); !strings.HasPrefix(got, "1") {
				t.Errorf("in force: %s, want what could be read", got)
			}
			for _, e := range s.errors() {
				if strings.Contains(e.Message, "last good reading") {
					t.Errorf("there is none, and it is said: %s", e.Message)
				}
			}
		})
	}
	t.Run("gone, the last good reading is known", func(t *testing.T) {
		dir := t.TempDir()
		former := newShelf(t, dir, three)
		former.wantHas("1,2,3")
		former.Keep()
		if err := os.Remove(former.path); err != nil {
			t.Fatal(err)
		}
		newShelf(t, dir, "").wantHas("1,2,3")
	})
	t.Run("gone, nothing is known", func(t *testing.T) {
		s := newShelf(t, t.TempDir(), "")
		if _, err := s.Addresses("VI_1"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want an error of the file", err)
		}
		if said := s.errors(); len(said) != 1 || said[0].Message != "cannot read keepalived's configuration" {
			t.Errorf("want one error that promises nothing, got %v", said)
		}
	})
}

func TestAnInstanceThatABrokenFileLacksIsNotUnknown(t *testing.T) {
	const two = three + "vrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress {\n192.0.2.9\n}\n}\n"
	for _, managed := range [][]vrrp.FloatingIP{nil, {{Prefix: netip.MustParsePrefix("198.51.100.1/32")}}} {
		s := newShelf(t, t.TempDir(), two[:strings.Index(two, "192.0.2.3")])
		s.Managed = managed
		ips, err := s.Addresses("VI_2")
		if managed == nil && (!errors.Is(err, ErrDoubtful) || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "keepalived.conf:4: ")) {
			t.Errorf("got %v, want an error that names the place in the file", err)
		}
		if managed != nil && (err != nil || !slices.Equal(ips, managed)) {
			t.Errorf("got %v, %v; want the managed addresses", ips, err)
		}
		if members, err := s.Members("G"); managed == nil && !errors.Is(err, ErrDoubtful) || managed != nil && !slices.Equal(members, []string{"G"}) {
			t.Errorf("the group has %v, %v", members, err)
		}
		s = newShelf(t, t.TempDir(), two)
		s.Managed = managed
		if _, err := s.Addresses("VI_3"); !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v, want the instance to be unknown to a good file", err)
		}
	}
}

// An unprivileged notify script cannot look into keepalived, but sees when it was
// started.
func TestAFileOlderThanKeepalivedIsLoaded(t *testing.T) {
	dir := t.TempDir()
	former := newShelf(t, dir, three)
	former.wantHas("1,2,3")
	former.Keep()
	s := newShelf(t, dir, brokenFiles[0].text)
	at := stampOf(s.path).changed
	k := exec.Command("sleep", "60")
	for { // until the clock of process starts, 10 ms a tick, is past the change
		if err := k.Start(); err != nil {
			t.Fatal(err)
		}
		later := startedAfter(k.Process.Pid, time.Unix(at.Unix()))
		s.Process = func() (int, bool) { return k.Process.Pid, true }
		if later {
			break
		}
		_ = k.Process.Kill()
		_ = k.Wait()
		k = exec.Command("sleep", "60")
	}
	defer func() {
		_ = k.Process.Kill()
		_ = k.Wait()
	}()
	s.wantHas("1")
	s.write(three[:strings.Index(three, "192.0.2.1")])
	s.look(t.Context())
	s.wantHas("1")
}

// An old keepalived, or one whose processes may not be looked into, can be asked.
func TestAskedKeepalivedDecidesWhereItsCopyIsNotSeen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		var mu sync.Mutex
		runs, asked := []string{"1", "2", "3"}, 0
		answers := func(all ...string) {
			mu.Lock()
			defer mu.Unlock()
			runs, asked = all, 0
		}
		questions := func() int {
			mu.Lock()
			defer mu.Unlock()
			return asked
		}
		s.Ask = func(context.Context) (map[string][]vrrp.FloatingIP, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			answer := map[string][]vrrp.FloatingIP{}
			for _, last := range runs {
				answer["VI_1"] = append(answer["VI_1"], vrrp.FloatingIP{Prefix: netip.MustParsePrefix("192.0.2." + last + "/32"), Device: "eth0"})
			}
			return answer, nil
		}
		s.run(t)
		time.Sleep(time.Hour)
		if n := questions(); n > 0 {
			t.Errorf("asked %d times while nothing is open", n)
		}
		s.write(strings.Replace(three, "192.0.2.3/32", "192.0.2.4/32", 1))
		time.Sleep(time.Minute)
		s.wantHas("1,2,3")
		if s.note() != changedNote || questions() > 13 {
			t.Errorf("asked %d times, the note is %q", questions(), s.note())
		}
		answers("1", "2", "4")
		time.Sleep(10 * time.Second)
		s.wantHas("1,2,4")
		if s.note() != "" {
			t.Errorf("a note about a file that is loaded: %q", s.note())
		}
	})
}

func TestWhatNoProviderCanMoveIsLeftOutAndSaidOnce(t *testing.T) {
	text := strings.Replace(three, "192.0.2.2/32\n192.0.2.3/32\n}\n",
		"169.254.1.1/32\n224.0.0.9\n127.0.0.9/8\n}\nvirtual_ipaddress_excluded {\nfe80::1/64\nff02::1\n::1\n2001:db8::1\n}\n", 1)
	s := newShelf(t, t.TempDir(), text)
	for range 3 {
		s.wantHas("1,2001:db8::1")
	}
	if n := s.logs.FilterMessage("the address is never handed to a provider").Len(); n != 6 {
		t.Errorf("said %d times of 6 addresses", n)
	}
	s = newShelf(t, t.TempDir(), three)
	s.Managed = []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("fe80::1/64")}, {Prefix: netip.MustParsePrefix("192.0.2.7/32")}}
	s.wantHas("7")
}

// SIGHUP makes another book, while the file is half written.
func TestABookInheritsWhatTheFormerKnew(t *testing.T) {
	former := newShelf(t, t.TempDir(), three)
	former.RunDirectory = ""
	former.wantHas("1,2,3")
	for _, text := range []string{brokenFiles[0].text, ""} {
		former.write(text)
		s := newShelf(t, filepath.Dir(former.path), "")
		s.RunDirectory = ""
		s.Inherit(former.Book)
		s.wantHas("1,2,3")
	}
	if err := os.Remove(former.path); err != nil {
		t.Fatal(err)
	}
	s := newShelf(t, filepath.Dir(former.path), "")
	s.Inherit(former.Book)
	s.wantHas("1,2,3")
	s.write(strings.Replace(three, "192.0.2.3/32\n", "", 1))
	s.look(t.Context())
	s.wantHas("1,2")
}

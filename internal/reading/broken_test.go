package reading

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/vrrp"
)

// It is not known what keepalived has loaded: the good reading counts.
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
				if got["in_force"] != goodInForce || got["file"] != s.path ||
					broken.line > 0 && got["line"] != int64(broken.line) || !strings.Contains(fmt.Sprint(got["error"]), broken.reason) {
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

// A notify script that takes over, or a service that was started anew, finds the file
// half written.
func TestAFirstReadingThatIsBrokenMovesAllAddresses(t *testing.T) {
	for _, broken := range brokenFiles {
		t.Run(broken.name+", the last good reading is known", func(t *testing.T) {
			dir := t.TempDir()
			former := newShelf(t, dir, three)
			former.wantHas("1,2,3")
			former.Retain()
			s := newShelf(t, dir, broken.text)
			s.wantHas("1,2,3")
			if said := s.errors(); len(said) != 1 || said[0].ContextMap()["in_force"] != goodInForce {
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
				if e.ContextMap()["in_force"] == goodInForce {
					t.Errorf("there is no good reading, and it is said to be in force: %s", e.Message)
				}
			}
		})
	}
	t.Run("gone, the last good reading is known", func(t *testing.T) {
		dir := t.TempDir()
		former := newShelf(t, dir, three)
		former.wantHas("1,2,3")
		former.Retain()
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
		if said := s.errors(); len(said) != 1 || said[0].ContextMap()["in_force"] != "nothing" {
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

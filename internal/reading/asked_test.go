package reading

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/vrrp"
)

// An old keepalived, or one whose open files may not be read, can be asked.
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

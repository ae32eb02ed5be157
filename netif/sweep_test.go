package netif

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/journal"
	"berth/internal/testnet"
)

func TestSweepRemovesLeftoversAndNothingElse(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		foreign, former := netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("203.0.113.1/32")
		o := options(t)
		o.Record = filepath.Join(t.TempDir(), "bound")
		o.Managed = append(o.Managed, former)
		i := running(t, w, o)
		end := bind(t, i, former)
		end(ErrLeave)
		w.add(v4)
		w.add(v6)
		w.add(foreign)
		o.Managed = []netip.Prefix{v4, v6} // the configuration has changed meanwhile
		next := running(t, w, o)
		must(t, next.Sweep(func(p netip.Prefix) bool { return p == v6 }))
		if got, want := w.has(), "198.51.100.1/24 2001:db8::254/128"; got != want {
			t.Errorf("want %q, got %q", want, got)
		}
		w.add(former) // another program's now
		must(t, next.Sweep(func(p netip.Prefix) bool { return p == v6 }))
		if got, want := w.has(), "203.0.113.1/32"; !strings.Contains(got, want) {
			t.Errorf("want %s to stay, got %q", want, got)
		}
	})
}

func TestWhatTheProcessBeforeLeftIsThere(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Record = filepath.Join(t.TempDir(), "bound")
		next := func(want bool, why string) *Interface {
			t.Helper()
			i := running(t, w, o)
			if i.left() != want {
				t.Errorf("%s: want %t", why, want)
			}
			return i
		}
		first := next(false, "nothing was bound")
		end := bind(t, first, v4)
		end(ErrLeave)
		second := next(true, "an address was left")
		end = bind(t, second, v4)
		end(errors.New("the end"))
		w.add(v4) // by another program
		next(false, "no address was left")
	})
}

func TestSweepRemovesWhatAnEarlierRunLeftOnAnyInterface(t *testing.T) {
	testnet.Require(t)
	w := kernelWorld(t)
	former := netip.MustParsePrefix("203.0.113.1/32")
	sibling := netip.MustParsePrefix("203.0.113.2/32")
	o := options(t)
	o.Record = filepath.Join(t.TempDir(), "bound")
	r := openRecord(o.Record, journal.New(nil))
	r.add([]netip.Prefix{former})
	i := running(t, w, o)
	w.run("ip link set lo up")
	for _, p := range []string{v4.String(), v6.String(), former.String(), sibling.String()} {
		w.run("ip address add " + p + " dev lo valid_lft 600 preferred_lft 600 proto 190 || ip address add " + p + " dev lo valid_lft 600 preferred_lft 600")
	}
	w.run("ip address add 192.0.2.254/24 dev lo") // of an operator
	must(t, i.Sweep(func(netip.Prefix) bool { return true }))
	w.run(`test "$(ip -o address show dev lo scope global | awk '{print $4}' | xargs)" = "203.0.113.2/32 192.0.2.254/24"`)
}

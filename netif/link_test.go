package netif

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/internal/condition"
	"berth/internal/journal"
)

func TestARenamedInterfaceKeepsItsAddressesAndIsToldOnce(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		core, logs := observer.New(zap.InfoLevel)
		o.Journal = journal.New(zap.New(core))
		var l lease
		l.set(5 * time.Second)
		o.End = l.get
		i := running(t, w, o)
		release := bind(t, i, v4, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		changed, stop := condition.Signal(i)
		defer stop()
		w.rename("wan0")
		w.wait("a warning", func() bool { return logs.FilterField(zap.String("name", "wan0")).Len() == 1 })
		before := announced(w.heard(), v4.Addr())
		i.Announce()
		w.wait("announcements of the renamed interface", func() bool { return announced(w.heard(), v4.Addr()) > before })
		select {
		case <-changed:
			t.Error("want the condition to hold, got a change")
		default:
		}
		renewed := func() bool { // its lifetime was 3 s
			there := i.there(v4)
			return len(there) == 1 && there[0].valid == 3*time.Second && len(i.there(v6)) == 1
		}
		l.set(5 * time.Second)
		i.Renewed()
		w.wait("the addresses renewed", renewed)
		release(errDemoted)
		w.next(t, v4, false) // and no change before it
		w.next(t, v6, false)
		w.rename("eth0")
		w.wait("a line about its configured name", func() bool {
			return logs.FilterMessage(renamed.Over).Len() == 1
		})
		if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
			t.Errorf("want one warning, got %v", logs.All())
		}
	})
}

// udev may give the name to another interface, as it does at boot.
func TestAnotherInterfaceWithTheNameIsUsedOnceNothingIsBound(t *testing.T) {
	w := kernelWorld(t)
	i := running(t, w, options(t))
	release := bind(t, i, v4)
	w.next(t, v4, true)
	w.rename("wan0")
	w.wait("the new name", func() bool { i.there(v4); i.mu.Lock(); defer i.mu.Unlock(); return i.link.name == "wan0" })
	w.run("ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up")
	i.Renewed()
	if got := w.has(); got != v4.String() {
		t.Errorf("want the address where it was bound, got %q", got)
	}
	release(errDemoted)
	w.next(t, v4, false)
	bind(t, i, v4)
	if got := w.has(); got != "" {
		t.Errorf("want no address on the interface that has lost its name, got %q", got)
	}
	w.run("ip address show dev eth0 | grep -q " + v4.String())
}

func TestAnInterfaceThatMovedToAnotherNamespaceIsGone(t *testing.T) {
	w := kernelWorld(t)
	i := running(t, w, options(t))
	bind(t, i, v4)
	w.moveAway()
	w.wait("no interface", func() bool { _, why := i.State(); return why == "interface eth0 does not exist" })
}

// The removal of an address would remove others of its subnet from the new interface.
func TestAnInterfaceThatWasMadeAgainWithOtherSettingsIsNotUsed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		if ok, reason := b.i.State(); !ok {
			t.Errorf("want the condition to hold, got %q", reason)
		}
		b.k.alter(func() { b.k.promoteErr = errors.New("promote_secondaries is off") })
		b.destroy()
		b.create()
		synctest.Wait()
		if ok, reason := b.i.State(); ok || reason != "bind 192.0.2.254/32 to eth0: promote_secondaries is off" {
			t.Errorf("want the reason why it cannot be used, got %v, %q", ok, reason)
		}
	})
}

package netif

import (
	"net/netip"
	"testing"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAnAddressOnAnotherInterfaceOfAHostThatDoesNotOwnItIsToldOnce(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		core, logs := observer.New(zap.InfoLevel)
		o.Journal = journal.New(zap.New(core))
		o.Elsewhere = func(netip.Prefix) bool { return true }
		told := make(chan string, 10)
		o.Astray = func(p netip.Prefix, on string) { told <- p.String() + " on " + on }
		i := running(t, w, o)
		bind(t, i, v6) // owned by this host
		w.addElsewhere(v6)
		w.addElsewhere(v4)
		wantEqual(t, "192.0.2.254/32 on lo", <-told)
		i.Renewed()
		w.deleteElsewhere(v4)
		wantEqual(t, "192.0.2.254/32 on ", <-told)
		if n := logs.FilterLevelExact(zap.WarnLevel).FilterMessage(onAnotherInterface.Text).Len(); n != 1 {
			t.Errorf("want one warning, got %v", logs.All())
		}
		w.deleteElsewhere(v6)
	})
}

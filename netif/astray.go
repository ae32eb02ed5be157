package netif

import (
	"errors"
	"net/netip"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// astray tells whether an address is on another interface of this host although another
// host is entitled to it.
type astray struct {
	on        string // name of the interface, "" while the address is not astray
	condition *journal.Condition
}

// errBothAnswer is why an address must not be astray: the kernel answers for an address
// by every interface (arp_ignore in ip-sysctl.rst).
var errBothAnswer = errors.New("the kernel answers for it by every interface")

// tellAstray tells of the managed addresses that are astray. They are not removed,
// because another program put them there.
func (i *Interface) tellAstray(at *earliest) {
	for a, list := range i.onOthers {
		s, p := i.astray[a], i.allManaged()[a]
		if i.bindings[a] != nil || s.on != "" {
			continue
		}
		if !i.o.Elsewhere(p) {
			at.by(time.Now().Add(observeAgain))
			continue
		}
		s.on = i.kernel.nameOf(list[0].on)
		s.condition.Fail(onAnotherInterface, errBothAnswer, zap.Stringer("address", list[0].prefix), zap.String("on", s.on))
		i.setAstray(p, s.on)
	}
	for a, s := range i.astray {
		if s.on == "" || len(i.onOthers[a]) > 0 && i.bindings[a] == nil {
			continue
		}
		s.condition.Clear(zap.Stringer("address", i.allManaged()[a]), zap.String("on", s.on))
		s.on = ""
		i.setAstray(i.allManaged()[a], "")
	}
}

func (i *Interface) setAstray(p netip.Prefix, on string) {
	i.o.Metrics.setAstray(p.Addr(), on != "")
	i.o.Astray(p, on)
}

package netif

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// tellStrays says once of each managed address that is on another interface of this
// host, while another host is entitled to it, that two machines answer for it: the
// kernel answers for an address by whatever interface it is asked. It is not removed:
// somebody else put it there. It also says once when that has ended.
func (i *Interface) tellStrays(at *earliest) {
	for a, list := range i.strays {
		if i.held[a] != nil || i.told[a] != "" {
			continue
		}
		p := i.managed[a]
		if !i.o.Elsewhere(p) {
			at.by(time.Now().Add(lookAgain))
			continue
		}
		on := i.kernel.nameOf(list[0].on)
		i.told[a] = on
		i.log.Warn("the address is bound to another interface of this host although another host owns it: two machines answer for it; remove it: ip address del",
			zap.Stringer("address", list[0].prefix), zap.String("on", on))
		i.stray(p, on)
	}
	for a, on := range i.told {
		if len(i.strays[a]) > 0 && i.held[a] == nil {
			continue
		}
		delete(i.told, a)
		i.log.Info("this host no longer answers for the address by another interface", zap.Stringer("address", i.managed[a]), zap.String("on", on))
		i.stray(i.managed[a], "")
	}
}

func (i *Interface) stray(p netip.Prefix, on string) {
	i.o.Metrics.setAstray(p.Addr(), on != "")
	i.o.Astray(p, on)
}

package netif

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// observe reads the interface and its addresses from the kernel. With follow, an
// interface that has the configured name goes before the one that had it.
func (i *Interface) observe(follow bool) error {
	asked := time.Now()
	l, all, err := i.kernel.state(follow)
	if err != nil {
		return fmt.Errorf("read the addresses of %s: %w", i.o.Name, err)
	}
	i.retain(l, all, asked)
	return nil
}

// retain retains what the kernel answered when it was asked at some time: the rest of a
// lifetime counts from then, however long the answer took.
func (i *Interface) retain(l link, all []address, asked time.Time) {
	i.identify(l)
	i.retainLink(l)
	another := l.index != i.link.index
	returned := l.ready() && (!i.link.ready() || another || !bytes.Equal(l.mac, i.link.mac))
	i.link = l
	i.present = make(map[netip.Addr][]address, len(i.bindings))
	i.onOthers = map[netip.Addr][]address{}
	now, managed := time.Now(), i.allManaged()
	for _, a := range all {
		if _, ours := managed[a.prefix.Addr()]; !ours {
			continue
		}
		a.seen = asked
		if a.on == l.index {
			i.present[a.prefix.Addr()] = append(i.present[a.prefix.Addr()], a)
		} else {
			i.onOthers[a.prefix.Addr()] = append(i.onOthers[a.prefix.Addr()], a)
		}
	}
	if !l.up || another {
		i.expectAbsence()
	}
	for _, b := range i.bindings {
		if returned {
			b.announceAnew(now)
		}
	}
}

// expectAbsence notes that addresses may be missing: the kernel drops those of IPv6
// when the link goes down, and all with the interface.
func (i *Interface) expectAbsence() {
	for _, b := range i.bindings {
		b.absenceExpected = true
	}
}

// found returns the prefixes under which addresses were observed on the interface.
func (i *Interface) found(addrs ...netip.Prefix) (list []netip.Prefix) {
	for _, p := range addrs {
		for _, a := range i.present[p.Addr()] {
			list = append(list, a.prefix)
		}
	}
	return list
}

package netif

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"go.uber.org/zap"
)

// State is that of condition.Condition: the interface can be used while it is up, has
// a carrier, and the removal of an address does not remove others.
func (i *Interface) State() (holds bool, reason string) { return i.condition.State() }

// Watch is that of condition.Condition. changed must not call State.
func (i *Interface) Watch(changed func()) (stop func()) { return i.condition.Watch(changed) }

// has reports whether the interface has an index in the kernel.
func (i *Interface) has(index int) bool {
	i.usable.Lock()
	defer i.usable.Unlock()
	return i.usable.link.index == index
}

// retainLink retains the state of the interface for the condition.
func (i *Interface) retainLink(l link) {
	i.usable.Lock()
	defer i.usable.Unlock()
	i.usable.link = l
	i.setCondition()
}

// retainFitness retains why addresses may not be bound to the interface as it is: an
// interface that was deleted and made again has the settings of a new one. The condition
// is about the fixed addresses alone: an address that is added at run time must not
// make the interface unfit for all others.
func (i *Interface) retainFitness(l link) {
	unfit := ""
	for _, p := range i.o.Managed {
		if err := i.kernel.promotes(l.name, p); err != nil {
			unfit = fmt.Sprintf("bind %v to %s: %v", p, l.name, err)
			break
		}
	}
	i.unfit = i.unfitOf(l, slices.Collect(maps.Values(i.wanted)))
	i.usable.Lock()
	defer i.usable.Unlock()
	i.usable.unfit = unfit
	i.setCondition()
}

// unfitOf returns for each address that may not be bound to the interface as it is the
// reason. While there is no interface, none is unfit.
func (i *Interface) unfitOf(l link, addrs []netip.Prefix) (unfit map[netip.Addr]error) {
	unfit = map[netip.Addr]error{}
	promoted := false // one answer is for all: the setting is that of the interface
	for _, p := range addrs {
		if l.index == 0 || promoted {
			break
		}
		err := i.kernel.promotes(l.name, p)
		if err != nil {
			unfit[p.Addr()] = err
		}
		promoted = err == nil && shared(p)
	}
	return unfit
}

// setCondition is called with the lock of usable held.
func (i *Interface) setCondition() {
	reason := i.usable.unfit
	switch l := i.usable.link; {
	case l.index == 0:
		reason = "interface " + i.o.Name + " does not exist"
	case !l.up:
		reason = "interface " + l.name + " is down"
	case !l.carrier:
		reason = "interface " + l.name + " has no carrier"
	}
	i.condition.Set(reason == "", reason)
	i.o.Metrics.setReady(i.o.Name, reason == "")
}

// identify takes the interface that was observed, which may be another one than
// before, or the same with another name.
func (i *Interface) identify(l link) {
	if l.index == 0 {
		return
	}
	if l.index != i.link.index {
		i.retainFitness(l)
	}
	if l.name == i.o.Name {
		i.naming.Clear()
	} else {
		i.naming.Fail(renamed, fmt.Errorf("its name is %s", l.name), zap.String("name", l.name))
	}
	if l.listenErr == nil {
		i.listening.Clear()
	} else {
		i.listening.Fail(unattached, l.listenErr)
	}
}

package netif

import (
	"fmt"

	"go.uber.org/zap"
)

// State is that of condition.Condition: the interface can be used while it is up, has
// a carrier, and the removal of an address does not remove others.
func (i *Interface) State() (holds bool, reason string) { return i.condition.State() }

// Watch is that of condition.Condition. changed must not call State.
func (i *Interface) Watch(changed func()) (stop func()) { return i.condition.Watch(changed) }

// retainLink retains the state of the interface for the condition.
func (i *Interface) retainLink(l link) {
	i.usable.Lock()
	defer i.usable.Unlock()
	i.usable.link = l
	i.setCondition()
}

// retainFitness retains why addresses may not be bound to the interface as it is: an
// interface that was deleted and made again has the settings of a new one.
func (i *Interface) retainFitness(l link) {
	unfit := ""
	for _, p := range i.o.Managed {
		if err := i.kernel.promotes(l.name, p); err != nil {
			unfit = err.Error()
			break
		}
	}
	i.usable.Lock()
	defer i.usable.Unlock()
	i.usable.unfit = unfit
	i.setCondition()
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

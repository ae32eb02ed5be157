package netif

import "go.uber.org/zap"

// Ready reports whether the interface is up and has a carrier, and if not, what
// is wrong with it.
func (i *Interface) Ready() (ok bool, why string) {
	i.ready.Lock()
	defer i.ready.Unlock()
	switch l := i.ready.link; {
	case l.index == 0:
		return false, "interface " + i.o.Name + " does not exist"
	case !l.up:
		return false, "interface " + l.name + " is down"
	case !l.carrier:
		return false, "interface " + l.name + " has no carrier"
	}
	return i.ready.unfit == "", i.ready.unfit
}

// Changed returns a channel that is closed at the next change of Ready. Take it
// before asking.
func (i *Interface) Changed() <-chan struct{} {
	i.ready.Lock()
	defer i.ready.Unlock()
	return i.ready.changed
}

// setReady takes the state of the interface as Ready shows it.
func (i *Interface) setReady(l link) {
	i.ready.Lock()
	defer i.ready.Unlock()
	before := i.ready.link
	i.ready.link = l
	if before.index != 0 == (l.index != 0) && before.up == l.up && before.carrier == l.carrier {
		return
	}
	i.turnReady()
}

// turnReady is called with the lock of ready held.
func (i *Interface) turnReady() {
	close(i.ready.changed)
	i.ready.changed = make(chan struct{})
	i.o.Metrics.setReady(i.o.Name, i.ready.link.ready() && i.ready.unfit == "")
}

// setUnfit says why addresses may not be bound to the interface as it is: one that
// was made anew has the settings of a new one.
func (i *Interface) setUnfit(l link) {
	why := ""
	for _, p := range i.o.Managed {
		if err := promotes(l.name, p); err != nil {
			why = err.Error()
			break
		}
	}
	i.ready.Lock()
	defer i.ready.Unlock()
	if i.ready.unfit != why {
		i.ready.unfit = why
		i.turnReady()
	}
}

// recognize takes another interface, or another state of it, than before: what it is
// called, and whether it can be used.
func (i *Interface) recognize(l link) {
	if l.index == 0 {
		return
	}
	if l.index != i.link.index {
		i.setUnfit(l)
	}
	switch {
	case l.name == i.o.Name && i.renamed != "":
		i.renamed = ""
		i.log.Info("the interface has its configured name again")
	case l.name != i.o.Name && l.name != i.renamed:
		i.renamed = l.name
		i.log.Warn("the interface was renamed; its addresses stay on it; write its new name into the configuration, because the next start of berth looks for it by name",
			zap.String("name", l.name))
	}
	switch {
	case l.deaf == nil && i.deaf:
		i.log.Info("listening on the interface again")
	case l.deaf != nil && !i.deaf:
		i.log.Warn("cannot listen on the interface; claims of other machines are not heard and announcements are not sent; trying again", zap.Error(l.deaf))
	}
	i.deaf = l.deaf != nil
}

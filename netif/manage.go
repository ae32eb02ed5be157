package netif

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Manage replaces the addresses that may be bound here beside [Options.Managed], which
// stay. It may be called at any time, also before Sweep and Run, and does not ask the
// kernel for addresses; Run observes soon whether new ones are here already.
//
// An address of a call of Bind stays managed until that call has returned, with the prefix
// length that it was bound with; a change of the length takes effect then. An address that
// leaves is not touched any more, but for one that berth has bound and could not remove:
// it stays managed until it is gone.
//
// An address that cannot be managed is left out, and the others are taken. It is in the
// error, which joins an [*AddressError] for each; call Manage again to try it again. An
// address that an instance of the configuration has, or another interface of the [Host],
// cannot be managed: each address has one interface that decides about it.
func (i *Interface) Manage(all []netip.Prefix) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	wanted, err := i.manageable(all)
	managed := maps.Clone(i.allManaged())
	for a, p := range wanted {
		switch former, known := managed[a]; {
		case !known:
			managed[a] = p
			i.enter(p)
		case former != p:
			i.leaving[a] = true
		}
	}
	for a := range i.wanted {
		if _, stays := wanted[a]; !stays {
			i.leaving[a] = true
		}
	}
	i.wanted = wanted
	i.managed.Store(&managed)
	i.settle()
	i.reconcileAt = time.Time{} // the new addresses may be here already
	i.wakeUp()
	return err
}

// AddressError tells why an address cannot be managed.
type AddressError struct {
	Address   netip.Prefix
	Interface string
	Err       error
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("manage %v on %s: %v", e.Address, e.Interface, e.Err)
}

func (e *AddressError) Unwrap() error { return e.Err }

// Unmanaged returns the address.
func (e *AddressError) Unmanaged() netip.Prefix { return e.Address }

// Why an address cannot be managed, beside what the kernel says.
var (
	errNotUnicast = errors.New("it is not an address that one host of a network can have")
	errTwice      = errors.New("it is in the list twice, with two prefix lengths")
	errFixed      = errors.New("an instance of the configuration has the address")
)

// allManaged returns the addresses that are managed now. The map is never changed: the
// watch reads it beside everything else.
func (i *Interface) allManaged() map[netip.Addr]netip.Prefix { return *i.managed.Load() }

// manageable returns those of a list that can be managed beside the fixed addresses.
func (i *Interface) manageable(all []netip.Prefix) (wanted map[netip.Addr]netip.Prefix, err error) {
	wanted = make(map[netip.Addr]netip.Prefix, len(all))
	unfit := i.unfitOf(i.link, all)
	var errs []error
	for _, p := range all {
		a := p.Addr()
		other, twice := wanted[a]
		if twice && other == p {
			continue
		}
		err := unfit[a]
		if b := i.bindings[a]; b != nil && b.bound && b.prefix == p {
			err = nil // it is here, and what has changed since concerns its removal
		}
		switch {
		case !p.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
			err = errNotUnicast
		case twice:
			err = errTwice
		case err == nil:
			err = i.record.claim(a, i)
		}
		if err != nil {
			errs = append(errs, &AddressError{p, i.o.Name, err})
			continue
		}
		wanted[a] = p
	}
	return wanted, errors.Join(errs...)
}

// enter makes what belongs to a managed address.
func (i *Interface) enter(p netip.Prefix) {
	i.disputes[p.Addr()] = &disputes{contested: i.journal.Condition()}
	i.astray[p.Addr()] = &astray{condition: i.journal.Condition()}
	i.o.Metrics.begin(p)
}

// settle ends the management of the leaving addresses that nothing here needs any more,
// and takes those whose prefix length has changed.
func (i *Interface) settle() {
	if len(i.leaving) == 0 {
		return
	}
	managed := maps.Clone(i.allManaged())
	for a := range i.leaving {
		p, changed := i.wanted[a]
		switch {
		case i.bindings[a] != nil: // until its call of Bind has returned
			continue
		case changed: // or back in the list
			managed[a] = p
		case len(i.oursHere(a)) > 0: // until it is gone
			continue
		default:
			i.forget(managed[a])
			delete(managed, a)
		}
		delete(i.leaving, a)
	}
	i.managed.Store(&managed)
}

// removeLeaving removes addresses that berth has bound, that are leaving, and that no
// call of Bind removes.
func (i *Interface) removeLeaving(at *earliest) {
	var left []netip.Prefix
	for a := range i.leaving {
		if _, changed := i.wanted[a]; i.bindings[a] == nil && !changed {
			left = append(left, i.oursHere(a)...)
		}
	}
	if remaining, err := i.remove(left); err != nil {
		i.removing.Fail(unremoved, err)
		i.unremoved = remaining
		at.by(time.Now().Add(observeAgain))
	} else {
		i.record.remove(left)
	}
	i.settle()
}

// oursHere returns what berth has bound under an address that no call of Bind has any
// more, as its mark and its record tell, but for what it has handed over.
func (i *Interface) oursHere(a netip.Addr) (list []netip.Prefix) {
	for _, there := range i.present[a] {
		if !i.handedOver[a] && i.record.has(there) {
			list = append(list, there.prefix)
		}
	}
	return list
}

// forget undoes enter, and ends what others were told of the address.
func (i *Interface) forget(p netip.Prefix) {
	a := p.Addr()
	if d := i.disputes[a]; d != nil && d.anyContested() {
		d.contested.Drop()
		i.o.Contested(p, false)
	}
	if s := i.astray[a]; s != nil && s.on != "" {
		s.condition.Drop()
		i.o.Astray(p, "")
	}
	delete(i.disputes, a)
	delete(i.astray, a)
	delete(i.present, a)
	delete(i.onOthers, a)
	delete(i.handedOver, a)
	delete(i.unfit, a)
	i.record.free(a)
	i.o.Metrics.end(p)
	i.journal.Debug("the address is not managed any more", zap.Stringer("address", p))
}

package owner

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"berth/internal/journal"
)

// Manager is an interface whose addresses come and go. It is a *netif.Interface.
type Manager interface {
	Interface
	// Manage replaces the addresses that may be bound beside those of the instances. The
	// error joins an error for each that cannot be managed, with the method Unmanaged of a
	// *netif.AddressError; the others are managed.
	Manage(all []netip.Prefix) error
}

// Managed has an interface manage the addresses of a list that changes. It is for one
// goroutine.
type Managed struct {
	manager  Manager
	unusable *journal.Condition
	kind     journal.Kind
	list     []netip.Prefix // of the last call, nil before the first
	refused  map[netip.Addr]string
	retry    time.Time
}

// NewManaged returns what has m manage addresses; m may be nil, for addresses that are
// bound by other means. kind tells that some of them cannot be managed.
func NewManaged(m Manager, kind journal.Kind, j *journal.Journal) *Managed {
	return &Managed{manager: m, unusable: j.Condition(), kind: kind}
}

// ManageAgain is the pause before the interface is asked again to manage addresses that
// it cannot: a person has to set something right.
const ManageAgain = 10 * time.Second

// Set makes the interface ready for the addresses of a list. It asks the interface if the
// list has changed, or if the time to try again has come.
func (m *Managed) Set(all []netip.Prefix) {
	if m.manager == nil || m.list != nil && !m.Due() && slices.Equal(all, m.list) {
		return
	}
	m.list, m.retry = append([]netip.Prefix{}, all...), time.Time{}
	err := m.manager.Manage(all)
	if m.refused = refusals(err); err != nil {
		m.retry = time.Now().Add(ManageAgain)
		m.unusable.Fail(m.kind, err)
		return
	}
	m.unusable.Clear()
}

// Retry returns when Set is to be called although the list does not change, zero for never.
func (m *Managed) Retry() time.Time { return m.retry }

// Due reports whether that time has come.
func (m *Managed) Due() bool { return !m.retry.IsZero() && !time.Now().Before(m.retry) }

// Refusal returns why the interface does not manage an address of the list, "" if it does.
func (m *Managed) Refusal(a netip.Addr) string { return m.refused[a] }

// Has reports whether the list of the last call has an address with its prefix length.
func (m *Managed) Has(p netip.Prefix) bool { return slices.Contains(m.list, p) }

// Drop ends what was told of addresses that cannot be managed.
func (m *Managed) Drop() { m.unusable.Drop() }

// refusals returns the addresses that an error of Manage is about, and why.
func refusals(err error) map[netip.Addr]string {
	var errs []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	refused := map[netip.Addr]string{}
	for _, err := range errs {
		var one interface {
			error
			Unmanaged() netip.Prefix
		}
		if errors.As(err, &one) {
			refused[one.Unmanaged().Addr()] = err.Error()
		}
	}
	return refused
}

package ips

import (
	"context"
	"errors"
	"time"
)

// Address is an address that was added at run time, as the management API shows it: the
// object of LinK's API, and what berth tells beside that.
type Address struct {
	ID     string  `json:"id"` // that of ID
	IP     string  `json:"ip"` // with its prefix length
	Checks []Check `json:"checks,omitempty"`
	// KeepaliveInterval and HealthcheckInterval are in seconds, 0 for the default.
	KeepaliveInterval   int       `json:"keepalive_interval"`
	HealthcheckInterval int       `json:"healthcheck_interval"`
	Status              State     `json:"status,omitempty"`
	Owner               string    `json:"owner,omitempty"` // the member that has it, "" if that is not known
	Since               time.Time `json:"since,omitzero"`  // when Status became what it is
	Reason              string    `json:"reason,omitempty"`
	LastEvent           *Happened `json:"last_event,omitempty"`
}

// Happened is an event of LinK's machine.
type Happened struct {
	Event  Event     `json:"event"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Spec is an address to add.
type Spec struct {
	IP     string // as ParseAddress reads it
	Checks []Check
	// KeepaliveInterval and HealthcheckInterval are in seconds, 0 for the default.
	KeepaliveInterval, HealthcheckInterval int
}

// Change is a change of an address. Its fields that are nil change nothing.
type Change struct {
	Checks                                 *[]Check
	KeepaliveInterval, HealthcheckInterval *int
}

// Service is the addresses that were added at run time to one member. Its methods may be
// called by several goroutines at once. Their errors are those of this package, or that of
// the context, or one that says that etcd does not answer; then nothing has changed, but
// that a request whose answer was lost may have come through.
//
// An id is that of ID, or an address alone. The methods with an id return ErrUnknown for
// an address that is not there, and for a text that is neither.
type Service interface {
	// List returns the addresses in their order, never nil.
	List() []Address
	Get(id string) (Address, error)
	// Add returns after this member has the address in its list; ErrAssigned if that was
	// so before. The address is bound later, and by one member.
	Add(ctx context.Context, s Spec) (Address, error)
	// Remove returns after the address is unbound on this host, and given up.
	Remove(ctx context.Context, id string) error
	Update(ctx context.Context, id string, c Change) (Address, error)
	// Lock has this member become the owner if there is none and the member is able to. It
	// takes nothing from an owner that lives, and returns nil also when another one has
	// the address.
	Lock(ctx context.Context, id string) error
	// Failover has another member that is able to become the owner, if this member is
	// that; else this member becomes it, by agreement with the owner.
	Failover(ctx context.Context, id string) error
}

var (
	// ErrUnknown says that an address is not there.
	ErrUnknown = errors.New("not found")
	// ErrAssigned says that an address is there already. The words are those of LinK.
	ErrAssigned = errors.New("IP already assigned")
)

// InvalidError says what is wrong with something that a caller has given, and what would
// be right.
type InvalidError struct{ Text string }

// Error returns the text.
func (e *InvalidError) Error() string { return e.Text }

// ConflictError says why something that is right in itself cannot be done now, and what
// to do about that.
type ConflictError struct{ Text string }

// Error returns the text.
func (e *ConflictError) Error() string { return e.Text }

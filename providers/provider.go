package providers

import (
	"context"
	"net/netip"
)

// Provider is what a cloud must offer. One value serves all addresses of one
// account and is safe for concurrent use. Every method ends soon after its
// context does, makes no hidden retries, and returns an *Error (see errors.go)
// for whatever the API or the network did wrong.
type Provider interface {
	// Observe returns the holder of each of addrs. It makes as few calls as the
	// API allows, and as a side effect refreshes what the provider remembers of
	// objects (address to provider object, own server). Every address asked for
	// has an entry in the result; an address that is not a floating IP of the
	// account has the kind NotManaged.
	Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]Holder, error)

	// Claim points addr at this host alone, wherever it points now. check is the
	// permit to do so: it is called right before each write, and its error,
	// returned as it is, ends the claim. Claim is idempotent: called again after a
	// lost response it ends in the same state. The ids that it needs (own server,
	// provider object) come from memory or the cache on disk; it looks up only what
	// is missing there, and looks up again and retries once when the API says that
	// an id is wrong. An address that is not a floating IP of the account gives an
	// *Error of the kind NotFound.
	Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error

	// Self returns this host as the provider knows it, for the self-test.
	Self(ctx context.Context) (Server, error)
}

// Preparer is what a provider offers beside Provider when its first claim needs
// to know something that can be looked up before.
type Preparer interface {
	// Prepare looks up what Claim needs and is not known yet. It makes no call
	// when nothing is missing, and may be called again after an error. An account
	// without floating IPs is an *Error of the kind NotFound, and is not
	// remembered.
	Prepare(ctx context.Context) error
}

// Truster is what a provider offers beside Provider that calls an API over TLS.
type Truster interface {
	// Trust makes ready for the first handshake what can be made ready before the
	// first call. It makes no connection, and may run beside all other methods.
	Trust()
}

// Releaser is what a provider offers beside Provider when an address can be made to
// point nowhere.
type Releaser interface {
	// Release makes addr point away from this host. An address that points elsewhere
	// stays as it is, without a write. Otherwise Release has the obligations of Claim,
	// but that it looks first; nil means that the address was read back, and that it
	// does not point at this host.
	Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error
}

// Lister is what a provider offers beside Provider that can tell which floating IPs
// the account has.
type Lister interface {
	// Networks reads the networks of all floating IPs of the account, in order.
	Networks(ctx context.Context) ([]netip.Prefix, error)
}

// Grouper is what a provider offers beside Provider that knows groups of servers, such
// as the security groups of Exoscale.
type Grouper interface {
	// Group reads the servers of a group that run, by the name or the id of the group.
	// A group that does not exist is an *Error of the kind NotFound that lists those
	// there are. A group without servers that run is no error.
	Group(ctx context.Context, name string) ([]Member, error)
}

// Member is a server of a group.
type Member struct {
	Server
	// Addresses are those of the interfaces of the server that the API knows: public
	// ones before private ones, IPv4 before IPv6. They may be none.
	Addresses []netip.Addr
	Self      bool // the server is this host
}

// Peered is what a provider offers beside Provider that can be told which other servers
// may have this host's addresses beside it.
type Peered interface {
	// SetPeers replaces the servers that were told before, by their ids. Each
	// observation from then on looks at them, in addition to those that the
	// configuration names, so that an address which such a server has beside this host
	// is seen, and a claim takes it away from there. The id of this host and a text
	// that cannot be an id are left out. SetPeers makes no call.
	SetPeers(ids []string)
}

// Auditor is what a provider offers beside Provider when Observe cannot see all
// holders, so that more has to be read now and then. An audit has no effect but on
// what Observe tells later.
type Auditor interface {
	// AuditDue returns a channel that can be received from when an audit is
	// wanted. A provider of which AuditDue was never called expects no audit.
	AuditDue() <-chan struct{}
	// Audit reads all objects that can have a floating IP, in many calls, and writes
	// nothing. It tells what it finds, and why it fails.
	Audit(ctx context.Context)
}

// Server is a virtual machine at the provider.
type Server struct {
	ID   string // the id that the API uses
	Name string // empty if the API was not asked
}

// HolderKind is the closed set of holders of a floating IP.
type HolderKind uint8

const (
	// NotManaged means that the address is not a floating IP of the account.
	NotManaged HolderKind = iota
	// Nobody means that the floating IP points nowhere.
	Nobody
	// Mine means that the floating IP points at this host alone.
	Mine
	// Other means that the floating IP points at another server.
	Other
	// NotServer means that the floating IP points at something else than a server,
	// such as a load balancer.
	NotServer
	// Unknown means that the floating IP points at this host, and that it is not
	// known yet whether it points at other servers too. Owner says why.
	Unknown
)

// Holder is the server, or else, at which a floating IP points, as read from the API. It
// is the provider's answer; the owner of an instance, by contrast, is the host that
// keepalived or etcd elected. The field Owner names the server for people.
type Holder struct {
	Kind HolderKind
	// Object is the provider's object, for people: a network such as
	// 2001:db8:1::/56, or an id. Several addresses can share one.
	Object string
	// Owner names the holder for people: a server's id or name, "load
	// balancer X". Empty for Nobody and NotManaged.
	Owner string
	// Assumed tells that the provider cannot be asked: the kind is what this process made
	// of the address, Nobody where it did nothing.
	Assumed bool
	// Beside tells of an Other that the floating IP points at this host, too.
	Beside bool
}

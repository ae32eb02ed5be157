package providers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"berth/internal/journal"
)

// Listed is a floating IP as a cloud lists it.
type Listed struct {
	Key       string // what the API wants to have in order to move it
	Server    string // id of the server that has it, "" for none
	Owner     string // the same for people; "" if the id is all there is
	NotServer string // for people, what else has it, such as a load balancer
}

// MoverOptions say how a cloud does what a Mover needs.
type MoverOptions struct {
	Endpoint   string // of the API
	Configured string // id of the own server, "" if it is not configured
	// Metadata is where the metadata service has the id of the own server, and
	// ParseID takes it out of the document there.
	Metadata string
	ParseID  func(text []byte) (string, error)

	// List reads all floating IPs of the account, by their networks, in as few
	// calls as the API allows.
	List   func(context.Context) (map[netip.Prefix]Listed, error)
	OpList string // the operation, for errors
	// Point moves a floating IP to a server and returns when the API says that
	// this is done. It writes once.
	Point   func(ctx context.Context, key, server string) error
	OpPoint string
	// UnknownServer is the status with which the API refuses a server that it does
	// not know; a floating IP that the API does not know gives 404.
	UnknownServer int
}

// Mover is what clouds have in common whose floating IPs are moved as a whole, by
// one write, from any holder, and whose account comes in one list. It implements
// Observe, Claim and Prepare of Provider and Preparer.
type Mover struct {
	// Server is this host.
	Server *OwnServer

	MoverOptions
	provider string
	journal  *journal.Journal
	cache    *IDCache

	listing Shared[struct{}, map[netip.Prefix]Listed]
	moves   Shared[move, struct{}]

	mu      sync.Mutex
	objects map[netip.Prefix]string // network to key, nil if not known
}

// move is what makes two claims the same.
type move struct{ key, server string }

// NewMover returns the Mover of a client. It makes no calls.
func (a *Access) NewMover(o MoverOptions) *Mover {
	cache := a.IDCache(o.Endpoint, "")
	cached := cache.Load()
	return &Mover{MoverOptions: o, provider: a.Provider, journal: a.Journal, cache: cache, objects: cached.Objects,
		Server: newOwnServer(a, cache, o.Configured, cached.Server, func(ctx context.Context) (string, error) {
			return a.AskMetadata(ctx, o.Metadata, o.ParseID)
		})}
}

var (
	_ Preparer = (*Mover)(nil)
	_ Lister   = (*Mover)(nil)
)

// Observe makes one list for any number of addresses.
func (m *Mover) Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]Holder, error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var serverErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		m.Server.Verify(asking)
		_, _, serverErr = m.Server.ID(asking)
	})
	// Not shared with other calls that list: they may have begun before.
	ips, err := m.list(ctx)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, serverErr); err != nil {
		return nil, err
	}
	holders := make(map[netip.Addr]Holder, len(addrs))
	for _, a := range addrs {
		if network, ip, ok := Containing(ips, a); ok {
			holders[a] = m.holder(network, ip)
		} else {
			holders[a] = Holder{Kind: NotManaged}
		}
	}
	return holders, nil
}

// Claim makes one write, and no other call if the floating IP's key and the
// server's id are known.
func (m *Mover) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var server string
	var asked bool
	var serverErr error
	var wg sync.WaitGroup
	wg.Go(func() { server, asked, serverErr = m.Server.ID(asking) })
	key, listed, err := m.object(ctx, addr)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, serverErr); err != nil {
		return err
	}

	if err := check(ctx); err != nil {
		return err
	}
	err = m.point(ctx, move{key, server})
	e, ok := errors.AsType[*Error](err)
	if !ok || !e.Unknown() {
		return err
	}
	if listed && (asked || m.Server.Fixed()) {
		return err // both ids were looked up just now
	}
	m.journal.Tell(LookingUpAgain, zap.String("address", addr.String()), zap.Error(err))
	if e.Status == m.UnknownServer && !m.Server.Fixed() {
		// If the metadata service does not answer, the id that was known stands.
		wg.Go(func() {
			if id, err := m.Server.Learn(ctx); err == nil {
				server = id
			}
		})
	}
	key, err = m.lookUp(ctx, addr)
	wg.Wait()
	if err != nil {
		return err
	}
	if err := check(ctx); err != nil {
		return err
	}
	return m.point(ctx, move{key, server})
}

// Prepare asks the metadata service for the own server and lists the floating
// IPs, each only if neither this process nor the cache on disk knows it. An account
// without floating IPs is an error of the kind NotFound.
func (m *Mover) Prepare(ctx context.Context) error {
	if _, _, err := m.Server.ID(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	known := m.objects != nil
	m.mu.Unlock()
	if known {
		return nil
	}
	ips, err := m.listing.Do(ctx, struct{}{}, m.list)
	if err == nil && len(ips) == 0 {
		return EmptyError(m.provider, m.OpList)
	}
	return SharedError(ctx, m.provider, m.OpList, err)
}

// list reads all floating IPs of the account and remembers their keys. An object that
// a list lacks is not forgotten: a list can be empty or short once, and a key that is
// not valid any more is refused, and looked up again, when it is used.
func (m *Mover) list(ctx context.Context) (map[netip.Prefix]Listed, error) {
	ips, err := m.List(ctx)
	if err != nil {
		return nil, NotTheAddress(err)
	}
	if len(ips) == 0 {
		return ips, nil
	}
	m.mu.Lock()
	objects := make(map[netip.Prefix]string, len(m.objects)+len(ips))
	maps.Copy(objects, m.objects)
	for network, ip := range ips {
		objects[network] = ip.Key
	}
	m.objects = objects
	m.mu.Unlock()
	m.cache.Store(IDs{Objects: objects})
	return ips, nil
}

// object returns the key of the floating IP that addr is, or lies in, from memory
// or, if the key is not there, by listing. listed tells that the API was asked.
func (m *Mover) object(ctx context.Context, addr netip.Addr) (key string, listed bool, err error) {
	m.mu.Lock()
	objects := m.objects
	m.mu.Unlock()
	if _, key, ok := Containing(objects, addr); ok {
		return key, false, nil
	}
	key, err = m.lookUp(ctx, addr)
	return key, true, err
}

// lookUp lists to find the key for addr. Callers share one list.
func (m *Mover) lookUp(ctx context.Context, addr netip.Addr) (string, error) {
	ips, err := m.listing.Do(ctx, struct{}{}, m.list)
	if err != nil {
		return "", SharedError(ctx, m.provider, m.OpList, err)
	}
	_, ip, ok := Containing(ips, addr)
	if !ok {
		return "", NotManagedError(m.provider, m.OpPoint, addr)
	}
	return ip.Key, nil
}

// Networks makes one list.
func (m *Mover) Networks(ctx context.Context) ([]netip.Prefix, error) {
	ips, err := m.listing.Do(ctx, struct{}{}, m.list)
	if err != nil {
		return nil, SharedError(ctx, m.provider, m.OpList, err)
	}
	return slices.SortedFunc(maps.Keys(ips), netip.Prefix.Compare), nil
}

// Unpoint is Release for a cloud that can have a floating IP point nowhere: unpoint
// makes that request, which is the operation op, and returns when the API says that it
// is done. Unpoint lists before and, after a request, again: the request does not name a
// server, and would take the floating IP away from another server as well.
func (m *Mover) Unpoint(ctx context.Context, addr netip.Addr, check func(context.Context) error, op string, unpoint func(ctx context.Context, key string) error) error {
	ip, here, err := m.here(ctx, op, addr)
	if err != nil || !here {
		return err
	}
	if err := check(ctx); err != nil {
		return err
	}
	writeErr := NotTheAddress(unpoint(ctx, ip.Key))
	if ctx.Err() != nil {
		return cmp.Or(writeErr, error(EndedError(ctx, m.provider, op)))
	}
	switch _, here, err := m.here(ctx, op, addr); {
	case err == nil && !here:
		return nil // whatever became of the request: another may have made it, or its answer was lost
	case writeErr != nil:
		return writeErr
	case err != nil:
		return err
	}
	return &Error{Provider: m.provider, Op: op, Kind: Transient, Detail: addr.String() + " was to point nowhere, but is with this host"}
}

// here lists, and returns the floating IP that addr is or lies in, and whether it
// points at this host.
func (m *Mover) here(ctx context.Context, op string, addr netip.Addr) (ip Listed, here bool, err error) {
	if _, _, err := m.Server.ID(ctx); err != nil {
		return Listed{}, false, err
	}
	m.Server.Verify(ctx)
	ips, err := m.list(ctx) // not shared: one that began before a write does not tell of it
	if err != nil {
		return Listed{}, false, err
	}
	_, ip, ok := Containing(ips, addr)
	if !ok {
		return Listed{}, false, NotManagedError(m.provider, op, addr)
	}
	return ip, m.Server.Is(ip.Server), nil
}

// point moves a floating IP here. Addresses of one network are one object, so
// that claims for several of them at once share a request.
func (m *Mover) point(ctx context.Context, to move) error {
	_, err := m.moves.Do(ctx, to, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.Point(ctx, to.key, to.server)
	})
	return NotTheAddress(SharedError(ctx, m.provider, m.OpPoint, err))
}

// holder returns the holder of a floating IP.
func (m *Mover) holder(network netip.Prefix, ip Listed) Holder {
	h := Holder{Object: network.String(), Owner: cmp.Or(ip.Owner, ip.Server)}
	switch {
	case m.Server.Is(ip.Server):
		h.Kind, h.Owner = Mine, ip.Server
	case ip.Server != "":
		h.Kind = Other
	case ip.NotServer != "":
		h.Kind, h.Owner = NotServer, ip.NotServer
	default:
		h.Kind = Nobody
	}
	return h
}

// ParseNetwork reads a network with or without its length, as netip has it.
func ParseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not a network", text)
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// Containing returns the smallest of the networks that contains addr, and the value
// of that network. Floating IPs do not overlap today; if they ever do, traffic goes
// to the smallest. A burst of claims asks for as many addresses as there are
// networks, so the search does not go through all networks.
func Containing[V any](networks map[netip.Prefix]V, addr netip.Addr) (netip.Prefix, V, bool) {
	for bits := addr.BitLen(); bits >= 0; bits-- {
		network, _ := addr.Prefix(bits)
		if v, ok := networks[network]; ok {
			return network, v, true
		}
	}
	var none V
	return netip.Prefix{}, none, false
}

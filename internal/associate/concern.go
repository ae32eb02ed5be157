package associate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Facts is what is known of the instances to which addresses belong.
type Facts struct {
	Release   bool
	Addresses []netip.Addr // that are to be moved
	// Instances has the addresses of each instance of the configuration.
	Instances map[string][]netip.Addr
	// Local are the instances of which this host has a status; Alive tells whether the
	// process of one still acts for it.
	Local  []status.Instance
	Unseen error // why some of them could not be read, or nil
	Alive  func(status.Instance) bool
	// Etcd tells that a lease in etcd decides: that of an election if Elects, else that
	// which keepalived's MASTER needs too. Owners has the member that owns an instance,
	// Member is this host, and Unread why the owners are not known. With Pool, addresses
	// of no instance may be of the pool.
	Etcd, Elects, Pool bool
	Owners             map[string]string
	Unread             error
	Member             string
}

// Concern is what speaks against a move of an address.
type Concern struct {
	Address netip.Addr
	Text    string
	// Refuse tells that the move would go against what etcd has decided, or that this is
	// not known.
	Refuse bool
}

// Concerns returns what speaks against a move, in the order of the addresses.
func Concerns(f Facts) []Concern {
	var all []Concern
	for _, addr := range f.Addresses {
		own := f.inEtcd(addr)
		if len(own) == 0 { // else the same would be said twice
			own = f.here(addr)
		}
		all = append(all, own...)
	}
	return all
}

// inEtcd returns what etcd's decision has against the move.
func (f *Facts) inEtcd(addr netip.Addr) []Concern {
	if !f.Etcd {
		return nil
	}
	var all []Concern
	say := func(format string, args ...any) {
		all = append(all, Concern{addr, fmt.Sprintf(format, args...), true})
	}
	names := f.of(addr)
	if len(names) == 0 && f.Pool {
		say("the pool may have the address, and its members then move it back; berth pool drain has a host give its addresses up")
	}
	for _, name := range names {
		owner, other := f.Owners[name], "keepalived's MASTER must be this host first"
		if f.Elects {
			other = "berth takeover, run here, moves it by agreement"
		}
		switch {
		case f.Unread != nil:
			say("the owner of instance %q in etcd is not known: %v", name, f.Unread)
		case f.Release && owner == f.Member && f.Elects:
			say("this host owns instance %q in etcd and points the address here again; berth release hands it over", name)
		case f.Release && owner == f.Member:
			say("this host owns instance %q in etcd and points the address here again", name)
		case !f.Release && owner != "" && owner != f.Member:
			say("%s owns instance %q in etcd and takes the address back; %s", owner, name, other)
		}
	}
	return all
}

// here returns what the berth of this host does about the move. A notify script ends with
// the state MASTER; what it has recorded is true without it.
func (f *Facts) here(addr netip.Addr) []Concern {
	var all []Concern
	if f.Unseen != nil {
		all = append(all, Concern{Address: addr, Text: fmt.Sprintf("what berth on this host does about the address is not known: %v", f.Unseen)})
	}
	for _, in := range f.Local {
		master, alive := in.State == vrrp.Master, f.Alive(in)
		switch {
		case !f.has(in, addr):
		case f.Release && master && alive:
			all = append(all, Concern{Address: addr, Text: fmt.Sprintf(
				"berth on this host (process %d) is MASTER of instance %q and points the address here again; stop it before", in.PID, in.Instance)})
		case !f.Release && !master && (alive || in.Mode == "notify"):
			all = append(all, Concern{Address: addr, Text: fmt.Sprintf(
				"instance %q is %s on this host; the host on which it is MASTER takes the address back", in.Instance, in.State)})
		}
	}
	return all
}

// has tells whether an instance of this host has the address, by its status or by the
// configuration.
func (f *Facts) has(in status.Instance, addr netip.Addr) bool {
	return slices.Contains(f.Instances[in.Instance], addr) || slices.ContainsFunc(in.Addresses, func(a status.Address) bool {
		p, err := netip.ParsePrefix(a.Address)
		return err == nil && p.Addr() == addr
	})
}

// of returns the instances of the configuration that have the address, in order.
func (f *Facts) of(addr netip.Addr) []string {
	var names []string
	for name, addrs := range f.Instances {
		if slices.Contains(addrs, addr) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Heed tells the concerns, and returns an error that names those that refuse the move.
// With force they are told like the others, and with dryRun too: nothing is moved then.
func Heed(concerns []Concern, force, dryRun bool, j *journal.Journal) error {
	var errs []error
	for _, c := range concerns {
		kind := concerned
		switch {
		case c.Refuse && !force && !dryRun:
			errs = append(errs, fmt.Errorf("%s: %s", c.Address, c.Text))
			continue
		case c.Refuse && force:
			kind = forced
		}
		j.Tell(kind, zap.String("address", c.Address.String()), zap.String("reason", c.Text))
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("nothing was moved; --force moves against the owner in etcd"))
	}
	return errors.Join(errs...)
}

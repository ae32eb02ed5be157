package added

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/election"
	"berth/ips"
	"berth/vrrp"
)

// entry is an address of the list.
type entry struct {
	ip                     vrrp.FloatingIP
	checks                 []ips.Check
	keepalive, healthcheck int // intervals in seconds, 0 for the default
	added                  time.Time
	revision               int64 // of the key, 0 while the key is not known
}

// stored is the value of a key.
type stored struct {
	IP                  string      `json:"ip"`
	Checks              []ips.Check `json:"checks,omitempty"`
	HealthcheckInterval int         `json:"healthcheck_interval,omitempty"`
	KeepaliveInterval   int         `json:"keepalive_interval,omitempty"`
	Added               time.Time   `json:"added,omitzero"`
}

func (e entry) stored() stored {
	return stored{e.ip.String(), e.checks, e.healthcheck, e.keepalive, e.added}
}

// encode returns the value of the key.
func (e entry) encode() []byte {
	text, err := json.Marshal(e.stored())
	if err != nil {
		panic(err) // texts and numbers always have a form
	}
	return text
}

// same reports whether two entries of an address mean the same.
func (e entry) same(other entry) bool {
	return e.ip == other.ip && slices.Equal(e.checks, other.checks) && e.keepalive == other.keepalive && e.healthcheck == other.healthcheck
}

// entry returns the entry of a value, or what is wrong with it.
func (v stored) entry() (entry, error) {
	spec := ips.Spec{IP: v.IP, Checks: v.Checks, KeepaliveInterval: v.KeepaliveInterval, HealthcheckInterval: v.HealthcheckInterval}
	ip, err := spec.Parse()
	return entry{ip: ip, checks: v.Checks, keepalive: v.KeepaliveInterval, healthcheck: v.HealthcheckInterval, added: v.Added}, err
}

// stray is a key, or the value of one, that has no effect, and why.
type stray struct{ key, reason string }

// parse returns the address of a key. A value that does not say more is in odd; err says
// that the key is that of no address.
func parse(name string, v election.AddedValue) (e entry, odd, err error) {
	ip, err := ips.ParseAddress(name)
	switch {
	case err != nil:
		return entry{}, nil, err
	case name != ip.Addr().String():
		return entry{}, nil, fmt.Errorf("berth writes the address as %v, and its prefix length into the value; write that key", ip.Addr())
	}
	e = entry{ip: ip, revision: v.Revision}
	if strings.TrimSpace(string(v.Value)) == "" {
		return e, nil, nil
	}
	var value stored
	if err := json.Unmarshal(v.Value, &value); err != nil {
		return e, fmt.Errorf("the value is no JSON of an address: %w", err), nil
	}
	full, err := value.entry()
	switch {
	case err != nil:
		return e, err, nil
	case full.ip.Addr() != ip.Addr():
		return e, fmt.Errorf("the value is that of %v", full.ip), nil
	}
	full.revision = v.Revision
	return full, nil, nil
}

// book has the list of addresses that counts: that of etcd, or, where etcd's history has
// broken, the last one before that until etcd has it again. This member is the only one
// that writes its list, and nobody has retracted the addresses of a history that is lost.
type book struct {
	known  bool // the list is that of etcd, or of the process before this one
	list   map[netip.Addr]entry
	era    int         // of etcd's history, which keys follow
	stands bool        // the list is to be written again
	due    []rewriting // what is to be written for that
	odd    []stray     // keys and values without effect
	parsed map[string]reading
	order  []netip.Addr // of the list, nil until it is asked for
}

// reading is what a key was found to say at a revision.
type reading struct {
	revision int64
	entry    entry
	odd, err error
}

// read returns what a key says, which takes its time for a thousand of them.
func (b *book) read(name string, v election.AddedValue) reading {
	if r, read := b.parsed[name]; read && r.revision == v.Revision {
		return r
	}
	r := reading{revision: v.Revision}
	r.entry, r.odd, r.err = parse(name, v)
	return r
}

// rewriting is a change that etcd needs to have the list again.
type rewriting struct {
	name  string
	was   int64
	value []byte // nil: the key is to be deleted
}

// follow takes the keys of this member.
func (b *book) follow(keys election.AddedKeys) {
	if keys.Era != b.era {
		b.parsed, b.stands = nil, b.stands || b.known
	}
	list, parsed := make(map[netip.Addr]entry, len(keys.Values)), make(map[string]reading, len(keys.Values))
	b.odd = nil
	for name, v := range keys.Values {
		r := b.read(name, v)
		parsed[name] = r
		switch {
		case r.err != nil:
			b.odd = append(b.odd, stray{name, r.err.Error()})
			continue
		case r.odd != nil:
			b.odd = append(b.odd, stray{name, r.odd.Error()})
		}
		list[r.entry.ip.Addr()] = r.entry
	}
	b.parsed = parsed
	b.era = keys.Era
	if b.stands {
		if b.due = b.missing(list); len(b.due) > 0 {
			return
		}
	}
	b.known, b.stands, b.due, b.list, b.order = true, false, nil, list, nil
}

// missing returns how a list must be changed to become that of the book.
func (b *book) missing(list map[netip.Addr]entry) (due []rewriting) {
	for a, e := range b.list {
		if there, listed := list[a]; !listed || !there.same(e) {
			due = append(due, rewriting{a.String(), there.revision, e.encode()})
		}
	}
	for a, there := range list {
		if _, listed := b.list[a]; !listed {
			due = append(due, rewriting{a.String(), there.revision, nil})
		}
	}
	slices.SortFunc(due, func(x, y rewriting) int { return strings.Compare(x.name, y.name) })
	return due
}

// sorted returns the addresses of the list in order.
func (b *book) sorted() []netip.Addr {
	if b.order == nil {
		b.order = slices.SortedFunc(maps.Keys(b.list), netip.Addr.Compare)
	}
	return b.order
}

package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/election"
	"berth/pool"
	"berth/vrrp"
)

// errUnread stands for why etcd cannot be reached before it has answered for the first time.
var errUnread = errors.New("etcd has not answered yet")

// facts are what a View is assembled from.
type facts struct {
	prefix, poolPrefix string
	this, mode         string
	alone              string // why there is no member in etcd
	configured         map[string]bool
	local              *Local            // nil where nobody runs here: then the entries are empty
	entries            map[string]*entry // of this host
	keys               *election.ClusterKeys
	known              bool
	reach              error // why etcd cannot be asked
	since              time.Time
	told               map[string]told
	gone               map[string]gone
	owners             owners
}

// assemble is called with the lock held.
func (c *Cluster) assemble(entries map[string]*entry) View {
	configured := map[string]bool{}
	for _, name := range c.Instances {
		configured[name] = true
	}
	f := &facts{prefix: c.Prefix, poolPrefix: c.PoolPrefix, this: c.Local.Member, mode: c.Local.Mode, alone: c.Alone, configured: configured, local: c.Local,
		entries: entries, keys: &c.keys, known: c.known, reach: c.reach, since: c.since, told: c.members.told, gone: c.members.gone, owners: c.owners}
	f.told = maps.Clone(f.told) // what this process tells now is newer than what etcd has
	own := told{is: c.Local.told()}
	f.told[f.this] = own
	v := f.view()
	v.Moves = merge(slices.Concat(own.is.Moves, c.heard), c.saw)
	return v
}

// view returns all but the times that leases have left.
func (f *facts) view() View {
	v := View{Prefix: f.prefix, This: clean(f.this, maxName), Members: []MemberView{}, Addresses: []AddressView{}, Moves: []Move{}}
	v.Etcd = EtcdView{Used: f.alone == "", Reachable: f.reach == nil, Since: moment(f.since)}
	notes := []string{}
	switch {
	case f.alone != "":
		notes = append(notes, f.alone)
	case f.reach != nil:
		v.Etcd.Reason = clean(f.reach.Error(), maxReason)
		note := "etcd does not answer this host: what concerns other members is as last known"
		if !f.known {
			note = "etcd has not answered this host yet: other members are not known"
		}
		notes = append(notes, note)
	}
	f.instances(&v)
	if note := f.pool(&v); note != "" {
		notes = append(notes, note)
	}
	sortAddresses(v.Addresses)
	f.members(&v)
	v.Note = strings.Join(notes, "; ")
	return v
}

// instances adds the addresses of all instances: those that have candidates, those of
// this host, and those that other members tell of. An instance that only a member had
// that has gone stays for as long as this member is shown: it has no owner.
func (f *facts) instances(v *View) {
	elsewhere := f.elsewhere()
	names := map[string]bool{}
	for name := range f.keys.Instances {
		names[name] = true
	}
	for name := range f.entries {
		names[name] = true
	}
	for name := range elsewhere {
		names[name] = true
	}
	for _, member := range slices.Sorted(maps.Keys(f.gone)) {
		t := f.gone[member].told.is
		for _, in := range t.Instances {
			if in.Instance != "" && !names[in.Instance] && !f.isPool(in.Instance) {
				names[in.Instance] = true
				in.State, in.Reason = "", "it is gone"
				elsewhere[in.Instance] = []from{{member, t.Mode, in}}
			}
		}
	}
	v.Addresses = make([]AddressView, 0, len(names))
	for name := range names {
		if f.isPool(name) {
			continue // its addresses are told apart
		}
		f.instance(v, name, elsewhere[name])
	}
}

// entry returns that of an instance on this host, an empty one where it has none.
func (f *facts) entry(name string) (e *entry, is bool) {
	if e, is = f.entries[name]; !is {
		e = &entry{}
	}
	return e, is
}

// poolInstance is the name of the pool in the status.
const poolInstance = "pool"

// isPool reports whether a name stands for the pool, and not for an instance.
func (f *facts) isPool(name string) bool {
	return name == poolInstance && f.poolPrefix != "" && len(f.keys.Instances[name]) == 0
}

// from is an instance and the member that tells of it.
type from struct {
	member string
	mode   string
	ToldInstance
}

// elsewhere returns what other members tell of instances, by instance and in the order of
// the members.
func (f *facts) elsewhere() map[string][]from {
	all := map[string][]from{}
	for _, member := range slices.Sorted(maps.Keys(f.told)) {
		if member == f.this && f.local != nil {
			continue
		}
		t := f.told[member].is
		for _, in := range t.Instances {
			if in.Instance != "" && !f.isPool(in.Instance) {
				all[in.Instance] = append(all[in.Instance], from{member, t.Mode, in})
			}
		}
	}
	return all
}

// instance adds the addresses of one.
func (f *facts) instance(v *View, name string, elsewhere []from) {
	queue := f.keys.Instances[name]
	here, isHere := f.entry(name)
	a := AddressView{Instance: clean(name, maxName), Candidates: []string{}}
	for _, c := range queue {
		a.Candidates = append(a.Candidates, clean(c.Member, maxName))
	}
	f.owner(&a, name, queue, here, isHere, elsewhere)
	addresses := f.addresses(name, queue, here, isHere, elsewhere)
	a.Kind = f.kind(name, queue, isHere, elsewhere, addresses)
	a.CanFailover = a.Instance == name && f.canFailover(&a, queue)
	if len(addresses) == 0 {
		v.Addresses = append(v.Addresses, a)
	}
	for _, text := range addresses {
		one := a
		one.Address = canonical(text)
		if a.Kind == KindAdded {
			one.ID = idOf(text)
		}
		v.Addresses = append(v.Addresses, one)
	}
}

// owner fills in who has an instance, since when, and what is wrong.
func (f *facts) owner(a *AddressView, name string, queue []election.Candidate, here *entry, isHere bool, elsewhere []from) {
	current := f.reach == nil && f.known
	switch {
	case f.alone != "":
		a.Owner, a.Since = here.owner, time.Time{}
		if here.acts() {
			a.Owner, a.Since = f.this, here.since
		}
		if !here.acts() && here.owner == f.this {
			a.Owner = ""
		}
	case len(queue) > 0:
		a.Owner, a.Since = queue[0].Member, f.sinceOf(name, queue[0], here, elsewhere)
		if queue[0].Foreign {
			a.Reason = "the owner is a program other than berth"
		}
		own := queue[0].Own
		a.LastKnown = !current && !own
		if !current && own && !here.acts() { // this host knows better than the last word of etcd
			a.Owner, a.Since = "", time.Time{}
		}
	}
	if !current && f.alone == "" && isHere && here.acts() { // without etcd, as on-etcd-loss says
		a.Owner, a.Since, a.LastKnown, a.Reason = f.this, here.since, false, here.reason
	}
	a.Owner = clean(a.Owner, maxName)
	if a.Reason == "" {
		a.Reason = f.reason(a, here, isHere, elsewhere)
	}
}

// reason says why an instance has no owner, or what is wrong with the one it has.
func (f *facts) reason(a *AddressView, here *entry, isHere bool, elsewhere []from) string {
	var all []string
	if isHere && (here.trouble != "" && (a.Owner == "" || a.Owner == f.this || here.state == vrrp.Master)) {
		all = append(all, f.this+": "+here.trouble)
	} else if isHere && a.Owner == "" {
		all = append(all, f.this+": "+cmp.Or(here.reason, stateText(here.state)))
	}
	for _, t := range elsewhere {
		if t.Reason != "" && (a.Owner == "" || a.Owner == t.member) {
			all = append(all, t.member+": "+t.Reason)
		}
	}
	if len(all) == 0 && a.Owner == "" {
		return "no member is a candidate"
	}
	return clean(strings.Join(all, "; "), maxReason)
}

// stateText stands for a reason that nobody has given.
func stateText(s vrrp.State) string {
	if s == vrrp.Unknown {
		return "the state is not known yet"
	}
	return s.String()
}

// sinceOf returns since when a member is the owner: as it tells, as this process has seen,
// or since it is a candidate.
func (f *facts) sinceOf(name string, owner election.Candidate, here *entry, elsewhere []from) time.Time {
	if owner.Own && here.state == vrrp.Master {
		return here.since
	}
	for _, t := range elsewhere {
		if t.member == owner.Member && t.State == vrrp.Master.String() && !t.Since.IsZero() {
			return t.Since
		}
	}
	if saw := f.owners[subject{name: name}].since; !saw.IsZero() {
		return moment(saw)
	}
	return moment(owner.Since)
}

// addresses returns those of an instance, from the first that tells of them.
func (f *facts) addresses(name string, queue []election.Candidate, here *entry, isHere bool, elsewhere []from) []string {
	for _, c := range queue {
		if len(c.Addresses) > 0 {
			return c.Addresses
		}
	}
	if isHere && f.local != nil {
		if own := f.local.addressesOf(name, here); len(own) > 0 {
			return own
		}
	}
	for _, t := range elsewhere {
		if len(t.Addresses) > 0 {
			return t.Addresses
		}
	}
	return nil
}

// kind tells what decides about an instance, and where it stands.
func (f *facts) kind(name string, queue []election.Candidate, isHere bool, elsewhere []from, addresses []string) string {
	mode := ""
	if isHere {
		mode = f.mode
	}
	for _, t := range elsewhere {
		mode = cmp.Or(mode, t.mode)
	}
	for _, c := range queue {
		mode = cmp.Or(mode, f.told[c.Member].is.Mode)
	}
	switch {
	case mode == "fifo":
		return KindKeepalived
	case !f.configured[name] && isAdded(name, addresses):
		return KindAdded
	}
	return KindElection
}

// canFailover reports whether this host can be asked to hand an instance over, or to take
// it over.
func (f *facts) canFailover(a *AddressView, queue []election.Candidate) bool {
	if f.reach != nil || f.local == nil || a.Kind != KindElection && a.Kind != KindAdded || len(queue) < 2 {
		return false
	}
	// A program other than berth does not give way.
	i := slices.IndexFunc(queue, func(c election.Candidate) bool { return c.Own })
	return i >= 0 && !slices.ContainsFunc(queue[:i], func(c election.Candidate) bool { return c.Foreign })
}

// pool adds the addresses of the pool, and returns what is to be said about it.
func (f *facts) pool(v *View) (note string) {
	if f.keys.Pool == nil {
		f.poolHere(v)
		return ""
	}
	o := pool.OverviewOf(f.poolPrefix, *f.keys.Pool)
	var able []string
	for _, m := range o.Members {
		if m.State == Able {
			able = append(able, clean(m.Member, maxName))
		}
	}
	here, _ := f.entry(poolInstance)
	current := f.reach == nil && f.known
	candidates := map[string][]string{"": append([]string{}, able...)}
	for _, p := range o.Addresses {
		text := canonical(p.Address)
		a := AddressView{Address: text, Instance: poolInstance, Kind: KindPool, ID: idOf(text), Owner: clean(p.Holder, maxName), Assigned: clean(p.Assigned, maxName)}
		key, _, _ := strings.Cut(text, "/")
		a.Since = moment(f.owners[subject{true, key}].since)
		if a.Reason = p.Note(); a.Reason == "-" {
			a.Reason = ""
		}
		if !current && a.Owner != "" {
			holds := slices.ContainsFunc(here.addresses, func(h string) bool { return canonical(h) == text })
			switch own := f.keys.Pool.Held[key].Own; {
			case own && !holds:
				a.Owner, a.Since, a.Reason = "", time.Time{}, cmp.Or(here.trouble, here.reason)
			case !own:
				a.LastKnown = true
			}
		}
		if candidates[a.Owner] == nil {
			candidates[a.Owner] = append([]string{a.Owner}, slices.DeleteFunc(slices.Clone(able), func(m string) bool { return m == a.Owner })...)
		}
		a.Candidates = candidates[a.Owner]
		v.Addresses = append(v.Addresses, a)
	}
	return clean(o.Note, maxReason)
}

// poolHere adds the addresses of the pool that this host has, before etcd has told any.
func (f *facts) poolHere(v *View) {
	if f.poolPrefix == "" {
		return
	}
	here, _ := f.entry(poolInstance)
	for _, address := range here.addresses {
		text := canonical(address)
		v.Addresses = append(v.Addresses, AddressView{Address: text, Instance: poolInstance, Kind: KindPool, ID: idOf(text), Owner: f.this,
			Since: here.since, Candidates: []string{f.this}, Reason: clean(here.reason, maxReason)})
	}
}

// members adds all members, and those that have gone.
func (f *facts) members(v *View) {
	count := map[string]int{}
	for _, a := range v.Addresses {
		if a.Owner != "" && a.Address != "" {
			count[a.Owner]++
		}
	}
	names := present(f.keys)
	if f.local != nil {
		names[f.this] = true
	}
	for name := range names {
		m := f.member(name)
		m.Addresses = count[m.Name]
		if f.keys.Pool != nil && f.keys.Pool.Drained[name] {
			m.State, m.Reason = Drained, cmp.Or(m.Reason, "it is to have no address of the pool")
		}
		v.Members = append(v.Members, m)
	}
	for name, g := range f.gone {
		if names[name] {
			continue
		}
		m := memberOf(name, g.told.is)
		m.Gone, m.State, m.Since, m.Reason = true, Gone, moment(g.at), "its lease ended, or it was stopped"
		v.Members = append(v.Members, m)
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return strings.Compare(a.Name, b.Name) })
}

// member returns one that is in etcd, or this host's.
func (f *facts) member(name string) MemberView {
	t, tells := f.told[name]
	m := memberOf(name, t.is)
	m.Here = name == f.this
	switch {
	case t.wrong != nil:
		m.Reason = fmt.Sprintf("its key below members/ cannot be read: %v", t.wrong)
		m.State = Able
	case !tells && f.isForeign(name):
		m.Reason = "it is a program other than berth"
	case !tells:
		m.Reason = "it tells nothing of itself: its berth is of an earlier version, or etcd refuses its key below members/"
		m.State = Able // it waits in a queue
	}
	return m
}

// isForeign reports whether a name in the queues is that of a program other than berth.
func (f *facts) isForeign(name string) bool {
	for _, queue := range f.keys.Instances {
		if slices.ContainsFunc(queue, func(c election.Candidate) bool { return c.Member == name && c.Foreign }) {
			return true
		}
	}
	return false
}

func memberOf(name string, t Told) MemberView {
	return MemberView{Name: clean(name, maxName), Version: t.Version, Mode: t.Mode, Since: t.Since, State: cmp.Or(t.State, Able), Reason: t.Reason,
		Health: append([]HealthView{}, t.Health...)}
}

// toldMoves returns the moves that members tell.
func toldMoves(told map[string]told) []Move {
	var all []Move
	for name, t := range told {
		for _, m := range t.is.Moves {
			m.Member = clean(name, maxName) // whatever it writes there
			all = append(all, m)
		}
	}
	return all
}

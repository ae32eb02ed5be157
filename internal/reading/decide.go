package reading

import (
	"net/netip"
	"slices"

	"berth/keepalivedconf"
	"berth/vrrp"
)

// Facts is what a decision is made from. A pointer or function that is nil says
// that the fact is not known.
type Facts struct {
	// Newest is the file as it is on the disk now, nil if it cannot be read.
	Newest *keepalivedconf.Config
	// Runs is what keepalived is known to have loaded.
	Runs *keepalivedconf.Config
	// Good is the last reading that was not doubtful, or that keepalived ran.
	Good *keepalivedconf.Config
	// Before is what was in force up to now.
	Before *keepalivedconf.Config
	// Bound reports whether an address is on this host.
	Bound func(netip.Addr) bool
}

// Reason says why an address is in force, or is not, other than the file on the
// disk says.
type Reason string

// The reasons.
const (
	// NotLoaded: keepalived runs what it loaded before the file was changed. The
	// file lacks the address, or has it and it waits.
	NotLoaded Reason = "keepalived has not loaded the changed file"
	// Doubtful: the file lacks the address, and looks unfinished, was emptied, or
	// would be refused.
	Doubtful Reason = "the file is unfinished, or keepalived would refuse it"
	// StillBound: the file lacks the address, and it is still on this host.
	StillBound Reason = "keepalived has not taken the address off this host"
)

// Difference is an address about which the decision differs from the file on the
// disk.
type Difference struct {
	Instance string
	Address  netip.Addr
	InForce  bool // though the file lacks it; else it waits though the file has it
	Reason   Reason
}

// Decision is what is in force.
type Decision struct {
	// Config is nil if nothing is known of any instance. It is not to be changed.
	Config      *keepalivedconf.Config
	Differences []Difference
}

// Decide decides which instances and addresses are in force.
func Decide(f Facts) Decision {
	file, isDoubtful := f.Newest, false
	var differ []Difference
	switch {
	case f.Runs != nil:
		if f.Newest != f.Runs {
			differ = differences(f.Newest, f.Runs)
		}
		file = f.Runs
	case f.Newest == nil:
		return Decision{Config: f.Good}
	default:
		_, isDoubtful = Doubt(f.Newest, f.Good)
	}
	m := merge{Decision{nil, differ}, addressesOf(file)}
	// A shallow copy: what is added goes into slices of its own.
	c := *file
	m.Config, c.Instances = &c, slices.Clone(c.Instances)
	stays := func(former *keepalivedconf.Config) func(netip.Addr) (Reason, bool) {
		return func(addr netip.Addr) (Reason, bool) {
			switch {
			case f.Runs == nil && isDoubtful && former == f.Good:
				return Doubtful, true
			case f.Bound != nil && f.Bound(addr):
				return StillBound, true
			}
			return "", false
		}
	}
	if f.Runs == nil && f.Good != nil {
		m.addInstances(f.Good, stays(f.Good))
		if isDoubtful {
			c.Groups = mergeGroups(c.Groups, f.Good.Groups)
		}
	}
	if f.Before != nil {
		m.addInstances(f.Before, stays(f.Before))
	}
	return m.Decision
}

// Doubt returns the first sign, if there is any, that a reading is not what its
// author meant keepalived to load. A mistake of an earlier, good reading is not a sign:
// keepalived accepts it.
func Doubt(c, good *keepalivedconf.Config) (keepalivedconf.Message, bool) {
	signs := func(c *keepalivedconf.Config) []keepalivedconf.Message {
		return slices.Concat(c.Refusals, c.Unclosed, c.Skipped, c.FailedIncludes)
	}
	for _, m := range signs(c) {
		if good == nil || !slices.ContainsFunc(signs(good), func(g keepalivedconf.Message) bool {
			return g.File == m.File && g.Message == m.Message // lines move
		}) {
			return m, true
		}
	}
	return emptied(c, good)
}

// emptied reports whether a reading leaves an instance of the good one none of its
// addresses, as a template does whose list is empty, or has no instance any more,
// as a file does that was just opened to be written.
func emptied(c, good *keepalivedconf.Config) (keepalivedconf.Message, bool) {
	if good == nil {
		return keepalivedconf.Message{}, false
	}
	places := placesOf(c)
	for n := range good.Instances {
		if len(good.Instances[n].Managed()) == 0 {
			continue
		}
		if len(c.Instances) == 0 {
			m := keepalivedconf.Message{Line: 1, Message: "there is no vrrp_instance any more"}
			if len(c.Files) > 0 {
				m.File = c.Files[0]
			}
			return m, true
		}
		at, ok := places[good.Instances[n].Name]
		if !ok {
			continue
		}
		if in := &c.Instances[at]; len(in.Managed()) == 0 {
			return keepalivedconf.Message{File: in.File, Line: in.Line, Message: "vrrp_instance " + in.Name + " has none of its addresses any more"}, true
		}
	}
	return keepalivedconf.Message{}, false
}

// merge is a decision in the making.
type merge struct {
	Decision
	has map[netip.Addr]bool // in any instance
}

// addInstances adds the addresses of a former reading that are to stay.
func (m *merge) addInstances(former *keepalivedconf.Config, stays func(netip.Addr) (Reason, bool)) {
	places := placesOf(m.Config)
	for n := range former.Instances {
		from := &former.Instances[n]
		var own, stay []vrrp.FloatingIP
		at, known := places[from.Name]
		if known {
			own = m.Config.Instances[at].Managed()
		}
		for _, ip := range from.Managed() {
			addr := ip.Addr()
			why, ok := stays(addr)
			switch {
			case !ok, slices.ContainsFunc(own, func(o vrrp.FloatingIP) bool { return o.Addr() == addr }):
			case why == StillBound && m.has[addr]: // another instance has it now
			default:
				stay = append(stay, ip)
				m.has[addr] = true
				m.Differences = append(m.Differences, Difference{from.Name, addr, true, why})
			}
		}
		switch {
		case len(stay) == 0:
		case !known:
			in := *from
			in.Addresses, in.Excluded = stay, nil
			m.Config.Instances = append(m.Config.Instances, in)
		default:
			in := &m.Config.Instances[at]
			in.Excluded = slices.Concat(in.Excluded, stay)
		}
	}
}

// placesOf returns where the instances of a reading are, by name: of two with one
// name, the first. Files can have thousands of them.
func placesOf(c *keepalivedconf.Config) map[string]int {
	places := make(map[string]int, len(c.Instances))
	for n := range c.Instances {
		if _, twice := places[c.Instances[n].Name]; !twice {
			places[c.Instances[n].Name] = n
		}
	}
	return places
}

func mergeGroups(groups, former []keepalivedconf.Group) []keepalivedconf.Group {
	groups = slices.Clone(groups)
	for _, g := range former {
		at := slices.IndexFunc(groups, func(is keepalivedconf.Group) bool { return is.Name == g.Name })
		if at < 0 {
			groups = append(groups, g)
			continue
		}
		for _, member := range g.Members {
			if !slices.Contains(groups[at].Members, member) {
				groups[at].Members = append(slices.Clip(groups[at].Members), member)
			}
		}
	}
	return groups
}

func addressesOf(c *keepalivedconf.Config) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for n := range c.Instances {
		for _, ip := range c.Instances[n].Managed() {
			all[ip.Addr()] = true
		}
	}
	return all
}

// differences compares the file on the disk, which may be nil, with what
// keepalived runs.
func differences(file, runs *keepalivedconf.Config) []Difference {
	if file == nil {
		file = &keepalivedconf.Config{}
	}
	var all []Difference
	lacks := func(c, other *keepalivedconf.Config, inForce bool) {
		places := placesOf(other)
		for n := range c.Instances {
			in := &c.Instances[n]
			var theirs []vrrp.FloatingIP
			if at, ok := places[in.Name]; ok {
				theirs = other.Instances[at].Managed()
			}
			for _, ip := range in.Managed() {
				if !slices.ContainsFunc(theirs, func(o vrrp.FloatingIP) bool { return o.Addr() == ip.Addr() }) {
					all = append(all, Difference{in.Name, ip.Addr(), inForce, NotLoaded})
				}
			}
		}
	}
	lacks(runs, file, true)
	lacks(file, runs, false)
	return all
}

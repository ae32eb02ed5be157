package reading

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// keepalived is asked for its addresses where what it has loaded may not be read from
// its processes, as long as the file leaves that open.
const (
	askOften  = 5 * time.Second
	askSeldom = time.Minute // after it could not be asked
)

// asked is what keepalived answered.
type asked struct {
	conf *keepalivedconf.Config
	next time.Time // when it may be asked again
}

// ask asks keepalived, if the file leaves open what keepalived has loaded, and returns
// what is known of that then. It is called without the lock.
func (b *Book) ask(ctx context.Context, a *asked, newest *keepalivedconf.Config) *keepalivedconf.Config {
	b.mu.Lock()
	good, before := b.good, b.now.Config
	b.mu.Unlock()
	open := newest == nil || before != nil && !sameAddresses(newest, before)
	if newest != nil && !open {
		_, open = Doubt(newest, good)
	}
	if b.Ask == nil || !open {
		*a = asked{}
		return nil
	}
	if now := time.Now(); !now.Before(a.next) {
		answer, err := b.Ask(ctx)
		a.next = now.Add(askOften)
		if err != nil {
			b.Journal.Debug("keepalived could not be asked what it runs", zap.Error(err))
			a.next = now.Add(askSeldom)
		}
		a.conf = fromAnswer(answer, newest, good, before)
	}
	if a.conf != nil && newest != nil && sameAddresses(a.conf, newest) {
		return newest
	}
	return a.conf
}

// fromAnswer makes a reading of the addresses that keepalived has. The rest is
// that of the newest reading that has the instance. An answer with an instance
// that no reading has is of another keepalived, or one whose names cannot be
// written in JSON: it counts as none.
func fromAnswer(answer map[string][]vrrp.FloatingIP, readings ...*keepalivedconf.Config) *keepalivedconf.Config {
	if len(answer) == 0 {
		return nil
	}
	readings = slices.DeleteFunc(readings, func(c *keepalivedconf.Config) bool { return c == nil })
	var conf keepalivedconf.Config
	taken := map[string]bool{}
	for _, c := range readings {
		for _, in := range c.Instances {
			list, runs := answer[in.Name]
			if !runs || taken[in.Name] {
				continue
			}
			taken[in.Name] = true
			in.Addresses, in.Excluded = nil, nil
			for _, ip := range list {
				in.Addresses = append(in.Addresses, asConfigured(ip, in.Name, readings))
			}
			conf.Instances = append(conf.Instances, in)
		}
		conf.Groups = mergeGroups(conf.Groups, c.Groups)
	}
	if len(taken) < len(answer) {
		return nil
	}
	return &conf
}

// asConfigured returns an address as a reading has it: keepalived names an
// interface also where the file does not.
func asConfigured(ip vrrp.FloatingIP, instance string, readings []*keepalivedconf.Config) vrrp.FloatingIP {
	for _, c := range readings {
		if in, ok := c.Instance(instance); ok {
			for _, known := range in.Managed() {
				if known.Addr() == ip.Addr() {
					return known
				}
			}
		}
	}
	return ip
}

// sameAddresses reports whether two readings have the same instances with the
// same addresses.
func sameAddresses(a, b *keepalivedconf.Config) bool {
	if len(a.Instances) != len(b.Instances) {
		return false
	}
	for n := range a.Instances {
		other, ok := b.Instance(a.Instances[n].Name)
		if !ok {
			return false
		}
		addrs := func(in *keepalivedconf.Instance) []netip.Addr {
			var all []netip.Addr
			for _, ip := range in.Managed() {
				all = append(all, ip.Addr())
			}
			slices.SortFunc(all, netip.Addr.Compare)
			return all
		}
		if !slices.Equal(addrs(&a.Instances[n]), addrs(other)) {
			return false
		}
	}
	return true
}

package config

import (
	"fmt"

	"berth/vrrp"
)

// Pointing is the way in which floating IPs are pointed at the owner.
type Pointing int

// The values of Pointing.
const (
	// Unchosen means neither a provider nor an election. No mode begins with that.
	Unchosen Pointing = iota
	// Nothing means that the configuration has no floating IPs: the provider is none,
	// or an election has no provider. The addresses are bound on the hosts only, and no
	// other system knows their owner.
	Nothing
	// Print means that a line is printed in place of each call: the provider is
	// fake, or the flag --dry-run is given.
	Print
	// Call means that the API of the provider is called.
	Call
)

// Pointing returns what is done about floating IPs; dryRun is the flag. All modes and
// commands ask it which provider there is, if any: the provider none is the absence of
// a provider, and fake and --dry-run replace the calls to a provider by lines.
func (c *Config) Pointing(dryRun bool) Pointing {
	switch {
	case c.Provider == "none", c.Provider == "" && c.Elects():
		return Nothing
	case c.Provider == "fake", dryRun:
		return Print
	case c.Provider == "":
		return Unchosen
	}
	return Call
}

// Immovable returns a warning for each address of the configuration that is never
// handed to the provider. Such an address is not an error: berth acts for the others,
// and an election binds it all the same.
func (c *Config) Immovable() []string {
	var all []string
	add := func(key string, ips []vrrp.FloatingIP) {
		for _, ip := range ips {
			if why := ip.Immovable(); why != "" {
				all = append(all, fmt.Sprintf("%s: %v is never handed to a provider, because %s", key, ip, why))
			}
		}
	}
	add("managed-addresses", c.ManagedAddresses)
	if c.Pointing(false) != Nothing {
		for _, in := range c.Election.Instances {
			add("election.instances: "+in.Name, in.Addresses)
		}
	}
	return all
}

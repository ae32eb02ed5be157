package config

import "berth/internal/section"

// Fencing makes a MASTER also need the instance's lease.
type Fencing struct {
	Enabled    bool
	OnEtcdLoss string // Refuse or Allow
}

// The policies of a MASTER when etcd cannot be reached for longer than the lease lasts.
const (
	Refuse = "refuse" // it writes nothing without the lease
	Allow  = "allow"  // it goes on: VRRP alone decides
)

func defaultFencing() Fencing { return Fencing{OnEtcdLoss: Refuse} }

func fillFencing(top *section.Section, c *Config) *section.Section {
	f := &c.Fencing
	s := top.Sub("fencing", section.Keys{"enabled": &f.Enabled, "on-etcd-loss": &f.OnEtcdLoss})
	s.Choice("on-etcd-loss", &f.OnEtcdLoss, f.OnEtcdLoss, Refuse, Allow)
	return s
}

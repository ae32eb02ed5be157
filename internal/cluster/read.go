package cluster

import (
	"time"

	"berth/election"
)

// Reading says which keys were read, and by whom.
type Reading struct {
	Prefix, PoolPrefix string
	This               string   // the member of the host on which they were read
	Instances          []string // as in Options
}

// ViewOf returns the cluster as its keys say alone: what `berth cluster` shows where no member
// is asked.
func ViewOf(keys election.ClusterKeys, r Reading) View {
	f := &facts{prefix: r.Prefix, poolPrefix: r.PoolPrefix, this: r.This, configured: map[string]bool{}, keys: &keys, known: true, told: map[string]told{}}
	for _, name := range r.Instances {
		f.configured[name] = true
	}
	for name, k := range keys.Members {
		is, err := parseTold(k.Value)
		f.told[name] = told{k.Value, is, err}
	}
	v := f.view()
	v.Now = time.Now().UTC().Round(0)
	v.Moves = merge(toldMoves(f.told), nil)
	leases(&v, &keys)
	return v
}

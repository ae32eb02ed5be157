package cluster

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"berth/election"
)

// Members that have gone.
const (
	goneTime = 10 * time.Minute // for how long they are shown
	maxGone  = 100              // and how many
)

// members remember what the members told, also of those that have gone.
type members struct {
	told map[string]told
	gone map[string]gone
	now  map[string]bool // in etcd, as last known
	read bool            // now is known
}

// told is the value of a key below members/ and what it says.
type told struct {
	value []byte
	is    Told
	wrong error // why it cannot be read
}

// gone is a member that is in etcd no more.
type gone struct {
	at   time.Time
	told told
}

func newMembers() members { return members{told: map[string]told{}, gone: map[string]gone{}} }

// present returns the members that are in etcd: that tell of themselves, wait in a queue,
// or have an address of the pool or take part in it.
func present(keys *election.ClusterKeys) map[string]bool {
	all := map[string]bool{}
	for name := range keys.Members {
		all[name] = true
	}
	for _, queue := range keys.Instances {
		for _, c := range queue {
			all[c.Member] = true
		}
	}
	if keys.Pool != nil {
		for name := range keys.Pool.Nodes {
			all[name] = true
		}
		for _, h := range keys.Pool.Held {
			if h.Member != "" {
				all[h.Member] = true
			}
		}
	}
	return all
}

// learn takes what the keys say, and reports whether a member tells something else.
func (m *members) learn(keys *election.ClusterKeys, now time.Time) (news bool) {
	is := present(keys)
	if m.read {
		for name := range m.now {
			if !is[name] {
				m.gone[name] = gone{now, m.told[name]}
			}
		}
	}
	for name := range is {
		delete(m.gone, name)
	}
	m.now, m.read = is, true
	for name, k := range keys.Members {
		if t, known := m.told[name]; !known || !bytes.Equal(t.value, k.Value) {
			is, err := parseTold(k.Value)
			m.told[name], news = told{k.Value, is, err}, true
		}
	}
	maps.DeleteFunc(m.told, func(name string, _ told) bool { _, there := keys.Members[name]; return !there })
	m.forget(now)
	return news
}

// forget forgets those that have gone long ago, and reports whether there were any.
func (m *members) forget(now time.Time) (forgot bool) {
	before := len(m.gone)
	maps.DeleteFunc(m.gone, func(_ string, g gone) bool { return now.Sub(g.at) >= goneTime })
	if len(m.gone) > maxGone {
		names := slices.SortedFunc(maps.Keys(m.gone), func(a, b string) int { return m.gone[b].at.Compare(m.gone[a].at) })
		for _, name := range names[maxGone:] {
			delete(m.gone, name)
		}
	}
	return len(m.gone) != before
}

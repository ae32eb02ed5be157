// Package condition tells whether what a host needs for an instance is there: its
// interface, its health, and later its share of a pool, and that it is not paused. A
// candidate of an election takes part while its condition holds.
//
// The package decides nothing; what a condition means is the affair of the part that
// waits for it.
package condition

import (
	"slices"
	"sync"
)

// Condition is something that holds or does not. All its methods may be called by
// several goroutines at once, and none blocks.
type Condition interface {
	// State reports whether the condition holds, and the reason if it does not.
	State() (holds bool, reason string)
	// Watch has changed called after each change of the state, until stop is called;
	// a call that has begun may outlast stop. changed must not block.
	Watch(changed func()) (stop func())
}

// Signal watches a condition and sends to the channel, which has one slot, after
// changes. The caller calls stop in the end.
func Signal(c Condition) (changed <-chan struct{}, stop func()) {
	signal := make(chan struct{}, 1)
	return signal, c.Watch(func() {
		select {
		case signal <- struct{}{}:
		default: // one change is told already
		}
	})
}

// All returns the condition that holds while all of the given ones do; without any it
// always holds. Its reason is that of the first that does not hold.
func All(conditions ...Condition) Condition { return all(slices.Clone(conditions)) }

type all []Condition

func (a all) State() (bool, string) {
	for _, c := range a {
		if holds, reason := c.State(); !holds {
			return false, reason
		}
	}
	return true, ""
}

func (a all) Watch(changed func()) (stop func()) {
	var stops []func()
	for _, c := range a {
		stops = append(stops, c.Watch(changed))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// Value is a condition that its owner sets. The zero value does not hold, for no
// reason; set it before it is used.
type Value struct {
	mu       sync.Mutex
	holds    bool
	reason   string
	watchers map[*func()]struct{}
}

// Set sets the state and tells the watchers if it has changed. reason is ignored
// where the condition holds.
func (v *Value) Set(holds bool, reason string) {
	if holds {
		reason = ""
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if holds == v.holds && reason == v.reason {
		return
	}
	v.holds, v.reason = holds, reason
	for changed := range v.watchers {
		(*changed)()
	}
}

// State is that of Condition.
func (v *Value) State() (holds bool, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.holds, v.reason
}

// Watch is that of Condition. changed must not call the value: it is called while
// the value is locked.
func (v *Value) Watch(changed func()) (stop func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watchers == nil {
		v.watchers = map[*func()]struct{}{}
	}
	v.watchers[&changed] = struct{}{}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers, &changed)
	}
}

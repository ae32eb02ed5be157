package instance

import (
	"sync"
	"time"

	"berth/vrrp"
)

// message is what waits for a machine. Reported states share one slot in which the
// newest wins; the other fields are flags that never displace a state.
type message struct {
	state    *vrrp.Event
	end      error // end the holding; newer than state, if both are there
	restart  error // end the holding and begin it anew
	verify   bool
	priority int
}

// mailbox takes messages without ever blocking the sender.
type mailbox struct {
	ready chan struct{} // one slot: there is a message

	mu      sync.Mutex
	message message
	newest  vrrp.State // that was reported, Unknown before the first and after an end
	at      time.Time  // when it was received
}

func newMailbox() mailbox { return mailbox{ready: make(chan struct{}, 1)} }

// put takes the events of a burst, oldest first, all at once: a machine that is
// awake for another reason must not find a state from the middle of the burst. The
// machine sees the events after wake.
func (b *mailbox) put(burst []vrrp.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range burst {
		if ev.Priority != 0 {
			b.message.priority = ev.Priority
		}
		switch ev.Kind {
		case vrrp.VerifyNow:
			b.message.verify = true
		case vrrp.StateChange:
			// The state is newer than an end that was asked for before, and says more.
			b.message.state, b.message.end = &ev, nil
			b.newest, b.at = ev.State, ev.Received
		}
	}
}

// suppose puts a state that was not reported, unless a reported one was received
// after since; with the zero time, at any time. It reports whether that changed
// anything.
func (b *mailbox) suppose(ev vrrp.Event, since time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.newest != vrrp.Unknown && (since.IsZero() || b.at.After(since)) || b.newest == ev.State {
		return false
	}
	b.message.state, b.message.end = &ev, nil
	b.newest, b.at = ev.State, ev.Received
	return true
}

// known reports whether a state was reported that is still valid.
func (b *mailbox) known() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest != vrrp.Unknown
}

// isMaster reports whether the newest reported state is MASTER.
func (b *mailbox) isMaster() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest == vrrp.Master
}

// putRestart asks for the holding to begin anew.
func (b *mailbox) putRestart(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.message.restart = cause
}

// putEnd asks for the end of a holding that began with a MASTER received before the
// given moment. It reports whether there is one.
func (b *mailbox) putEnd(cause error, before time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.newest != vrrp.Master || !b.at.Before(before) {
		return false
	}
	if s := b.message.state; s != nil && s.State == vrrp.Master {
		b.message.state = nil // its holding has not begun
	}
	b.message.end, b.newest = cause, vrrp.Unknown
	return true
}

// pending reports whether a message waits that says whether the instance is held.
func (b *mailbox) pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.message.state != nil || b.message.end != nil
}

// wake makes the machine take the message.
func (b *mailbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default: // the machine is awake
	}
}

// take empties the mailbox.
func (b *mailbox) take() message {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.message
	b.message = message{}
	return m
}

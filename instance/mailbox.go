package instance

import (
	"sync"
	"time"

	"berth/vrrp"
)

// message is what waits for a machine. State words share one slot in which the
// newest wins; the rest are flags beside it that can never push a state out.
type message struct {
	state    *vrrp.Event
	end      error // end what runs; put after state, if both are there
	restart  error // end what runs and begin it anew
	verify   bool
	priority int
}

// mailbox takes messages without ever blocking the sender.
type mailbox struct {
	ready chan struct{} // one slot: there is a message

	mu      sync.Mutex
	message message
	newest  vrrp.State // of the state words, Unknown before the first and after an end
	at      time.Time  // when it was received
}

func newMailbox() mailbox { return mailbox{ready: make(chan struct{}, 1)} }

// put takes the events of a burst, oldest first, all at once: a machine that is
// awake for another reason must not find a state in the middle of it. The
// machine sees them after wake.
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
			// A state word is newer than what was asked before it, and says more.
			b.message.state, b.message.end = &ev, nil
			b.newest, b.at = ev.State, ev.Received
		}
	}
}

// suppose puts a state that nobody reported, unless a word for a state was
// received after since; with the zero time, any word. It reports whether that
// changed anything.
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

// known reports whether there was a state word that is still valid.
func (b *mailbox) known() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest != vrrp.Unknown
}

// isMaster reports whether the newest state word is MASTER.
func (b *mailbox) isMaster() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest == vrrp.Master
}

// putRestart asks for what runs to begin anew.
func (b *mailbox) putRestart(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.message.restart = cause
}

// putEnd asks for the end of what began with a MASTER word received before the
// given moment. It reports whether there is any.
func (b *mailbox) putEnd(cause error, before time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.newest != vrrp.Master || !b.at.Before(before) {
		return false
	}
	if s := b.message.state; s != nil && s.State == vrrp.Master {
		b.message.state = nil // it never came to anything
	}
	b.message.end, b.newest = cause, vrrp.Unknown
	return true
}

// decided reports whether a message waits that says whether anything is to run.
func (b *mailbox) decided() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.message.state != nil || b.message.end != nil
}

// wake makes the machine look into the mailbox.
func (b *mailbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default: // it will look anyway
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

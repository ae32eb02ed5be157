package heartbeat

import "time"

// Jitter makes the jitter of a node follow from f, so that a schedule can be repeated.
func (n *Node) Jitter(f func() float64) { n.random = f }

// StandStill makes the node believe that its process did not run for a while.
func (n *Node) StandStill(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pulse.at = time.Now().Add(-d)
}

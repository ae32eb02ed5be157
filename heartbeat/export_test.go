package heartbeat

// Jitter makes the jitter of a node follow from f, so that a schedule can be repeated.
func (n *Node) Jitter(f func() float64) { n.random = f }

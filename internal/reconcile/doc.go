// Package reconcile compares what the machine shows with what keepalived's events have
// told. Events rule, and what the machine shows fills the gaps: after a start of
// berth no line tells that an instance has been MASTER for long, and a line that was
// lost is not written again.
//
// It refuses to guess. The presence of all addresses of an instance, on its own
// interface, under a keepalived that lives and does not deny it, makes an
// instance MASTER. The mere absence of an address that was never seen proves
// nothing where it is not known in which network namespace keepalived runs.
//
// While keepalived does not have the FIFO open that berth reads, no event can
// arrive, and the machine alone decides. When keepalived has died, or has closed the
// FIFO for good, what it began ends here, after the last line that it wrote.
package reconcile

// Package truth takes from the machine what keepalived's events do not say.
// Events rule, and what the machine shows fills the gaps: after a start of
// berth no line tells that an instance has been MASTER for long, and no line
// tells that an address was taken off its interface.
//
// It refuses to guess. The presence of all addresses of an instance, on its own
// interface, under a keepalived that lives and does not deny it, makes an
// instance MASTER. The mere absence of an address that was never seen proves
// nothing where it is not known in which network namespace keepalived runs.
//
// While keepalived does not have the FIFO open that berth reads, no event can
// arrive, and the machine alone decides.
//
// Addresses come from rtnetlink(7); keepalived's own word is the state dump that
// it writes on the signal that keepalived(8) calls JSON.
package truth

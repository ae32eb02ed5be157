// Package presence tells which addresses are bound in the network namespace in which
// keepalived runs, and suspends those of a MASTER that have gone from there without an
// event: no line of keepalived tells that an address was taken off its interface.
//
// An address that was never seen is not suspended: its mere absence proves nothing, as
// with addresses that keepalived does not bind. Addresses come from rtnetlink(7).
package presence

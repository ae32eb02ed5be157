// Package vrrp holds the nouns that every other package speaks in: the state
// of a VRRP instance, the events keepalived reports about it, and the floating
// IP that follows it. It does no I/O and imports only the standard library.
//
// The words and their meaning are those of keepalived.conf(5) and of the
// notify FIFO that keepalived writes.
package vrrp

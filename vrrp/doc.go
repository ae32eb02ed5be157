// Package vrrp holds the nouns that all other packages of berth share: the state
// of a VRRP instance, the events that keepalived reports about it, and the floating
// IP that follows it. It does no I/O and imports only the standard library.
//
// It is one of the two public packages of berth, beside keepalivedconf: other
// programs may import it, and its API changes only with a line in CHANGELOG.md.
//
// The words and their meaning are those of keepalived.conf(5) and of the
// notify FIFO that keepalived writes.
package vrrp

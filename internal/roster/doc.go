// Package roster finds out which hosts send each other heartbeats, and tells each side of
// that what it needs: the node the addresses of its peers and the id of this host, and the
// provider the ids of the servers that may have an address beside this host.
//
// The peers are a list of addresses and names, or the servers of a group at the provider.
// Names and the group are looked up again each minute, and at once, though at most every
// 10 s, when a heartbeat comes from a host that is no peer. Nothing is waited for: the
// addresses of the list are peers at once, and the others as soon as each is known.
//
// Cannot look is not no: what was known of a name or of the group stands while it cannot
// be looked up, and a server that a reading of the group lacks stays a peer until three
// readings in a row lack it. A peer that is forgotten is not heard, and two hosts that do
// not hear each other both become owners.
package roster

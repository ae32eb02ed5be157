// Package yield gives floating IPs up that this host does not own any more, where a
// provider lets several servers have one at once, such as Exoscale.
//
// A host that ceases to be the owner detaches nothing at once: until the next owner has
// the floating IP too, that would leave it with no server. This package observes the
// floating IP until another server has it beside this host, and only then detaches this
// host. berth as the next owner detaches this host by itself; other programs do not.
//
// It detaches this host only while a living peer is known that is the better owner. Where
// two hosts are both unable to be the owner, each seeing the other beside it, neither
// gives the floating IP up: it would end with no server.
//
// At the end of a process, and only there, Release detaches this host without another
// server beside it.
package yield

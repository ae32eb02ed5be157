// Package election decides by etcd which member owns an instance, and for how
// long it may believe so.
//
// A member has one lease, which its [Session] keeps alive. For each instance that it
// wants to own it puts a key under that lease (see [Campaign]); the member whose key has
// the lowest create revision owns the instance, the others wait in the order of
// theirs, as in etcd's own election recipe
// (https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency). That revision is
// the fencing token: it only grows, within one history of etcd. A history that was
// replaced by another ends every term (see [ErrHistory]).
//
// The recipe does not give a local end of ownership that comes before
// the lease's: etcd's client counts a lease from when an answer arrives. Here
// it counts from when the renewal was sent, less a margin, on a clock that
// cannot be set (see [Term]). docs/fencing.md has the whole argument.
//
// The package binds no address and calls no provider; what an owner does is a
// function given to it, and a key is given up only after that has returned.
package election

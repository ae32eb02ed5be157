// Package owner is what the owner of an instance does on its host: it binds the
// addresses, announces them, and points the floating IPs here once the addresses are
// bound; when it ceases to be the owner it removes the addresses before its permission is
// given up. A [Host] does so for all instances of a host, after it has removed what an
// earlier run left.
//
// The [Decider] of the owner, interfaces and loops arrive as values; the package decides
// only their order.
package owner

// Package pool has the addresses that etcd lists served by the members that are able to,
// each by one member at a time, spread evenly.
//
// The keys below the prefix of the pool say everything: ips/ lists the addresses, nodes/
// the members that are able, drained/ those that are to have no address, and held/ the
// member that has each address. From these keys, at one revision, every member computes
// the same assignment ([Assign]), so that no member has to tell another what to do. A
// member campaigns for the addresses that are assigned to it. An address moves when its
// former holder has unbound it and has given up its key; the protocol of leases, keys and
// deadlines is that of package election, for a pool as for an instance.
//
// The package reads etcd through the member, and writes no keys but those that a person
// could write with etcdctl ([Client]).
package pool

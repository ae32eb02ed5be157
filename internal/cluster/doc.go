// Package cluster has what one member of a cluster can tell of all: which member owns
// which address and since when, how each member is, and how the owners moved. It is made
// from what the members tell of themselves in etcd, from the queues of the elections and
// the keys of the pool, and from what this host knows of itself, which it also tells the
// others. It decides nothing, and no election depends on it.
//
// The JSON of View is what the status page, GET /cluster and `berth cluster` show.
package cluster

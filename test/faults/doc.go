// Package faults is the laboratory for "never two owners": three etcd members,
// three hosts that elect the owner of an address by `berth elect`, and a client,
// all on cables that can fail.
//
//	client --+                    +-- etcd1
//	         |-- service    etcd --+-- etcd2
//	         |   LAN         LAN  +-- etcd3
//	         |    |           |
//	         +- host1 - host3 -+
//
// In place of the instance the hosts may have a pool of ten addresses, or addresses that
// were added to them at run time; each of these is judged by itself. The hosts may have a health check, of a service whose answers the
// lab gives, and they may follow Patroni, which then runs on each of them with its
// PostgreSQL.
//
// A fault is a name in a table ([All]). A run injects it, heals it, and leaves
// a [History]: which host had the address when, as the kernels reported it in one order;
// the client's echo requests, one each 10 ms; and what the client heard
// announced. [Judge] turns the history into the figures that berth promises.
//
// The laboratory touches nothing outside the namespaces that it makes itself.
package faults

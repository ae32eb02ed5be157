// Package service acts on what a source of events tells: it has a table of machines, one
// for each instance, and the holding that they run while MASTER.
//
// # Adding a source
//
// A source is a type with the methods Name, Run and CatchUp, in a package of its own that
// knows vrrp and nothing of what events cause: package fifo reads keepalived's FIFO, a
// heartbeat would tell MASTER when a peer is not heard, and one for Patroni when the
// database of this host becomes the leader. It hands bursts of events to emit, and the
// rest follows: states share one slot in which the newest wins, emit never blocks, and a
// write that is due is held back until CatchUp has returned. internal/app gives the
// source to New, in a mode of its own, and the addresses of the instances to the holding
// as a function: no source has to know keepalived.conf.
//
// Around adds to a source what is done before and after each burst counts, such as a
// check whether the process that wrote the events still runs.
package service

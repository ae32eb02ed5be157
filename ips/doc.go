// Package ips has the nouns of the addresses that are added at run time: with the
// management API, with berth ips, or with a key in etcd. Their words are those of LinK
// (Link is not Keepalived, github.com/Scalingo/link), whose API berth has: states, events
// and the machine between them ([Next]), the object of an address, and the limits of what
// a caller may write.
//
// The package does nothing by itself; a [Service] has the addresses of a member.
package ips

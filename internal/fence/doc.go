// Package fence has the guard that the ownership of an instance in etcd is. Two hosts
// that keepalived both made MASTER, because they are cut off from each other, both
// campaign for the instance, and one of them gets it. How ownership is won, and when it
// ends, is decided in package election.
package fence

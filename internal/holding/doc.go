// Package holding does what an instance needs done while it is MASTER: under its lock,
// and while the other guards give permission, one loop for each of its addresses keeps
// the address pointed here. Addresses that come, change or go do not end the others.
//
// Guards, addresses, loops and the presence of addresses on the host arrive as values
// and functions: the package knows neither keepalived nor etcd nor a cloud. When and how
// often a loop tries is decided in package refresher; the spacing of what comes before
// the loops, the lock and the addresses of the instance, is decided here.
package holding

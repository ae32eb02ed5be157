// Package selftest has the checks of `berth --test`, and their report. Checks only
// read; probes of the provider, of etcd, of interfaces and of keepalived arrive as
// functions, so that the package knows none of them.
package selftest

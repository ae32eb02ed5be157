// Package refresher keeps one address pointed at this host for as long as the
// host is MASTER. It owns the rhythm (claim, settle checks, refreshes with
// jitter), the retry policy and the meaning of error classes: a provider says
// what failed, and this package alone decides when to try again.
//
// It refuses to give up: while its context lives, a loop goes on trying.
package refresher

//go:build race

package election_test

// parallel is how many tests run at a time, which wait for leases to end most of the time.
// The race detector makes the rest slow, and other packages run beside it.
const parallel = "12"

//go:build !race

package election_test

// parallel is how many tests run at a time, which wait for leases to end most of the time.
const parallel = "20"

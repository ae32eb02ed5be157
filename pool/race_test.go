//go:build race

package pool_test

// crowded is how many addresses the members of a crowd have. The race detector makes each
// five times as slow; the pass without it has a thousand.
const crowded = 300

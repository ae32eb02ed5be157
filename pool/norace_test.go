//go:build !race

package pool_test

// crowded is how many addresses the members of a crowd have.
const crowded = 1000

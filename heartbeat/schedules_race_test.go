//go:build race

package heartbeat_test

// schedules is how many the property test plays: the race detector makes each ten times
// as slow, and the pass without it plays them all.
const schedules = 300

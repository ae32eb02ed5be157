//go:build !race

package heartbeat_test

// schedules is how many the property test plays.
const schedules = 10_000

// Package boot names this boot of the machine, and counts the time since then. A value
// that is stored with that name, such as a pid and its start time, is not taken for one of
// another boot.
package boot

import (
	"fmt"
	"os"
	"strings"
)

// ID returns the random id that the kernel has given to this boot (random/boot_id in
// proc(5)).
func ID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

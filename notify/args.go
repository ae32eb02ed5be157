package notify

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/vrrp"
)

// ParseArgs parses the arguments that keepalived adds to the command of a notify script:
// INSTANCE or GROUP (lower case too), name, state word, and priority, which may be
// missing. A priority that is not a number from 0 to 255 counts as missing: floaty
// ignores it, and no failover may depend on it.
func ParseArgs(args []string) (vrrp.Event, error) {
	ev := vrrp.Event{Source: "notify", Received: time.Now()}
	if len(args) < 3 || len(args) > 4 {
		return ev, fmt.Errorf("expected INSTANCE|GROUP NAME STATE [PRIORITY] after the configuration file; arguments given: %d", len(args))
	}
	switch strings.ToUpper(args[0]) {
	case "INSTANCE":
	case "GROUP":
		ev.Group = true
	default:
		return ev, fmt.Errorf("expected INSTANCE or GROUP as the second argument, got %q", args[0])
	}
	ev.Instance = args[1]
	var known bool
	if ev.Kind, ev.State, known = vrrp.ParseWord(args[2]); !known {
		return ev, fmt.Errorf("unknown state %q; keepalived writes MASTER, BACKUP, FAULT, STOP, DELETED or MASTER_RX_LOWER_PRI", args[2])
	}
	if len(args) == 4 {
		if p, err := strconv.ParseUint(args[3], 10, 8); err == nil {
			ev.Priority = int(p)
		}
	}
	return ev, nil
}

package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Health is what is known about a health check.
type Health struct {
	Check   string    `json:"check"`
	Healthy bool      `json:"healthy"`
	Reason  string    `json:"reason,omitempty"` // why it is not
	Since   time.Time `json:"since"`
}

// maxNames is how many instances a line of the table names.
const maxNames = 3

// healthTable writes the health checks for people, below the instances: a line for each
// check of each process, with the instances that need it. It writes nothing if there is
// none.
func healthTable(w io.Writer, all []Instance, now time.Time) error {
	type line struct {
		pid int
		Health
		instances []string
	}
	var lines []*line
	for _, in := range all {
		for _, h := range in.Health {
			i := slices.IndexFunc(lines, func(l *line) bool { return l.pid == in.PID && l.Check == h.Check })
			if i < 0 {
				i, lines = len(lines), append(lines, &line{pid: in.PID, Health: h})
			}
			lines[i].instances = append(lines[i].instances, in.Instance)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nCHECK\tHEALTH\tSINCE\tINSTANCES\tREASON")
	for _, l := range lines {
		health, names := "unhealthy", l.instances
		if l.Healthy {
			health = "healthy"
		}
		more := ""
		if n := len(names) - maxNames; n > 0 {
			names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Check, health, ago(l.Since, now), strings.Join(names, ", ")+more, dash(l.Reason))
	}
	return tw.Flush()
}

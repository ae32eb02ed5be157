package ips

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Table writes addresses for people, a line for each.
func Table(w io.Writer, all []Address, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tADDRESS\tSTATUS\tOWNER\tSINCE\tREASON")
	for _, a := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.IP, dash(string(a.Status)), dash(a.Owner), ago(a.Since, now), dash(a.Reason))
	}
	return tw.Flush()
}

// Print writes all that is known of an address for people, a line for each fact.
func (a Address) Print(w io.Writer, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(tw, "%s\t%s\n", name, dash(value)) }
	line("ID", a.ID)
	line("ADDRESS", a.IP)
	line("STATUS", string(a.Status))
	line("OWNER", a.Owner)
	line("SINCE", ago(a.Since, now))
	line("REASON", a.Reason)
	if e := a.LastEvent; e != nil {
		last := string(e.Event) + ", " + ago(e.At, now)
		if e.Reason != "" && e.Reason != string(e.Event) {
			last += ", " + e.Reason
		}
		line("LAST EVENT", last)
	}
	for _, c := range a.Checks {
		line("CHECK", c.String())
	}
	line("HEALTHCHECK INTERVAL", interval(a.HealthcheckInterval))
	line("KEEPALIVE INTERVAL", interval(a.KeepaliveInterval))
	return tw.Flush()
}

// ago prints a moment as people ask for it: how long ago. Another host's clock may be
// ahead.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return max(now.Sub(t), 0).Round(time.Second).String() + " ago"
}

func interval(seconds int) string {
	if seconds == 0 {
		return "default"
	}
	return (time.Duration(seconds) * time.Second).String()
}

// dash stands for nothing; a reason of several lines gets one.
func dash(text string) string { return cmp.Or(strings.Join(strings.Fields(text), " "), "-") }

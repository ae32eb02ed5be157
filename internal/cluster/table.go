package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// JSON writes the view for programs.
func (v View) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Bounds of the table for people.
const (
	tableWidth = 120 // a note that does not fit has a line of its own
	tableMoves = 10
)

// Table writes the view for people: the addresses, the members, and the last moves.
func (v View) Table(w io.Writer) error {
	var b strings.Builder
	if len(v.Addresses)+len(v.Members) == 0 {
		fmt.Fprintf(&b, "no member and no address is below %s in etcd\n", v.Prefix)
	} else {
		v.addressTable(&b)
		v.memberTable(&b)
		v.moveTable(&b)
	}
	if !v.Etcd.Reachable {
		fmt.Fprintf(&b, "\netcd cannot be reached since %s: %s\n", clock(v.Etcd.Since), clean(v.Etcd.Reason, maxReason))
	}
	if v.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", clean(v.Note, 4*maxReason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (v View) addressTable(b *strings.Builder) {
	rows := [][]string{{"ADDRESS", "INSTANCE", "OWNER", "SINCE", "LEASE", "CANDIDATES", "NOTE"}}
	for _, a := range v.Addresses {
		note := a.Reason
		switch {
		case a.LastKnown:
			note = strings.TrimSuffix("as last known; "+note, "; ")
		case note == "" && a.Assigned != "" && a.Assigned != a.Owner:
			note = "assigned to " + a.Assigned
		}
		rows = append(rows, []string{short(a.Address), a.Instance, a.Owner, age(a.Since, v.Now), left(a.LeaseLeft), names(a.Candidates), note})
	}
	columns(b, rows)
}

func (v View) memberTable(b *strings.Builder) {
	b.WriteByte('\n')
	rows := [][]string{{"MEMBER", "STATE", "SINCE", "VERSION", "HEALTH", "ADDRESSES", "NOTE"}}
	for _, m := range v.Members {
		healthy := 0
		for _, h := range m.Health {
			if h.Healthy {
				healthy++
			}
		}
		health := ""
		if len(m.Health) > 0 {
			health = fmt.Sprintf("%d of %d", healthy, len(m.Health))
		}
		name := m.Name
		if m.Here {
			name += " (here)"
		}
		rows = append(rows, []string{name, m.State, age(m.Since, v.Now), m.Version, health, fmt.Sprint(m.Addresses), m.Reason})
	}
	columns(b, rows)
}

func (v View) moveTable(b *strings.Builder) {
	if len(v.Moves) == 0 {
		return
	}
	b.WriteByte('\n')
	rows := [][]string{{"TIME", "INSTANCE", "MEMBER", "STATE", "FROM", "REASON"}}
	for _, m := range v.Moves[:min(len(v.Moves), tableMoves)] {
		rows = append(rows, []string{clock(m.At), m.Instance, m.Member, m.State, m.From, m.Reason})
	}
	columns(b, rows)
}

// columns writes rows below each other. The last column is text: where it does not fit into
// the width of the table, it has a line of its own below its row.
func columns(b *strings.Builder, rows [][]string) {
	for _, r := range rows {
		for i := range r { // a server may have sent anything
			r[i] = clean(r[i], maxReason)
		}
	}
	last := len(rows[0]) - 1
	widths := make([]int, last)
	before := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(cmp.Or(r[i], "-"))+2)
		}
		before += widths[i]
	}
	for _, r := range rows {
		line := ""
		for i, width := range widths {
			cell := cmp.Or(r[i], "-")
			line += cell + strings.Repeat(" ", width-utf8.RuneCountInString(cell))
		}
		note := cmp.Or(r[last], "-")
		if before+utf8.RuneCountInString(note) > tableWidth && len(note) > len("-") {
			line, note = strings.TrimRight(line, " "), "\n    "+note
		}
		b.WriteString(line + note + "\n")
	}
}

// short leaves out the length of a single address.
func short(address string) string {
	if p, err := netip.ParsePrefix(address); err == nil && p.IsSingleIP() {
		return p.Addr().String()
	}
	return address
}

// maxNames is how many candidates a line names.
const maxNames = 3

func names(all []string) string {
	if len(all) <= maxNames {
		return strings.Join(all, ",")
	}
	return fmt.Sprintf("%s and %d more", all[0], len(all)-1)
}

func left(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return (time.Duration(ms) * time.Millisecond).Round(100 * time.Millisecond).String()
}

// age tells how long ago a moment was, in its two largest units. The clock of the host that
// wrote it may be ahead of this one's.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(0, now.Sub(t))
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh ago", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm ago", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds ago", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds ago", d/time.Second)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

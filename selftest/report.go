package selftest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes the findings for people.
func Table(w io.Writer, findings []Finding) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RESULT\tCHECK\tSEEN\tWHAT TO DO")
	for _, f := range findings {
		cure := f.Cure
		if cure == "" {
			cure = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", f.Level, f.Check, oneLine(f.Seen), oneLine(cure))
	}
	return tw.Flush()
}

// JSON writes the findings for programs.
func JSON(w io.Writer, findings []Finding) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Result   Level     `json:"result"`
		Findings []Finding `json:"findings"`
	}{Worst(findings), findings})
}

// Nagios writes one status line and one line for each finding, and returns the exit
// status of the Monitoring Plugins guidelines: 0 OK, 1 WARNING, 2 CRITICAL.
func Nagios(w io.Writer, findings []Finding) (int, error) {
	worst := Worst(findings)
	counts := map[Level]int{}
	for _, f := range findings {
		counts[f.Level]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "BERTH %s - ok: %d, warnings: %d, failures: %d\n",
		[...]string{"OK", "WARNING", "CRITICAL"}[worst], counts[OK], counts[Warn], counts[Fail])
	for _, f := range findings {
		fmt.Fprintf(&b, "[%s] %s: %s\n", f.Level, f.Check, oneLine(f.Seen))
	}
	_, err := io.WriteString(w, b.String())
	return int(worst), err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

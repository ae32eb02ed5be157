package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is that of one run of a check.
type Result struct {
	Check   string
	Healthy bool
	Reason  string // why not
	Took    time.Duration
}

func (c *Checker) result(ctx context.Context) Result {
	begin := time.Now()
	r := Result{Check: c.Name, Healthy: true}
	if err := c.Once(ctx); err != nil {
		r.Healthy, r.Reason = false, err.Error()
	}
	r.Took = time.Since(begin)
	return r
}

// Failed returns how many of the results are bad.
func Failed(results []Result) int {
	n := 0
	for _, r := range results {
		if !r.Healthy {
			n++
		}
	}
	return n
}

// Table writes a line for each result: ok or failed, how long the run took, the check,
// and the reason.
func Table(w io.Writer, results []Result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range results {
		word := ok
		if !r.Healthy {
			word = failed
		}
		fmt.Fprintln(tw, strings.TrimRight(fmt.Sprintf("%s\t%s\t%s\t%s", word, r.Took.Round(time.Millisecond), r.Check, r.Reason), "\t"))
	}
	return tw.Flush()
}

// JSON writes the results for programs.
func JSON(w io.Writer, results []Result) error {
	type row struct {
		Check   string  `json:"check"`
		Healthy bool    `json:"healthy"`
		Reason  string  `json:"reason,omitempty"`
		Seconds float64 `json:"seconds"`
	}
	rows := []row{}
	for _, r := range results {
		rows = append(rows, row{r.Check, r.Healthy, r.Reason, r.Took.Seconds()})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(rows)
}

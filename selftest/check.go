// Package selftest is the list of checks behind `berth --test`, and their
// report. Checks only read; probes of the provider and of keepalived's
// configuration arrive as functions, so the package knows neither.
package selftest

import "context"

// Level is how bad a finding is.
type Level uint8

// The levels. Warn leaves the self-test passed.
const (
	OK Level = iota
	Warn
	Fail
)

// String returns the word of the report.
func (l Level) String() string { return [...]string{"ok", "warn", "FAIL"}[l] }

// MarshalText returns the word in small letters, for JSON.
func (l Level) MarshalText() ([]byte, error) {
	return []byte([...]string{"ok", "warn", "fail"}[l]), nil
}

// Finding is what one check saw.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Seen  string `json:"seen"`
	Cure  string `json:"cure,omitempty"` // what to do, empty if nothing
}

// Check looks at one thing. Run is called once; every finding it returns
// carries the check's name already.
type Check struct {
	Name string
	Run  func(ctx context.Context) []Finding
}

// Run runs the checks in order and returns all findings.
func Run(ctx context.Context, checks []Check) []Finding {
	var all []Finding
	for _, c := range checks {
		for _, f := range c.Run(ctx) {
			f.Check = c.Name
			all = append(all, f)
		}
	}
	return all
}

// Worst returns the worst level of the findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}

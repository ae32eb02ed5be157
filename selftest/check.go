package selftest

import "context"

// Level is the severity of a finding.
type Level uint8

// The levels. A self-test with Warn has passed.
const (
	OK Level = iota
	Warn
	Fail
)

// String returns the word of the report.
func (l Level) String() string { return [...]string{"ok", "warn", "FAIL"}[l] }

// MarshalText returns the word in lower case, for JSON.
func (l Level) MarshalText() ([]byte, error) {
	return []byte([...]string{"ok", "warn", "fail"}[l]), nil
}

// Finding is one result of a check.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Seen  string `json:"seen"`
	Cure  string `json:"cure,omitempty"` // what to do, "" where nothing has to be done
}

// Check examines one part of the system. Run is called once, and must end soon after
// ctx. Its findings need not name the check.
type Check struct {
	Name string
	Run  func(ctx context.Context) []Finding
}

// Run runs the checks in order and returns all findings, each with the name of its
// check.
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

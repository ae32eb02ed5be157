package health

import (
	"context"
	"slices"
	"sync"

	"berth/internal/condition"
	"berth/internal/run"
)

// Set is the health checks of a process. Each of them runs once, however many instances
// need it.
type Set struct{ checkers []*Checker }

// NewSet returns the set of some checks, which have different names.
func NewSet(all ...Options) *Set {
	s := &Set{}
	for _, o := range all {
		s.checkers = append(s.checkers, New(o))
	}
	return s
}

// Conditions returns those checks of the set that have the names, in that order.
func (s *Set) Conditions(names []string) []condition.Condition {
	var some []condition.Condition
	for _, name := range names {
		if i := slices.IndexFunc(s.checkers, func(c *Checker) bool { return c.Name == name }); i >= 0 {
			some = append(some, s.checkers[i])
		}
	}
	return some
}

// Presume is that of Checker, for the checks with these names.
func (s *Set) Presume(names []string) {
	for _, c := range s.checkers {
		if slices.Contains(names, c.Name) {
			c.Presume()
		}
	}
}

// Run runs all checks, each independently of the others, until ctx ends, and returns the
// cause.
func (s *Set) Run(ctx context.Context) error {
	var tasks []run.Task
	for _, c := range s.checkers {
		tasks = append(tasks, run.Task{Name: c.Name, Run: c.Run})
	}
	_ = run.All(ctx, tasks...) // a checker ends with ctx alone
	<-ctx.Done()
	return context.Cause(ctx)
}

// Once runs each check once, all at the same time, and returns their results in order.
func (s *Set) Once(ctx context.Context) []Result {
	results := make([]Result, len(s.checkers))
	var running sync.WaitGroup
	for i, c := range s.checkers {
		running.Go(func() { results[i] = c.result(ctx) })
	}
	running.Wait()
	return results
}

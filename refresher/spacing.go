package refresher

import "time"

// Spacing spaces the attempts of a command that repeats them until one succeeds: by the
// back-off of a policy, and by what the provider asks for, as a Loop does.
type Spacing struct{ retry *retry }

// NewSpacing returns the spacing of a policy, of which the back-off alone counts: no
// failure is left to a later interval.
func NewSpacing(p Policy) *Spacing {
	p.Interval, p.MaxElapsedTime = p.MaxInterval, 0
	return &Spacing{retry: newRetry(p)}
}

// Next returns the wait after an attempt that failed with err.
func (s *Spacing) Next(err error) time.Duration {
	class, retryAfter := Classify(err)
	return s.retry.next(class, retryAfter, time.Now())
}

package config

import (
	"time"

	"berth/internal/section"
)

// BackOff is how failed attempts are spaced, before jitter.
type BackOff struct {
	InitialInterval time.Duration
	Multiplier      float64 // at least 1
	MaxInterval     time.Duration
	MaxElapsedTime  time.Duration // then the normal interval; 0: never
}

func defaultBackOff() BackOff {
	return BackOff{InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}
}

func fillBackOff(top *section.Section, c *Config) {
	b := &c.BackOff
	s := top.Sub("back-off", section.Keys{
		"initial-interval": section.Duration{To: &b.InitialInterval},
		"multiplier":       &b.Multiplier,
		"max-interval":     section.Duration{To: &b.MaxInterval},
		"max-elapsed-time": section.Duration{To: &b.MaxElapsedTime, OrZero: true},
	})
	if m := b.Multiplier; !(m >= 1 && m <= 1000) {
		s.Refuse("multiplier", "", "a number from 1 to 1000")
	}
	if b.InitialInterval <= b.MaxInterval {
		return
	}
	// A file that sets only one of the two must not become invalid by the default
	// of the other; the key that the file sets counts.
	switch {
	case !s.Given("initial-interval"):
		b.InitialInterval = b.MaxInterval
	case !s.Given("max-interval"):
		b.MaxInterval = b.InitialInterval
	case !s.Wrong("max-interval"):
		s.Refuse("initial-interval", b.InitialInterval.String(), "no more than back-off.max-interval, which is "+b.MaxInterval.String())
	}
}

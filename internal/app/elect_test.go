package app

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAddressesThatCannotBeRemovedHoldUpTheKey(t *testing.T) {
	refusal := errors.New("operation not permitted")
	for name, tt := range map[string]struct {
		failures int
		want     time.Duration
		lines    int
	}{
		"gone at the second look":     {0, 0, 0},
		"gone after a few attempts":   {3, 300 * time.Millisecond, 1},
		"gone only by their lifetime": {1000, 4 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.ErrorLevel)
				begun, failures := time.Now(), tt.failures
				untilGone(func() error {
					if failures--; failures >= 0 {
						return refusal
					}
					return nil
				}, begun.Add(4*time.Second), zap.New(core))
				if took := time.Since(begun); took != tt.want {
					t.Errorf("want %v, got %v", tt.want, took)
				}
				if logs.Len() != tt.lines {
					t.Errorf("want %d lines, got %v", tt.lines, logs.All())
				}
			})
		})
	}
}

package election

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
	logtest "go.uber.org/zap/zaptest/observer"

	"berth/internal/journal"
)

func TestAnOutageThatIsNowARefusalAndNowSilenceIsToldOnce(t *testing.T) {
	core, logs := logtest.New(zap.InfoLevel)
	j := journal.New(zap.New(core))
	s := &Session{Etcd: &Etcd{}, Journal: j, outage: j.Condition()}
	silence, other := errors.New("no answer"), errors.New("connection refused")
	for _, step := range []struct {
		err   error
		lines int // in all
	}{{silence, 1}, {other, 1}, {rpctypes.ErrPermissionDenied, 2}, {silence, 2}, {rpctypes.ErrPermissionDenied, 2}, {other, 2}, {rpctypes.ErrNoSpace, 3}, {silence, 3}} {
		if wait := s.unobtained(step.err); (wait == refusedWait) != stubborn(step.err) {
			t.Errorf("%v: waits %v", step.err, wait)
		}
		if n := logs.Len(); n != step.lines {
			t.Errorf("%v: %d lines, want %d: %v", step.err, n, step.lines, logs.All())
		}
	}
}

package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"berth/internal/files"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Record tells what the newest event of an instance is and who acts on it. It
// lies beside the lock file, is replaced by rename, and is written only by the
// holder of the lock.
type Record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // as pidfd.Info.Start; with it a recycled pid is told apart
	Boot  string `json:"boot"`
	// Service is set by `berth --fifo`, which holds many instances: a notify
	// script must not end it. A service has no Script.
	Service bool `json:"service,omitempty"`
	// Script is the process that keepalived started for the event.
	Script Script     `json:"script,omitzero"`
	State  vrrp.State `json:"state"`
	Config string     `json:"config"` // path of berth's configuration
}

// Script tells which of two events is the newer one: keepalived starts one
// process for each, and does not wait for it.
type Script struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

// after reports whether s was started after t, within one boot. Many forks
// share a clock tick of 10 ms; among them the pid decides, which the kernel
// counts up and begins anew at limit. That is read only then: claims wait.
func (s Script) after(t Script, limit func() int) bool {
	if s.Start != t.Start {
		return s.Start > t.Start
	}
	n := limit()
	ahead := ((s.PID-t.PID)%n + n) % n
	return ahead != 0 && ahead < n/2
}

// after reports whether the event on record r is newer than that of s. A
// service has no events in the order of scripts: it is never newer, and for it
// nothing is.
func (r Record) after(s Record, limit func() int) bool {
	return !r.Service && !s.Service && r.Boot == s.Boot && r.Script.after(s.Script, limit)
}

// pidLimit is where the kernel begins pids anew, see proc(5).
func pidLimit() int {
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n > 1 {
			return n
		}
	}
	return 1 << 22 // the most that the kernel can be set to
}

// ErrSuperseded says that a newer event of the instance is on record: whoever
// was started for an older one has nothing to do.
var ErrSuperseded = errors.New("superseded by a newer event")

// superseded describes the newer event.
func superseded(newer Record) error {
	return fmt.Errorf("%w: %s (pid %d)", ErrSuperseded, newer.State, newer.PID)
}

// Enter puts self on record beside each of the lock files. Call it right after
// the locks were taken, and before acting. The error matches ErrSuperseded when a
// newer event is on record, and is nil otherwise: a record that cannot be read or
// written is a warning, because acting counts more.
func Enter(self Record, log *zap.Logger, lockFiles ...string) error {
	var known bool // self is on record already, as a service that acts again
	var other string
	for i, path := range lockFiles {
		former, err := ReadRecord(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			log.Warn("cannot tell the newest event; taking this one for it", zap.Error(err))
		case former.after(self, pidLimit):
			return superseded(former)
		case former.Boot == self.Boot && former.Config != self.Config:
			other = former.Config
		}
		known = (i == 0 || known) && err == nil && former == self
	}
	if other != "" {
		log.Warn("another berth acts for this instance with a different configuration; keep one",
			zap.String("config", self.Config), zap.String("other", other))
	}
	if known {
		return nil
	}
	for _, path := range lockFiles {
		if err := self.Write(path); err != nil {
			log.Warn("cannot record the newest event; an older one that comes late may undo it", zap.Error(err))
		}
	}
	return nil
}

// RecordPath returns where the record of a lock lies.
func RecordPath(lockFile string) string { return lockFile + ".owner" }

// maxRecord bounds a record in bytes: the path of a configuration is the longest
// part, of 4096 bytes at most.
const maxRecord = 64 << 10

// ReadRecord reads the record beside a lock file, if only this user can have
// written it; it waits for nobody. The error matches os.ErrNotExist when there is
// none, and what files.ReadOwn says when it is of no use.
func ReadRecord(lockFile string) (Record, error) {
	text, err := files.ReadOwn(RecordPath(lockFile), maxRecord)
	if err != nil {
		return Record{}, fmt.Errorf("read lock owner: %w", err)
	}
	r, err := parseRecord(text)
	if err != nil {
		return Record{}, fmt.Errorf("read lock owner %s: %w", RecordPath(lockFile), err)
	}
	return r, nil
}

func parseRecord(text []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}

// Write puts the record beside the lock file. Call it only while holding the
// lock.
func (r Record) Write(lockFile string) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = files.Replace(RecordPath(lockFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write lock owner: %w", err)
	}
	return nil
}

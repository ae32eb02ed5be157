package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Record names the newest event of an instance and the process that acts on it. The
// file lies beside the lock file, is replaced by rename, and is written only by the
// process that has the lock.
type Record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // as pidfd.Info.Start; it tells a recycled pid apart
	Boot  string `json:"boot"`  // as boot.ID
	// Service is set by `berth --fifo`, which acts for many instances: a notify
	// script must not end it. A service has no Script.
	Service bool `json:"service,omitempty"`
	// Script is the process that keepalived started for the event.
	Script Script     `json:"script,omitzero"`
	State  vrrp.State `json:"state"`
	Config string     `json:"config"` // path of berth's configuration
}

// Script is the process of a notify script. It tells which of two events is the newer
// one: keepalived starts a process for each event, and does not wait for its end.
type Script struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

// after reports whether s was started after t, within one boot. Many forks
// share a clock tick of 10 ms; among them the pid decides, which the kernel
// counts up to limit and then begins anew. limit is called only where it is needed,
// because a claim waits for it.
func (s Script) after(t Script, limit func() int) bool {
	if s.Start != t.Start {
		return s.Start > t.Start
	}
	n := limit()
	ahead := ((s.PID-t.PID)%n + n) % n
	return ahead != 0 && ahead < n/2
}

// after reports whether the event of r is newer than that of s. The events of a
// service have no order among those of scripts: neither is newer.
func (r Record) after(s Record, limit func() int) bool {
	return !r.Service && !s.Service && r.Boot == s.Boot && r.Script.after(s.Script, limit)
}

// pidLimit returns the pid at which the kernel begins anew, see proc(5).
func pidLimit() int {
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n > 1 {
			return n
		}
	}
	return 1 << 22 // the highest limit that the kernel accepts
}

// ErrSuperseded says that a newer event of the instance is on record: a process that
// was started for an older event has nothing to do.
var ErrSuperseded = errors.New("superseded by a newer event")

// superseded describes the newer event.
func superseded(newer Record) error {
	return fmt.Errorf("%w: %s (pid %d)", ErrSuperseded, newer.State, newer.PID)
}

// Enter puts self on record beside each of the lock files. Call it after the locks were
// taken and before anything is done for the event. The error matches ErrSuperseded when
// a newer event is on record, and is nil otherwise: a record that cannot be read or
// written is a warning, because it must not prevent a claim.
func Enter(self Record, j *journal.Journal, lockFiles ...string) error {
	var known bool // self is on record already, as that of a service that acts again
	var other string
	for i, path := range lockFiles {
		former, err := ReadRecord(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			j.Tell(recordUnreadable, zap.Error(err))
		case former.after(self, pidLimit):
			return superseded(former)
		case former.Boot == self.Boot && former.Config != self.Config:
			other = former.Config
		}
		known = (i == 0 || known) && err == nil && former == self
	}
	if other != "" {
		j.Tell(configuredTwice, zap.String("config", self.Config), zap.String("other", other))
	}
	if known {
		return nil
	}
	for _, path := range lockFiles {
		if err := self.Write(path); err != nil {
			j.Tell(recordUnwritable, zap.Error(err))
		}
	}
	return nil
}

// RecordPath returns the path of the record beside a lock file.
func RecordPath(lockFile string) string { return lockFile + ".owner" }

// maxRecord bounds a record in bytes. Its longest part is the path of a configuration,
// which has 4096 bytes at most.
const maxRecord = 64 << 10

// ReadRecord reads the record beside a lock file, if only this user can have written
// it, without waiting for another process. The error matches os.ErrNotExist when there
// is none, and is that of files.ReadOwn when it cannot be trusted.
func ReadRecord(lockFile string) (Record, error) {
	text, err := files.ReadOwn(RecordPath(lockFile), maxRecord)
	if err != nil {
		return Record{}, fmt.Errorf("read record of the lock: %w", err)
	}
	r, err := parseRecord(text)
	if err != nil {
		return Record{}, fmt.Errorf("read record of the lock %s: %w", RecordPath(lockFile), err)
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

// Write writes the record beside the lock file. Only a process that has the lock may
// call it.
func (r Record) Write(lockFile string) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = files.Replace(RecordPath(lockFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write record of the lock: %w", err)
	}
	return nil
}

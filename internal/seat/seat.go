// Package seat is the place of a member of the election on its host, in the run
// directory: a lock, so that no two processes are one member; a record of the lease, so
// that a successor can adopt it; the identity, which tells two hosts of one name apart;
// and what was seen of etcd's history, so that a successor notices a break.
//
// Without a usable run directory these records are missing; the member takes part in the
// election all the same.
package seat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/internal/status"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Options say whose seat it is.
type Options struct {
	RunDirectory string
	// Prefix and Member are those of the election. Name is both, as one part of a
	// file name.
	Prefix, Member, Name string
	Boot                 string // id of the machine's boot: no lease outlives a boot
	Journal              *journal.Journal
}

// Seat is the place of a member: locked, and with its lease on record.
type Seat struct {
	path  string
	lock  *files.LockFile // nil if it could not be used
	found clientv3.LeaseID

	mu      sync.Mutex
	lease   status.Lease
	writing *journal.Condition
}

// leaveTime is how long a predecessor may take to leave the seat.
const leaveTime = 5 * time.Second

// Take waits for the seat and reads the lease of the process before this one. It fails
// if another process keeps the seat.
func Take(ctx context.Context, o Options) (*Seat, error) {
	s := &Seat{path: rundir.Dir(o.RunDirectory).Lease(o.Name), writing: o.Journal.Condition(), lease: status.Lease{Boot: o.Boot, Prefix: o.Prefix, Member: o.Member}}
	lockPath := rundir.Dir(o.RunDirectory).MemberLock(o.Name)
	var err error
	if s.lock, err = occupy(ctx, lockPath, o.Journal); errors.Is(err, files.ErrLocked) {
		err = fmt.Errorf("another berth on this host is member %q below %s (it holds %s); stop it, or give one of the two another etcd.member (-member of berth govip, nodename of berth yaim, HOSTNAME of berth link) or another etcd.prefix (-name of berth govip)",
			o.Member, o.Prefix, lockPath)
	}
	if s.lock == nil {
		return s.unless(err)
	}
	former, err := status.ReadOwnLease(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		o.Journal.Tell(leaseUnreadable, zap.Error(err))
	case former.Boot == o.Boot && former.Prefix == o.Prefix && former.Member == o.Member:
		s.found = clientv3.LeaseID(former.ID)
	}
	return s, nil
}

// Alone waits for the seat of a process that is no member of an election, of which there
// must be one: it has no lease. path is that of the lock. It fails if another process
// keeps the seat, with an error that ends with what to do.
func Alone(ctx context.Context, path, cure string, j *journal.Journal) (*Seat, error) {
	s := &Seat{writing: j.Condition()}
	var err error
	if s.lock, err = occupy(ctx, path, j); errors.Is(err, files.ErrLocked) {
		err = fmt.Errorf("another berth on this host does the same (it holds %s); %s", path, cure)
	}
	return s.unless(err)
}

func (s *Seat) unless(err error) (*Seat, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// occupy waits for a lock. It returns nil without an error if there cannot be one, which
// is told.
func occupy(ctx context.Context, path string, j *journal.Journal) (*files.LockFile, error) {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	var lock *files.LockFile
	if err == nil {
		lock, err = lockWithin(ctx, path)
	}
	switch {
	case errors.Is(err, files.ErrLocked) && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, files.ErrLocked):
		return nil, err
	case err != nil:
		j.Tell(seatUnusable, zap.String("file", path), zap.Error(err))
		return nil, nil
	}
	return lock, nil
}

// retry spaces the attempts to take the seat of a process that is about to end.
const retry = 10 * time.Millisecond

// lockWithin takes a lock, for which it waits for leaveTime at the most.
func lockWithin(ctx context.Context, path string) (*files.LockFile, error) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for {
		lock, err := files.Lock(path)
		if !errors.Is(err, files.ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retry):
		}
	}
}

// Path returns the file that has the lease.
func (s *Seat) Path() string { return s.path }

// Found returns the lease of the process before this one, 0 if there is none to adopt.
func (s *Seat) Found() clientv3.LeaseID { return s.found }

// Leased puts a new lease on record.
func (s *Seat) Leased(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease.ID = int64(id)
	s.write()
}

// interval is how often what changes all the time is put on record.
const interval = time.Second

// Run puts on record, for people, when the lease ends, or since when the member goes on
// although etcd does not acknowledge the lease, until ctx ends. The part that renews the
// lease does not write: a disk that hangs must not cost the lease.
func (s *Seat) Run(ctx context.Context, end, unacknowledged func() time.Time) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		now, since := end(), unacknowledged()
		if !since.IsZero() {
			now = time.Time{} // etcd has not granted the lease until then
		} else if now.IsZero() {
			continue // without a lease the record is that of the last one
		}
		s.mu.Lock()
		if now != s.lease.End || !since.Equal(s.lease.Unacknowledged) {
			s.lease.End, s.lease.Unacknowledged = now, since
			s.write()
		}
		s.mu.Unlock()
	}
}

// write is called with the lock held.
func (s *Seat) write() {
	if s.lock == nil {
		return
	}
	text, err := json.Marshal(s.lease)
	if err == nil {
		err = files.Replace(s.path, append(text, '\n'), 0o644)
	}
	if err != nil {
		s.writing.Fail(leaseUnwritable, err)
		return
	}
	s.writing.Clear()
}

// Leave gives the seat up. With adopt the record stays, for a successor; and so
// does that of a predecessor whose lease this process has not come to adopt.
func (s *Seat) Leave(adopt bool) error {
	if s.lock == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing.Drop()
	var err error
	if !adopt && s.lease.ID != 0 {
		if err = os.Remove(s.path); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, s.lock.Close())
}

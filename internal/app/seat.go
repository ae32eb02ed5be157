package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/files"
	"berth/internal/status"
	"berth/notify"

	"github.com/gofrs/flock"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// newMember builds the member of the election that this process is. seat, which
// may be nil, is its place on this host.
func (o *Options) newMember(cfg *config.Config, seat *seat, metrics *election.Metrics, log *zap.Logger) (*election.Member, error) {
	etcd, err := o.newEtcd(cfg, cfg.RunDirectory, log)
	if err != nil {
		return nil, err
	}
	m := &election.Member{
		Etcd: etcd, Prefix: cfg.Etcd.Prefix, Name: memberName(cfg), TTL: cfg.Etcd.LeaseTTL, Metrics: metrics, Log: log,
	}
	if seat != nil {
		m.Adopt, m.Leased = seat.found, seat.leased
	}
	return m, nil
}

// newEtcd builds the way to etcd. It connects to nobody. What it looks up it keeps in
// runDirectory, or nowhere if that is empty.
func (o *Options) newEtcd(cfg *config.Config, runDirectory string, log *zap.Logger) (*election.Etcd, error) {
	e := cfg.Etcd
	var password config.Secret
	if e.Username != "" {
		var err error
		password, err = o.secrets(cfg, log).Resolve("etcd.password", e.Password, e.PasswordFile, "BERTH_ETCD_PASSWORD")
		if err == nil && password == "" {
			err = errors.New("etcd.password: missing; write etcd.password-file, or set $BERTH_ETCD_PASSWORD")
		}
		if err != nil {
			return nil, &UsageError{fmt.Errorf("%s: %w", cfg.Path, err)}
		}
	}
	etcd, err := election.NewEtcd(election.Options{
		Endpoints: e.Endpoints, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Username: e.Username, Password: password.Reveal(), Names: o.resolvers.at(runDirectory, log),
	})
	if err != nil {
		return nil, &UsageError{fmt.Errorf("%s: etcd: %w", cfg.Path, err)}
	}
	return etcd, nil
}

// memberName is who this host is in etcd.
func memberName(cfg *config.Config) string {
	if cfg.Etcd.Member != "" {
		return cfg.Etcd.Member
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// seat is the place of a member on this host: locked, so that no two processes
// are one member, and on record, so that a successor can adopt the lease.
type seat struct {
	path  string
	lock  *flock.Flock // nil if it could not be used
	boot  string
	found clientv3.LeaseID // of the predecessor, 0 if there is none to adopt
	log   *zap.Logger

	mu      sync.Mutex
	lease   status.Lease
	failing bool
}

// seatPatience is how long a predecessor may take to leave the seat.
const seatPatience = 5 * time.Second

// takeSeat waits for the seat and reads who sat there. A run directory that
// cannot be used costs the adoption and not the election.
func takeSeat(ctx context.Context, cfg *config.Config, log *zap.Logger) (*seat, error) {
	self, err := notify.Self(true)
	if err != nil {
		return nil, err
	}
	name := memberName(cfg)
	s := &seat{
		path: filepath.Join(cfg.RunDirectory, "etcd-"+config.EscapeName(cfg.Etcd.Prefix+name)+".json"), boot: self.Boot, log: log,
		lease: status.Lease{Boot: self.Boot, Prefix: cfg.Etcd.Prefix, Member: name},
	}
	lockPath := strings.TrimSuffix(s.path, ".json") + ".lock"
	err = os.MkdirAll(cfg.RunDirectory, 0o755)
	lock := flock.New(lockPath, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	locked := false
	if err == nil {
		waitCtx, cancel := context.WithTimeout(ctx, seatPatience)
		defer cancel()
		locked, err = lock.TryLockContext(waitCtx, 10*time.Millisecond)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("another berth on this host is member %q below %s (it holds %s); stop it, or give one of the two another etcd.member or etcd.prefix",
			name, cfg.Etcd.Prefix, lockPath)
	case err != nil || !locked:
		log.Error("cannot use the run directory; a restart of berth will not adopt its lease", zap.String("file", lockPath), zap.Error(err))
		return s, nil
	}
	s.lock = lock
	former, err := status.ReadLease(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		log.Warn("cannot tell the lease of the process before this one", zap.Error(err))
	case former.Boot == s.boot && former.Prefix == s.lease.Prefix && former.Member == s.lease.Member:
		s.found = clientv3.LeaseID(former.ID)
	}
	return s, nil
}

// leased puts a new lease on record.
func (s *seat) leased(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease.ID = int64(id)
	s.write()
}

// seatInterval is how often the end of the lease is put on record, for people.
const seatInterval = time.Second

// run keeps on record when the lease ends, until ctx does. It is not done where
// the lease is renewed: a disk that hangs must not cost it.
func (s *seat) run(ctx context.Context, end func() time.Time) error {
	tick := time.NewTicker(seatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		s.mu.Lock()
		if now := end(); !now.IsZero() && now != s.lease.End {
			s.lease.End = now
			s.write()
		}
		s.mu.Unlock()
	}
}

// write is called with the lock held.
func (s *seat) write() {
	if s.lock == nil {
		return
	}
	text, err := json.Marshal(s.lease)
	if err == nil {
		err = files.Replace(s.path, append(text, '\n'), 0o644)
	}
	if err != nil && !s.failing {
		s.log.Warn("cannot put the lease on record; a restart of berth will not adopt it", zap.Error(err))
	}
	s.failing = err != nil
}

// leave gives the seat up. With adopt the record stays, for a successor; and so
// does that of a predecessor whose lease this process has not come to adopt.
func (s *seat) leave(adopt bool) error {
	if s.lock == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if !adopt && s.lease.ID != 0 {
		if err = os.Remove(s.path); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, s.lock.Close())
}

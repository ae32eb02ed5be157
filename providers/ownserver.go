package providers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/journal"
)

// verifyTimeout bounds for how long the first observation of the account waits for
// the proof that a server id from the disk is still right.
const verifyTimeout = time.Second

// OwnServer is the id that this host has at its provider: configured, stored on
// disk by an earlier process, or told by the metadata service. It is safe for
// concurrent use.
type OwnServer struct {
	provider string
	ask      func(context.Context) (string, error)
	cache    *IDCache
	journal  *journal.Journal
	fixed    bool // configured

	asking Shared[struct{}, string]

	mu       sync.Mutex // guards all below
	id       string     // "" if not known
	verified bool       // it does not come from the disk alone
}

// newOwnServer makes no calls. configured and cached are "" if they are not known;
// ask asks the metadata service.
func newOwnServer(a *Access, cache *IDCache, configured, cached string, ask func(context.Context) (string, error)) *OwnServer {
	s := &OwnServer{provider: a.Provider, ask: ask, cache: cache, journal: a.Journal, id: cached, verified: cached == ""}
	if configured != "" {
		s.id, s.fixed, s.verified = configured, true, true
	}
	return s
}

// Fixed tells that the id is configured, so that no metadata can correct it.
func (s *OwnServer) Fixed() bool { return s.fixed }

// ID returns the id from the configuration, memory or, if it is in neither, the
// metadata service. asked tells that the service was asked.
func (s *OwnServer) ID(ctx context.Context) (id string, asked bool, err error) {
	s.mu.Lock()
	id = s.id
	s.mu.Unlock()
	if id != "" {
		return id, false, nil
	}
	id, err = s.Learn(ctx)
	return id, true, err
}

// Learn asks the metadata service and remembers the answer. Callers share one
// request. All errors are of the kind Transient: a refusal of the service says
// nothing about the account.
func (s *OwnServer) Learn(ctx context.Context) (string, error) {
	id, err := s.asking.Do(ctx, struct{}{}, func(ctx context.Context) (string, error) {
		id, err := s.ask(ctx)
		if e, ok := errors.AsType[*Error](err); ok {
			e.Kind = Transient
		}
		if err != nil {
			return "", err
		}
		s.mu.Lock()
		if s.id != "" && s.id != id {
			s.journal.Tell(ServerChanged, zap.String("before", s.id), zap.String("now", id))
		}
		s.id, s.verified = id, true
		s.mu.Unlock()
		s.cache.Store(IDs{Server: id})
		return id, nil
	})
	return id, SharedError(ctx, s.provider, OpMetadata, err)
}

// Verify makes sure, once in the life of the process, that an id from the disk
// is that of this host, if the metadata service answers soon; see VerifySoon.
func (s *OwnServer) Verify(ctx context.Context) {
	s.mu.Lock()
	done := s.verified
	s.verified = true
	s.mu.Unlock()
	if done {
		return
	}
	VerifySoon(ctx, s.journal, func(ctx context.Context) error {
		_, err := s.Learn(ctx)
		return err
	})
}

// VerifySoon gives learn, which asks the metadata service for an id that was read
// from the disk, one second. If the service does not answer by then, the id stands:
// it is stored so that an outage of the service does not matter.
func VerifySoon(ctx context.Context, j *journal.Journal, learn func(context.Context) error) {
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTimeout, fmt.Errorf("no answer within %s", verifyTimeout))
	defer cancel()
	if err := learn(ctx); err != nil {
		j.Debug("cached server id not verified", zap.Error(err))
	}
}

// Is tells whether an id that the API writes is that of this host.
func (s *OwnServer) Is(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id != "" && strings.EqualFold(s.id, id)
}

// IsUUID tells whether s is a UUID as the clouds write it (RFC 9562, section 4).
// A regular expression would be compiled at each start of a notify script.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

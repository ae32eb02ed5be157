package providers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// verifyTimeout bounds how long the first look at the account may be held up by
// making sure that a server id from the disk is still right.
const verifyTimeout = time.Second

const opMetadata = "read metadata"

// OwnServer is the id that this host has at its provider: configured, kept on
// disk by an earlier process, or asked of the metadata service. It is safe for
// concurrent use.
type OwnServer struct {
	provider string
	ask      func(context.Context) (string, error)
	cache    *IDCache
	log      *zap.Logger
	fixed    bool // configured

	asking Shared[struct{}, string]

	mu       sync.Mutex // guards all below
	id       string     // "" if not known
	verified bool       // it does not come from the disk alone
}

// OwnServerOptions say where the id comes from.
type OwnServerOptions struct {
	Provider   string // name in errors and logs
	Configured string // the id, "" if it is not configured
	Cached     string // what Cache has, "" if nothing
	// Ask asks the metadata service.
	Ask   func(context.Context) (string, error)
	Cache *IDCache
	Log   *zap.Logger
}

// NewOwnServer makes no calls.
func NewOwnServer(o OwnServerOptions) *OwnServer {
	s := &OwnServer{provider: o.Provider, ask: o.Ask, cache: o.Cache, log: o.Log, id: o.Cached, verified: o.Cached == ""}
	if o.Configured != "" {
		s.id, s.fixed, s.verified = o.Configured, true, true
	}
	return s
}

// Fixed tells that the id is configured, so that nobody else can know better.
func (s *OwnServer) Fixed() bool { return s.fixed }

// ID returns the id from the configuration, memory or, if it is in neither, the
// metadata service. looked tells that the service was asked.
func (s *OwnServer) ID(ctx context.Context) (id string, looked bool, err error) {
	s.mu.Lock()
	id = s.id
	s.mu.Unlock()
	if id != "" {
		return id, false, nil
	}
	id, err = s.Learn(ctx)
	return id, true, err
}

// Learn asks the metadata service and keeps the answer. Callers share one
// request. All errors are of the kind Transient: the service knows nothing that
// could be wrong.
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
			s.log.Warn("this host's server id has changed", zap.String("provider", s.provider), zap.String("before", s.id), zap.String("now", id))
		}
		s.id, s.verified = id, true
		s.mu.Unlock()
		s.cache.Store(IDs{Server: id})
		return id, nil
	})
	return id, SharedError(ctx, s.provider, opMetadata, err)
}

// Verify makes sure, once in the life of the process, that an id from the disk
// is that of this host, if the service answers soon. If it does not, the id
// stands: that an outage of the service does not matter is what it is kept for.
func (s *OwnServer) Verify(ctx context.Context) {
	s.mu.Lock()
	done := s.verified
	s.verified = true
	s.mu.Unlock()
	if done {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTimeout, fmt.Errorf("no answer within %s", verifyTimeout))
	defer cancel()
	if _, err := s.Learn(ctx); err != nil {
		s.log.Debug("cached server id not verified", zap.String("provider", s.provider), zap.Error(err))
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

package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/boot"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// refusedWait is the pause after etcd refused a request of this member: to compare a
// password takes etcd its time, and a person has to set something right.
const refusedWait = 5 * time.Second

// obtain returns with a lease that etcd has just acknowledged: the one given, if
// it still lives, because its keys are still those of this member then; else a new
// one. It goes on trying until ctx ends.
func (s *Session) obtain(ctx context.Context, lease clientv3.LeaseID) (renewal, error) {
	for {
		era, _, _ := s.Etcd.history.current()
		r, err := s.try(ctx, lease)
		r.era = era
		now, _, _ := s.Etcd.history.current()
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case now != era:
			lease = 0
			continue
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			lease = 0
			continue
		case err == nil && time.Since(r.sent) < r.ttl-leaseMargin(r.ttl):
			s.acknowledged()
			s.outage.Clear()
			s.refused = false
			return r, nil
		case err == nil:
			err = fmt.Errorf("the answer took %v", time.Since(r.sent).Round(time.Millisecond))
			lease = r.lease
		}
		wait := s.unobtained(err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// unobtained tells why there is no lease yet, and returns how long to wait before the
// next attempt. After a refusal, that etcd does not answer is not news: where an outage
// is now the one and now the other, it is told once.
func (s *Session) unobtained(err error) (wait time.Duration) {
	s.failed(err)
	endpoints := zap.Strings("endpoints", s.Etcd.options.Endpoints)
	switch {
	case stubborn(err):
		s.refused = true
		s.outage.Fail(leaseRefused, err, endpoints)
		return refusedWait
	case s.refused:
		s.Journal.Debug(leaseUnobtained.Text, endpoints, zap.Error(err))
	default:
		s.outage.Fail(leaseUnobtained, err, endpoints)
	}
	return hedge // the attempt may have failed at once
}

// try makes one round of attempts.
func (s *Session) try(ctx context.Context, lease clientv3.LeaseID) (renewal, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*requestTime, ErrNoAnswer)
	defer cancel()
	// The history is compared before a term, because the observer may not have read the
	// keys since the last term; its copy is valid only if the history goes on from there.
	if s.Etcd.history.seen().Cluster != 0 {
		_, err := call(ctx, s.Etcd, func(ctx context.Context, c *clientv3.Client) (struct{}, error) {
			return struct{}{}, s.Etcd.history.check(ctx, c)
		})
		if err != nil {
			return renewal{}, err
		}
	}
	if lease != 0 {
		return call(ctx, s.Etcd, func(ctx context.Context, c *clientv3.Client) (renewal, error) { return renew(ctx, c, lease) })
	}
	// The endpoints are asked one after the other: each grant that came through is another
	// lease.
	failures := make([]error, len(s.Etcd.endpoints))
	for n := range failures {
		i := s.Etcd.pick(n)
		r, err := s.grant(ctx, i)
		if err == nil {
			s.Etcd.prefer(i)
			return r, nil
		}
		failures[i] = s.Etcd.at(i, err)
	}
	return renewal{}, inLine(failures)
}

func (s *Session) grant(ctx context.Context, endpoint int) (renewal, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := s.Etcd.client(endpoint)
	if err != nil {
		return renewal{}, err
	}
	r := renewal{sent: time.Now(), boot: boot.Clock()}
	resp, err := c.Grant(ctx, int64(s.TTL/time.Second))
	if err != nil {
		return renewal{}, err
	}
	r.lease, r.ttl = resp.ID, time.Duration(resp.TTL)*time.Second
	return r, nil
}

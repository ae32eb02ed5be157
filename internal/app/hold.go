package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"berth/config"
	"berth/guard"
	"berth/internal/journal"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/notify"
	"berth/refresher"
	"berth/vrrp"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// errReleased is the cause with which a permit ends when its holding does.
var errReleased = errors.New("holding has ended")

// holder does what an instance that is MASTER needs done.
type holder struct {
	cfg      *config.Config
	book     *reading.Book
	self     notify.Record
	pace     *refresher.Pace
	cloud    *cloud
	status   *status.Board
	meters   *meters
	presence *presence.Observer // nil: events alone count
	fence    *fence             // nil: VRRP alone decides
	log      *zap.Logger
	// entered, which may be nil, is told of an instance right after it was
	// locked.
	entered func(name string)
	// occupy, which may be nil, is notify.Occupy.
	occupy func(ctx context.Context, lockFile string, self notify.Record, j *journal.Journal) (*notify.Socket, error)
	// newest, which may be nil, returns an error when a word of keepalived that
	// ends the holding waits to be acted on. It is asked before each write.
	newest func(ctx context.Context, name string) error
	// impatient makes hold return an error that only a person can mend,
	// instead of trying again; a notify script says it by its exit status. A file
	// that somebody may be writing at the moment is no such error.
	impatient bool

	recording sync.Mutex
}

// recordDelay is when the claims of a burst are out.
const recordDelay = 200 * time.Millisecond

// hold is the holding of one instance: permit, then one loop per address until
// ctx ends; with fencing, for as long as the fence is open. It is an
// instance.Hold.
func (h *holder) hold(ctx context.Context, name string, verify <-chan struct{}) error {
	log := h.log.With(zap.String("instance", name))
	var permit *guard.Permit
	err := h.until(ctx, name, log, "cannot lock the instance yet; trying again", func() (err error) {
		permit, err = h.acquire(ctx, name, log)
		return err
	})
	if err != nil {
		return err
	}
	var recording sync.WaitGroup
	defer func() {
		recording.Wait()
		if err := permit.Release(errReleased); err != nil {
			log.Warn("cannot unlock the instance", zap.Error(err))
		}
	}()
	ctx = permit.Context()

	changed := h.book.Watch()
	var wanted []vrrp.FloatingIP
	err = h.until(ctx, name, log, "cannot tell the addresses of the instance yet; trying again", func() (err error) {
		wanted, err = h.book.Addresses(name)
		return err
	})
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		log.Warn("the instance has no addresses; nothing to move")
	}
	enter := sync.OnceFunc(func() {
		if !h.self.Service || len(permit.Files()) == 0 {
			return // it is on record already
		}
		// Its events come in order, so that the record serves nobody but a
		// notify script that finds the lock held. Later, and one at a time: a
		// burst of claims needs the processors more.
		recording.Go(func() {
			select {
			case <-ctx.Done():
				return // nobody will find it held
			case <-time.After(recordDelay):
			}
			h.recording.Lock()
			defer h.recording.Unlock()
			if err := h.record(ctx, name, permit, log); err != nil && ctx.Err() == nil {
				log.Warn("cannot be found by a notify script for the instance", zap.Error(err))
			}
		})
	})
	// act keeps the addresses here for as long as a permit lasts.
	act := func(ctx context.Context, permit *guard.Permit) error {
		set := &refresher.Set{
			Loop:    func(ip vrrp.FloatingIP) *refresher.Loop { return h.loop(name, ip, permit, log) },
			Changed: func(r []refresher.Report) { h.report(name, r) },
		}
		defer set.Wait()
		// What has gone from the host without an event is not claimed.
		present := func() []vrrp.FloatingIP { return wanted }
		var gone <-chan struct{}
		if h.presence != nil {
			watch := h.presence.Watch(name)
			defer func() {
				if errors.Is(context.Cause(ctx), errReloaded) {
					watch.Retain()
				}
				watch.Close()
			}()
			present = func() []vrrp.FloatingIP { return watch.Present(wanted) }
			gone = watch.Changed()
		}
		keep := func() {
			list := present()
			set.Want(ctx, list)
			h.suspended(name, wanted, list)
		}
		keep()
		enter()
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-verify:
				set.VerifyNow()
			case <-changed:
				changed = h.book.Watch()
				list, err := h.book.Addresses(name)
				if err != nil {
					log.Warn("keeping the addresses as they were", zap.Error(err))
					continue
				}
				wanted = list
				keep()
			case <-gone:
				keep()
			}
		}
	}
	if h.fence != nil {
		enter() // it may take its time to open
		return h.fence.whileOpen(ctx, name, permit, act)
	}
	return act(ctx, permit)
}

// acquire locks an instance on this host and puts this process on record, or
// returns an error that matches notify.ErrSuperseded. Where no lock file can be
// had, the process of the former state is found by its socket alone.
func (h *holder) acquire(ctx context.Context, name string, log *zap.Logger) (*guard.Permit, error) {
	path, former := h.cfg.LockFile(name), h.cfg.FormerLockFile(name)
	lock := &guard.FileLock{
		Path: path, OwnDirectory: h.cfg.OwnLockDirectory, Former: former, Timeout: h.cfg.LockTimeout,
		Busy: func(ctx context.Context, path string) error {
			return notify.Supersede(ctx, path, h.self, journal.New(log))
		},
		Unusable: func(file string, err error) {
			switch {
			case file == path:
				log.Error("cannot lock the instance; acting without the lock", zap.Error(err))
			case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.EROFS):
				// An earlier version cannot have it either.
			default:
				log.Warn("cannot take the lock that earlier versions of berth have; one of them must not run beside this one", zap.Error(err))
			}
		},
	}
	permit, err := lock.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if !h.self.Service || len(permit.Files()) == 0 { // else a service goes on record beside its first claim, see hold
		if err := h.record(ctx, name, permit, log); err != nil {
			return nil, errors.Join(err, permit.Release(err))
		}
	}
	if h.entered != nil {
		h.entered(name)
	}
	return permit, nil
}

// record makes this process be found by whoever comes after it, and returns an
// error that matches notify.ErrSuperseded if its event is not the newest.
func (h *holder) record(ctx context.Context, name string, permit *guard.Permit, log *zap.Logger) error {
	path := h.cfg.LockFile(name)
	if h.occupy != nil {
		ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.LockTimeout,
			fmt.Errorf("the process of the former state did not end within the lock timeout of %v", h.cfg.LockTimeout))
		defer cancel()
		socket, err := h.occupy(ctx, path, h.self, journal.New(log))
		if err != nil {
			return err
		}
		permit.Also(socket.Close)
	}
	records := permit.Files()
	if !slices.Contains(records, path) {
		records = append(records, path) // what can be read of it counts all the same
	}
	return notify.Enter(h.self, journal.New(log), records...)
}

func (h *holder) loop(name string, ip vrrp.FloatingIP, permit *guard.Permit, log *zap.Logger) *refresher.Loop {
	check := permit.Check
	if h.newest != nil {
		check = func(ctx context.Context) error {
			if err := h.newest(ctx, name); err != nil {
				return err
			}
			return permit.Check(ctx) // last: nothing may come between it and the write
		}
	}
	return &refresher.Loop{
		Target:   h.cloud.target(ip, check),
		Policy:   h.cloud.policy,
		Pace:     h.pace,
		Gate:     h.cloud.gate,
		Unproven: h.cloud.account == nil,
		Series:   h.meters.refresher.Series(name, ip.String()),
		Journal:  journal.New(log).With(zap.String("address", ip.String()), zap.String("provider", h.cfg.Provider)),
	}
}

func policy(c *config.Config) refresher.Policy {
	return refresher.Policy{
		Interval:        c.RefreshInterval,
		Timeout:         c.RefreshTimeout,
		InitialInterval: c.BackOff.InitialInterval,
		Multiplier:      c.BackOff.Multiplier,
		MaxInterval:     c.BackOff.MaxInterval,
		MaxElapsedTime:  c.BackOff.MaxElapsedTime,
	}
}

// until runs op until it succeeds or ctx ends; a host that is MASTER does not
// give up.
func (h *holder) until(ctx context.Context, name string, log *zap.Logger, message string, op func() error) error {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(h.cfg.BackOff.InitialInterval),
		backoff.WithMultiplier(h.cfg.BackOff.Multiplier),
		backoff.WithMaxInterval(h.cfg.BackOff.MaxInterval),
		backoff.WithMaxElapsedTime(0),
	)
	failed := ""
	err := backoff.RetryNotify(func() error {
		err := op()
		if err != nil && h.impatient && !errors.Is(err, reading.ErrDoubtful) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(b, ctx), func(err error, wait time.Duration) {
		if failed != err.Error() {
			failed = err.Error()
			log.Error(message, zap.Error(err), zap.Duration("wait", wait))
			h.status.Blocked(name, failed)
		}
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed != "" {
		h.status.Blocked(name, "")
	}
	return err
}

// suspended puts the addresses that are wanted and not kept into the status.
func (h *holder) suspended(name string, wanted, kept []vrrp.FloatingIP) {
	var gone []string
	for _, ip := range wanted {
		if !slices.Contains(kept, ip) {
			gone = append(gone, ip.String())
		}
	}
	h.status.Suspended(name, gone)
}

func (h *holder) report(name string, reports []refresher.Report) {
	var list []status.Address
	for _, r := range reports {
		list = append(list, status.Address{
			Address: r.Address, Owner: r.Owner, Since: r.Since, LastCall: r.LastCall,
			LastError: r.LastError, Claims: r.Claims, Thefts: r.Thefts, Contested: r.Contested,
		})
	}
	h.status.Addresses(name, list)
}

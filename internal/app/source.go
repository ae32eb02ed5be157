package app

import (
	"context"

	"berth/config"
	"berth/internal/reload"
	"berth/internal/run"
	"berth/internal/systemd"
	"berth/internal/upgrade"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// source is where the configuration of a mode comes from, at the start and when it is read
// again.
type source struct {
	load  func() (*config.Config, error)
	check []string // arguments with which a program of berth checks the same configuration
	// hangup has each SIGHUP from the first reading on until the process has ended what it
	// does: none of them ends berth.
	hangup run.Signals
}

// from does the work of a mode with the configuration of a source, and executes berth anew
// when work reports that it is to begin anew.
func (o *Options) from(ctx context.Context, s source, work func(ctx context.Context, s source, cfg *config.Config, stop func(error), m *meters) (again bool, err error)) error {
	s.hangup = run.Catch(unix.SIGHUP)
	defer s.hangup.Release()
	m := o.count()
	cfg, err := s.load()
	if err != nil {
		return err
	}
	o.Logs.File(cfg.LogFile)
	own, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	again, err := work(own, s, cfg, stop, m)
	if err != nil || !again || ctx.Err() != nil { // told to end while it was about to begin anew
		return err
	}
	return o.Again()
}

// onHangup returns the task that ends everything on SIGHUP, to begin anew. A file that
// cannot be used, or with which no successor could take over, changes nothing.
func (o *Options) onHangup(s source, replaceable func(next *config.Config) error, host *systemd.Notifier, stop func(error)) run.Task {
	return s.hangup.Task("reload", func(context.Context) {
		next, err := s.load()
		if err == nil {
			err = o.buildable(next)
		}
		if err == nil {
			err = replaceable(next)
		}
		if err != nil {
			o.Journal().Tell(reload.Refused, zap.Error(err))
			return
		}
		host.Reloading()
		stop(upgrade.ErrAnew)
	})
}

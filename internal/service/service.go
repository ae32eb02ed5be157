package service

import (
	"context"
	"sync/atomic"

	"berth/guard"
	"berth/instance"
	"berth/internal/journal"
	"berth/internal/reload"
	"berth/internal/run"
	"berth/vrrp"
)

// Source tells what becomes of instances.
type Source interface {
	// Name stands before the error of the source, such as "fifo".
	Name() string
	// Run reads events until ctx ends, and returns the cause, or why the source cannot go
	// on. All events of one moment are handed to emit as one burst, oldest first; emit
	// does not block, and calls do not overlap.
	Run(ctx context.Context, emit func(burst []vrrp.Event)) error
	// CatchUp returns after every event that waited when it was called was handed to
	// emit, or when ctx ends. It is called before each write to the outside, by several
	// goroutines at once, and returns at once where no event waits.
	CatchUp(ctx context.Context)
}

// Service acts on the events of a source.
type Service struct {
	source Source
	table  *instance.Table
	hold   atomic.Pointer[instance.Hold]
}

// New returns a service, which acts while its tasks run. changed is called after every
// event with what is known of the instance; calls for one instance do not overlap, and
// it must not block.
func New(source Source, changed func(instance.Status), j *journal.Journal) *Service {
	s := &Service{source: source}
	s.table = instance.NewTable(func(ctx context.Context, name string, verify <-chan struct{}) error {
		return (*s.hold.Load())(ctx, name, verify)
	}, changed, j)
	return s
}

// Table returns the machines. A caller supposes there a state that no event told, and
// ends there holdings whose source has died.
func (s *Service) Table() *instance.Table { return s.table }

// LastWord returns the guard of this service that has the events that wait taken before
// each write. It belongs in the chain of every holding of the service, as the last.
func (s *Service) LastWord() guard.Guard {
	return &guard.LastWord{CatchUp: s.source.CatchUp, IsMaster: s.table.IsMaster}
}

// Hold makes hold be what machines run that become MASTER from now on. It is called
// before the tasks run, and again at any time; holdings that run are not changed, see
// Restart.
func (s *Service) Hold(hold instance.Hold) { s.hold.Store(&hold) }

// Restart ends all holdings with the cause reload.ErrReloaded and begins them anew, by
// what Hold was called with last. It does not wait.
func (s *Service) Restart() { s.table.Restart(reload.ErrReloaded) }

// Tasks returns the parts that are to run together: the machines and the source.
func (s *Service) Tasks() []run.Task {
	return []run.Task{
		{Name: "instances", Run: s.table.Run},
		{Name: s.source.Name(), Run: func(ctx context.Context) error { return s.source.Run(ctx, s.table.Deliver) }, Ready: s.source.CatchUp},
	}
}

// Around returns the source that hands each burst of s to f, which calls deliver once.
// f must not block.
func Around(s Source, f func(burst []vrrp.Event, deliver func())) Source { return around{s, f} }

type around struct {
	Source
	f func(burst []vrrp.Event, deliver func())
}

func (a around) Run(ctx context.Context, emit func([]vrrp.Event)) error {
	return a.Source.Run(ctx, func(burst []vrrp.Event) { a.f(burst, func() { emit(burst) }) })
}

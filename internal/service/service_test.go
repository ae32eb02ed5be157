package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
	"berth/instance"
	"berth/internal/reload"
	"berth/internal/run"
	"berth/internal/service"
	"berth/vrrp"
)

// heartbeat is a source that a test plays: what is sent waits until it is read.
type heartbeat struct {
	bursts chan []vrrp.Event
	broken chan error
	turn   chan chan struct{}
}

func newHeartbeat() *heartbeat {
	return &heartbeat{bursts: make(chan []vrrp.Event, 100), broken: make(chan error, 1), turn: make(chan chan struct{})}
}

func (h *heartbeat) Name() string { return "heartbeat" }

func (h *heartbeat) Run(ctx context.Context, emit func([]vrrp.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-h.broken:
			return err
		case burst := <-h.bursts:
			emit(burst)
		case caught := <-h.turn:
			for len(h.bursts) > 0 {
				emit(<-h.bursts)
			}
			close(caught)
		}
	}
}

func (h *heartbeat) CatchUp(ctx context.Context) {
	caught := make(chan struct{})
	select {
	case h.turn <- caught:
		<-caught
	case <-ctx.Done():
	}
}

func (h *heartbeat) send(states ...vrrp.State) {
	var burst []vrrp.Event
	for _, s := range states {
		burst = append(burst, vrrp.Event{Source: "test", Instance: "VI_1", State: s, Received: time.Now()})
	}
	h.bursts <- burst
}

// play runs a service whose holdings write down what happens, and end a while after they
// are told to.
type play struct {
	*service.Service
	source *heartbeat
	slow   time.Duration
	ctx    context.Context
	end    func(error)
	ended  chan error

	mu      sync.Mutex
	story   []string
	permits []*guard.Permit
}

func (p *play) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.story = append(p.story, fmt.Sprintf(format, args...))
}

func (p *play) tell() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.story
	p.story = nil
	return s
}

func (p *play) hold(configuration string) instance.Hold {
	return func(ctx context.Context, name string, _ <-chan struct{}) error {
		return p.LastWord().While(ctx, name, func(ctx context.Context, permit *guard.Permit) error {
			p.mu.Lock()
			p.permits = append(p.permits, permit)
			p.mu.Unlock()
			p.add("%s: hold %s", configuration, name)
			<-ctx.Done()
			time.Sleep(p.slow)
			p.add("%s: end: %v", configuration, context.Cause(ctx))
			return context.Cause(ctx)
		})
	}
}

var errOver = errors.New("test is over")

func start(t *testing.T, slow time.Duration) *play {
	p := &play{source: newHeartbeat(), slow: slow, ended: make(chan error, 1)}
	p.Service = service.New(p.source, nil, nil)
	p.Hold(p.hold("first"))
	p.ctx, p.end = context.WithCancelCause(t.Context())
	go func() { p.ended <- run.Together(p.ctx, p.Tasks()...) }()
	return p
}

func (p *play) stop(t *testing.T) {
	t.Helper()
	p.end(errOver)
	if err := <-p.ended; err != errOver {
		t.Errorf("got %v, want the cause", err)
	}
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("got\n%q\nwant\n%q", got, lines)
	}
}

func TestOfABurstTheNewestStateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, 0)
		p.source.send(vrrp.Master, vrrp.Backup)
		want(t, p.tell())
		p.source.send(vrrp.Backup, vrrp.Master)
		want(t, p.tell(), "first: hold VI_1")
		p.source.send(vrrp.Backup, vrrp.Master)
		want(t, p.tell())
		p.stop(t)
		want(t, p.tell(), "first: end: test is over")
	})
}

func TestAMASTERWhileTheFormerHoldingEndsIsHeldAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, 3*time.Second)
		p.source.send(vrrp.Master)
		want(t, p.tell(), "first: hold VI_1")
		p.source.send(vrrp.Backup)
		time.Sleep(time.Second)
		p.source.send(vrrp.Master)
		want(t, p.tell())
		time.Sleep(2*time.Second + time.Millisecond)
		want(t, p.tell(), "first: end: no longer MASTER: BACKUP reported", "first: hold VI_1")
		p.stop(t)
	})
}

// The event has arrived and is not read yet when the write is due.
func TestAnEventThatWaitsForbidsTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, 0)
		p.source.send(vrrp.Master)
		synctest.Wait()
		if err := p.permits[0].Check(t.Context()); err != nil {
			t.Errorf("got %v while no event waits", err)
		}
		p.source.send(vrrp.Backup)
		write, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.permits[0].Check(write); err == nil {
			t.Error("the write is permitted")
		}
		p.stop(t)
	})
}

func TestAReloadBeginsAnewByTheHoldingInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, time.Second)
		p.source.send(vrrp.Master)
		want(t, p.tell(), "first: hold VI_1")
		p.Hold(p.hold("second"))
		want(t, p.tell())
		p.Restart()
		time.Sleep(2 * time.Second)
		want(t, p.tell(), "first: end: "+reload.ErrReloaded.Error(), "second: hold VI_1")
		p.Restart() // at the same time as a demotion: it does not begin anew
		p.source.send(vrrp.Backup)
		time.Sleep(2 * time.Second)
		got := p.tell()
		if len(got) != 1 && !(len(got) == 3 && got[1] == "second: hold VI_1" && got[2] == "second: end: no longer MASTER: BACKUP reported") {
			t.Errorf("got %q", got)
		}
		p.stop(t)
	})
}

func TestASourceThatEndsEndsTheServiceAfterItsHoldings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, time.Minute)
		p.source.send(vrrp.Master)
		synctest.Wait()
		broken := errors.New("the peer speaks another language")
		begun := time.Now()
		p.source.broken <- broken
		err := <-p.ended
		if !errors.Is(err, broken) || err.Error() != "heartbeat: "+broken.Error() || time.Since(begun) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		want(t, p.tell(), "first: hold VI_1", "first: end: "+run.ErrOtherEnded.Error())
	})
}

func TestWhatIsAroundASourceSeesEachBurstAndKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHeartbeat()
		var story []string
		s := service.Around(source, func(burst []vrrp.Event, deliver func()) {
			story = append(story, fmt.Sprint("before ", burst[0].State))
			deliver()
			story = append(story, fmt.Sprint("after ", burst[0].State))
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, func(burst []vrrp.Event) { story = append(story, fmt.Sprint(burst[0].State)) })
		}()
		source.send(vrrp.Master)
		source.send(vrrp.Backup)
		s.CatchUp(ctx)
		want(t, story, "before MASTER", "MASTER", "after MASTER", "before BACKUP", "BACKUP", "after BACKUP")
		if s.Name() != "heartbeat" {
			t.Errorf("its name is %s", s.Name())
		}
		cancel(errOver)
		if err := <-done; err != errOver {
			t.Errorf("got %v", err)
		}
	})
}

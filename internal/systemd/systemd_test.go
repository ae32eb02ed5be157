package systemd_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/systemd"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// patience is more than a busy machine needs to deliver a datagram.
const patience = 20 * time.Second

// manager is the socket on which systemd listens for a service.
type manager struct {
	*net.UnixConn
	path string
}

// listen makes systemd's socket and points the service to it.
func listen(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	return manager{c, path}
}

// told returns the next message.
func (m manager) told(t *testing.T) string {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 1000)
	n, err := m.Read(text)
	if err != nil {
		t.Fatalf("want a message to systemd: %v", err)
	}
	return string(text[:n])
}

var errEnds = errors.New("test is over")

// serve runs a service; end ends it and returns with what Run returned.
func serve(t *testing.T, s systemd.Service) (end func(cause error) error) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = systemd.New(journal.New(nil)).Run(ctx, s) })
	end = func(cause error) error {
		cancel(cause)
		running.Wait()
		return err
	}
	t.Cleanup(func() { _ = end(errEnds) })
	return end
}

func TestReadyIsToldWhenTheServiceIsAndStoppingAtItsEnd(t *testing.T) {
	m := listen(t)
	ready := make(chan struct{})
	end := serve(t, systemd.Service{Ready: func(context.Context) { <-ready }})
	if err := m.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes were told before the service was ready", n)
	}
	close(ready)
	if got := m.told(t); got != "READY=1" {
		t.Errorf("got %q, want READY=1", got)
	}
	if err := end(errEnds); err != errEnds {
		t.Errorf("got %v, want the cause", err)
	}
	if got := m.told(t); got != "STOPPING=1" {
		t.Errorf("got %q, want STOPPING=1", got)
	}
}

func TestAServiceThatEndsBeforeItIsReadyIsNeverReady(t *testing.T) {
	m := listen(t)
	end := serve(t, systemd.Service{Ready: func(ctx context.Context) { <-ctx.Done() }})
	_ = end(errEnds)
	if got := m.told(t); got != "STOPPING=1" {
		t.Errorf("got %q, want STOPPING=1 alone", got)
	}
}

func TestAProcessThatExecutesItselfAnewDoesNotStop(t *testing.T) {
	m := listen(t)
	anew := errors.New("the configuration is read again")
	end := serve(t, systemd.Service{Ready: func(context.Context) {}, Stays: func(cause error) bool { return cause == anew }})
	m.told(t)
	_ = end(anew)
	systemd.New(journal.New(nil)).Ready() // the next message there is
	if got := m.told(t); got != "READY=1" {
		t.Errorf("got %q, want nothing about an end", got)
	}
}

func TestTheWatchdogIsToldOnlyWhileTheServiceIsAlive(t *testing.T) {
	m := listen(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	alive := make(chan struct{})
	serve(t, systemd.Service{Ready: func(context.Context) {}, Alive: func(ctx context.Context) {
		select {
		case alive <- struct{}{}:
		case <-ctx.Done():
		}
	}})
	m.told(t)
	for range 3 {
		<-alive
		if got := m.told(t); got != "WATCHDOG=1" {
			t.Errorf("got %q, want WATCHDOG=1", got)
		}
	}
	if err := m.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes were told by a service that hangs", n)
	}
}

func TestAReloadTellsWhenItBegan(t *testing.T) {
	m := listen(t)
	systemd.New(journal.New(nil)).Reloading()
	first, second, _ := strings.Cut(m.told(t), "\n")
	if first != "RELOADING=1" {
		t.Errorf("got %q, want RELOADING=1", first)
	}
	if us, err := strconv.ParseInt(strings.TrimPrefix(second, "MONOTONIC_USEC="), 10, 64); err != nil || us <= 0 {
		t.Errorf("got %q, want the time of the monotonic clock in microseconds", second)
	}
}

func TestASystemdThatIsGoneIsSaidOnceAndSoIsItsReturn(t *testing.T) {
	m := listen(t)
	core, logs := observer.New(zap.InfoLevel)
	n := systemd.New(journal.New(zap.New(core)))
	t.Setenv("NOTIFY_SOCKET", m.path+".gone")
	n.Ready()
	n.Ready()
	t.Setenv("NOTIFY_SOCKET", m.path)
	n.Ready()
	m.told(t)
	var said []string
	for _, l := range logs.All() {
		said = append(said, l.Message)
	}
	if got := strings.Join(said, "; "); got != "cannot notify systemd; systemd is notified again" {
		t.Errorf("got %q", got)
	}
}

func TestWithoutSystemdNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	core, logs := observer.New(zap.DebugLevel)
	systemd.New(journal.New(zap.New(core))).Ready()
	if logs.Len() != 0 {
		t.Errorf("got %v", logs.All())
	}
}

func TestAWatchdogThatCannotBeReadIsAWarningAndTheServiceGoesOn(t *testing.T) {
	m := listen(t)
	t.Setenv("WATCHDOG_USEC", "soon")
	core, logs := observer.New(zap.WarnLevel)
	ctx, cancel := context.WithCancelCause(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_ = systemd.New(journal.New(zap.New(core))).Run(ctx, systemd.Service{Ready: func(context.Context) {}})
	})
	m.told(t)
	cancel(errEnds)
	running.Wait()
	if m.told(t) != "STOPPING=1" || logs.Len() != 1 {
		t.Errorf("got %v, want one warning", logs.All())
	}
}

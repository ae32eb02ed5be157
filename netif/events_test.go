package netif

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// said returns a journal, and a function that returns what it has said since.
func said() (*journal.Journal, func() []string) {
	core, logs := observer.New(zap.InfoLevel)
	return journal.New(zap.New(core)), func() (list []string) {
		for _, l := range logs.TakeAll() {
			list = append(list, l.Message)
		}
		return list
	}
}

func TestFailuresAreToldOnceAndSoIsTheirEnd(t *testing.T) {
	refused := errors.New("no buffer space available")
	for _, tt := range []struct {
		name    string
		fail    func(*bubble, error)
		happen  func(*bubble)
		want    []string
		recover []string
	}{
		{"addresses that cannot be bound again",
			func(b *bubble, err error) { b.k.fail = err },
			func(b *bubble) { b.k.remove(v4, true) },
			[]string{unbound.Text}, []string{unbound.Over}},
		{"addresses that cannot be read",
			func(b *bubble, err error) { b.k.blind = err },
			func(b *bubble) { b.k.events <- event{kind: missed} },
			[]string{unobservable.Text}, []string{unobservable.Over}},
		{"a watch",
			func(b *bubble, err error) { b.k.watchErrs = []error{err, err, err} },
			func(b *bubble) { b.k.events <- event{err: refused} },
			[]string{unwatched.Text, unwatched.Over}, nil}, // it works again after three attempts
		{"packet sockets that cannot be bound to the interface",
			func(b *bubble, err error) { b.k.link.listenErr = err },
			func(b *bubble) { b.k.events <- event{kind: missed} },
			[]string{unattached.Text}, []string{unattached.Over}},
	} {
		j, lines := said()
		inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
			b.lease.set(time.Hour)
			bind(t, b.i, v4)
			b.until(time.Minute)
			wantEqual(t, nil, lines())
			b.k.alter(func() { tt.fail(b, refused); tt.happen(b) })
			for range 5 {
				time.Sleep(time.Second)
				b.i.Renewed()
			}
			synctest.Wait()
			wantEqual(t, tt.want, lines())
			b.k.alter(func() { tt.fail(b, nil) })
			b.i.Renewed()
			synctest.Wait()
			if got := lines(); tt.recover != nil {
				wantEqual(t, tt.recover, got)
			}
			wantEqual(t, v4.String(), b.has())
		})
	}
}

// The defences of an address are limited: between two of them the address is not bound
// again, and its failure has not ended.
func TestAFailureLastsWhileADefenceWaits(t *testing.T) {
	j, lines := said()
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Minute)
		b.k.alter(func() { b.k.fail = errors.New("no buffer space available"); b.k.remove(v4, false) })
		binding := func() (list []string) {
			synctest.Wait()
			for _, l := range lines() {
				if l == unbound.Text || l == unbound.Over {
					list = append(list, l)
				}
			}
			return list
		}
		for range 24 { // contested from the tenth second on
			time.Sleep(time.Second)
			b.i.Renewed()
		}
		wantEqual(t, []string{unbound.Text}, binding())
		wantEqual(t, "", b.has())
		b.k.alter(func() { b.k.fail = nil })
		time.Sleep(contestedGap)
		wantEqual(t, []string{unbound.Over}, binding())
		wantEqual(t, v4.String(), b.has())
	})
}

// A renewal that failed is not due again at once, and its failure has not ended.
func TestAFailureLastsUntilTheNextRenewal(t *testing.T) {
	j, lines := said()
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Minute)
		b.k.alter(func() { b.k.fail = errors.New("no buffer space available") })
		for range 3 {
			b.lease.set(time.Hour)
			b.i.Renewed()
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		wantEqual(t, []string{unbound.Text}, lines())
		b.k.alter(func() { b.k.fail = nil })
		b.i.Renewed()
		synctest.Wait()
		wantEqual(t, []string{unbound.Over}, lines())
	})
}

func TestARecordThatCannotBeWrittenIsToldOnceAndSoIsItsEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	j, lines := said()
	r := openRecord(filepath.Join(dir, "bound"), j)
	r.add(options(t).Managed)
	r.remove(options(t).Managed)
	wantEqual(t, []string{unrecorded.Text}, lines())
	must(t, os.Mkdir(dir, 0o700))
	r.add(options(t).Managed)
	r.add(options(t).Managed)
	wantEqual(t, []string{unrecorded.Over}, lines())
}

// failingSocket returns errors, and then frames until its deadline.
type failingSocket struct {
	errs  []error
	frame []byte
	ended chan struct{} // closed by a deadline in the past
}

func (s *failingSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return 0, nil, err
	}
	select {
	case <-s.ended:
		return 0, nil, os.ErrDeadlineExceeded
	case <-time.After(time.Second):
		return copy(b, s.frame), nil, nil
	}
}

func (s *failingSocket) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		close(s.ended)
	}
	return nil
}

func TestClaimsThatCannotBeReceivedAreToldOnceAndSoIsTheirEnd(t *testing.T) {
	j, lines := said()
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
		refused := errors.New("bad file descriptor")
		s := &failingSocket{errs: []error{unix.ENETDOWN, refused, refused}, frame: gratuitous(v4.Addr(), mac1)[0], ended: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		claims := 0
		go func() {
			defer close(done)
			receive(ctx, s, etherARP, parseARP, func(e event) {
				if e.kind == claimed {
					claims++
				}
				b.i.handle(e)
			})
		}()
		time.Sleep(receivePause + receivePause/2)
		wantEqual(t, []string{unreceived.Text}, lines()) // not that the interface was down
		time.Sleep(5 * time.Second)
		wantEqual(t, []string{unreceived.Over}, lines())
		cancel()
		<-done
		wantEqual(t, 4, claims)
	})
}

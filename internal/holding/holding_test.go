package holding_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errDemoted = errors.New("no longer MASTER")

// ip returns the floating IP 192.0.2.N.
func ip(n byte) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)}
}

// host is all that a holding needs, and a record of what happens.
type host struct {
	*holding.Holding
	logs *observer.ObservedLogs

	mu       sync.Mutex
	story    []string
	wanted   []vrrp.FloatingIP
	err      error // of Addresses
	changed  chan struct{}
	attempts int           // of all loops
	slow     time.Duration // how long an attempt takes, whatever becomes of its context
	locked   error         // why the lock cannot be had
}

func newHost(wanted ...vrrp.FloatingIP) *host {
	core, logs := observer.New(zapcore.InfoLevel)
	h := &host{logs: logs, wanted: wanted, changed: make(chan struct{})}
	h.Holding = &holding.Holding{
		Lock:  lock{h},
		Guard: guard.Chain(),
		Addresses: func(string) ([]vrrp.FloatingIP, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return slices.Clone(h.wanted), h.err
		},
		Changed: func() <-chan struct{} {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.changed
		},
		Loops: holding.Loops{
			New: func(instance string, ip vrrp.FloatingIP, check func(context.Context) error) *refresher.Loop {
				return &refresher.Loop{Target: &target{h, instance + " " + ip.String(), check}, Policy: policy}
			},
			Report: func(string, []refresher.Report) {},
		},
		Retry:   policy,
		Status:  status{h},
		Journal: journal.New(zap.New(core)),
	}
	return h
}

var policy = refresher.Policy{Interval: time.Minute, Timeout: 10 * time.Second, InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}

func (h *host) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.story = append(h.story, fmt.Sprintf(format, args...))
}

// tell returns what happened since it was called last.
func (h *host) tell() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.story
	h.story = nil
	return s
}

// configure makes other addresses, or an error, be what can be told.
func (h *host) configure(err error, wanted ...vrrp.FloatingIP) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wanted, h.err = wanted, err
	close(h.changed)
	h.changed = make(chan struct{})
}

// hold runs the holding of VI_1 until the returned function is called.
func (h *host) hold(t *testing.T, verify <-chan struct{}) (end func(cause error) error) {
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, "VI_1", verify) }()
	return func(cause error) error {
		cancel(cause)
		return <-done
	}
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("got\n%q\nwant\n%q", got, lines)
	}
}

// lock is the guard of a lock file.
type lock struct{ *host }

func (l lock) While(ctx context.Context, instance string, act guard.Act) error {
	l.mu.Lock()
	err := l.locked
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.add("lock")
	defer l.add("unlock")
	return act(ctx, guard.NewPermit(ctx))
}

// lease is a guard that gives permission after a minute, for a minute, again and again.
type lease struct{ *host }

var errLost = errors.New("the lease is lost")

func (l lease) While(ctx context.Context, _ string, act guard.Act) error {
	for {
		l.add("campaign")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
		}
		owned, end := context.WithCancelCause(ctx)
		time.AfterFunc(time.Minute, func() { end(errLost) })
		err := act(owned, guard.NewPermit(owned))
		end(nil)
		l.add("give up: %v", err)
		if ctx.Err() != nil {
			return err
		}
	}
}

// target claims its address at the first attempt and finds it here afterwards.
type target struct {
	h     *host
	name  string
	check func(context.Context) error
}

func (t *target) Ensure(ctx context.Context, claimFirst bool) (string, bool, error) {
	t.h.mu.Lock()
	t.h.attempts++
	slow := t.h.slow
	t.h.mu.Unlock()
	if err := t.check(ctx); err != nil {
		return "", false, err
	}
	if claimFirst {
		t.h.add("claim %s", t.name)
	}
	time.Sleep(slow)
	return "", claimFirst, ctx.Err()
}

func (t *target) Close() { t.h.add("let go %s", t.name) }

// status writes down what it takes.
type status struct{ *host }

func (s status) Blocked(instance, reason string) { s.add("%s is blocked: %s", instance, reason) }
func (s status) Suspended(instance string, a []string) {
	s.add("%s has suspended: %s", instance, strings.Join(a, " "))
}

func TestAddressesComeAndGoWithoutDisturbingTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1), ip(2))
		end := h.hold(t, nil)
		got := h.tell()
		slices.Sort(got[1:])
		want(t, got, "lock", "claim VI_1 192.0.2.1/24", "claim VI_1 192.0.2.2/24")
		h.configure(nil, ip(2), ip(3))
		got = h.tell()
		slices.Sort(got)
		want(t, got, "claim VI_1 192.0.2.3/24", "let go VI_1 192.0.2.1/24")
		h.configure(nil)
		got = h.tell()
		slices.Sort(got)
		want(t, got, "let go VI_1 192.0.2.2/24", "let go VI_1 192.0.2.3/24")
		h.configure(nil, ip(1))
		want(t, h.tell(), "claim VI_1 192.0.2.1/24")
		if err := end(errDemoted); err != errDemoted {
			t.Errorf("got %v, want the cause", err)
		}
		want(t, h.tell(), "let go VI_1 192.0.2.1/24", "unlock")
		if h.logs.Len() != 0 {
			t.Errorf("told %v, want nothing of addresses that come and go", h.logs.All())
		}
	})
}

func TestAddressesThatCannotBeToldStayAsTheyWereAndThatIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		end := h.hold(t, nil)
		want(t, h.tell(), "lock", "claim VI_1 192.0.2.1/24")
		unreadable := errors.New("keepalived.conf: no such file")
		for range 3 {
			h.configure(unreadable)
			want(t, h.tell())
		}
		if said := h.logs.FilterMessage("keeping the addresses as they were").FilterField(zap.String("instance", "VI_1")).FilterLevelExact(zap.WarnLevel); said.Len() != 1 {
			t.Errorf("told %d times, want once", said.Len())
		}
		h.configure(nil, ip(1), ip(2))
		want(t, h.tell(), "claim VI_1 192.0.2.2/24")
		end(errDemoted)
	})
}

func TestTheLockAndTheAddressesAreTriedUntilTheyAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		h.locked, h.err = errors.New("held by berth --fifo"), errors.New("not in the configuration")
		open := map[string]string{} // conditions that hold
		core, logs := observer.New(zapcore.InfoLevel)
		h.logs = logs
		h.Journal = journal.New(zap.New(core), func(e journal.Event) {
			if open[e.ID] = e.Code; e.Over {
				delete(open, e.ID)
			}
		})
		end := h.hold(t, nil)
		time.Sleep(time.Minute)
		got := h.tell()
		if len(got) < 6 || slices.ContainsFunc(got, func(s string) bool { return s != "VI_1 is blocked: held by berth --fifo" }) {
			t.Errorf("after a minute: %q", got)
		}
		h.mu.Lock()
		h.locked = nil
		h.mu.Unlock()
		time.Sleep(time.Minute)
		got = h.tell()
		i := slices.Index(got, "lock")
		if i < 0 || i+1 >= len(got) || got[i+1] != "VI_1 is blocked: " || got[len(got)-1] != "VI_1 is blocked: not in the configuration" || slices.Contains(got, "unlock") {
			t.Errorf("a minute after it was unlocked: %q", got)
		}
		h.configure(nil, ip(1))
		time.Sleep(16 * time.Second) // an interval of ten seconds, and half of it as jitter
		got = h.tell()
		want(t, got[len(got)-2:], "VI_1 is blocked: ", "claim VI_1 192.0.2.1/24")
		if len(open) != 0 {
			t.Errorf("after the claim these hold: %v", open)
		}
		for _, m := range []string{"cannot lock the instance yet; trying again", "cannot tell the addresses of the instance yet; trying again"} {
			if n := h.logs.FilterMessage(m).FilterField(zap.String("instance", "VI_1")).Len(); n != 1 {
				t.Errorf("%q was told %d times, want once", m, n)
			}
		}
		end(errDemoted)
	})
}

func TestAHoldingThatIsEndedWhileItTriesGivesUpAtOnce(t *testing.T) {
	for _, stage := range []string{"lock", "addresses"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(ip(1))
			if stage == "lock" {
				h.locked = errors.New("busy")
			} else {
				h.err = errors.New("not in the configuration")
			}
			end := h.hold(t, nil)
			time.Sleep(time.Minute)
			begun := time.Now()
			if err := end(errDemoted); err != errDemoted || time.Since(begun) != 0 {
				t.Errorf("%s: got %v after %v", stage, err, time.Since(begun))
			}
			got := h.tell()
			if stage == "addresses" {
				want(t, got[len(got)-1:], "unlock")
			}
		})
	}
}

func TestTheImpatientReturnsWhatOnlyAPersonCanMend(t *testing.T) {
	superseded, unknown, unfinished := errors.New("superseded"), errors.New("not in the configuration"), errors.New("unfinished")
	refused := errors.New("refused")
	for _, row := range []struct {
		name                 string
		locked, err, refused error
		want                 error
	}{
		{"superseded", superseded, nil, nil, superseded},
		{"unknown instance", nil, unknown, nil, unknown},
		{"a file that is being written", nil, unfinished, nil, errDemoted},
		{"a guard", nil, nil, refused, refused},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(ip(1))
			h.Impatient, h.Passing = true, func(err error) bool { return err == unfinished }
			h.locked, h.err = row.locked, row.err
			if row.refused != nil {
				h.Guard = turns{h, &[]error{row.refused}}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Hour, func() { cancel(errDemoted) })
			if err := h.Run(ctx, "VI_1", nil); err != row.want {
				t.Errorf("%s: got %v, want %v", row.name, err, row.want)
			}
			cancel(nil)
		})
	}
}

// The guards between the lock and the loops are not asked before the addresses are known,
// and the loops begin anew with the permission, by the newest addresses.
func TestLoopsRunWhileThePermissionLastsAndBeginAgainWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		h.err = errors.New("not in the configuration")
		h.Guard = lease{h}
		end := h.hold(t, nil)
		want(t, h.tell(), "lock", "VI_1 is blocked: not in the configuration")
		h.configure(nil, ip(1))
		time.Sleep(3 * time.Second)
		got := h.tell()
		want(t, got[len(got)-2:], "VI_1 is blocked: ", "campaign")
		time.Sleep(time.Minute)
		want(t, h.tell(), "claim VI_1 192.0.2.1/24")
		time.Sleep(time.Minute)
		want(t, h.tell(), "let go VI_1 192.0.2.1/24", "give up: the lease is lost", "campaign")
		h.configure(nil, ip(2))
		want(t, h.tell())
		time.Sleep(time.Minute)
		want(t, h.tell(), "claim VI_1 192.0.2.2/24")
		if err := end(errDemoted); err != errDemoted {
			t.Errorf("got %v", err)
		}
		want(t, h.tell(), "let go VI_1 192.0.2.2/24", "give up: no longer MASTER", "unlock")
	})
}

func TestTheLockIsGivenUpAfterTheAttemptOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		h.slow = 3 * time.Second
		end := h.hold(t, nil)
		time.Sleep(time.Second)
		begun := time.Now()
		end(errDemoted)
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("ended after %v, want the end of the attempt", d)
		}
		want(t, h.tell(), "lock", "claim VI_1 192.0.2.1/24", "let go VI_1 192.0.2.1/24", "unlock")
		before := h.attempts
		time.Sleep(time.Hour)
		if h.attempts != before {
			t.Errorf("%d attempts after the end", h.attempts-before)
		}
	})
}

func TestVerifyHasTheLoopsLookAtTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		verify := make(chan struct{}, 1)
		end := h.hold(t, verify)
		time.Sleep(30 * time.Second) // after those that follow a claim
		h.mu.Lock()
		before := h.attempts
		h.mu.Unlock()
		verify <- struct{}{}
		time.Sleep(time.Second)
		h.mu.Lock()
		if h.attempts != before+1 {
			t.Errorf("%d attempts, want 1", h.attempts-before)
		}
		h.mu.Unlock()
		end(errDemoted)
	})
}

func TestAnInstanceWithoutAddressesIsHeldAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		end := h.hold(t, nil)
		synctest.Wait()
		if n := h.logs.FilterMessage("the instance has no addresses; nothing to move").Len(); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		end(errDemoted)
		want(t, h.tell(), "lock", "unlock")
	})
}

// reached is closed when the guards before it have given permission.
type reached chan struct{}

func (r reached) While(ctx context.Context, _ string, act guard.Act) error {
	close(r)
	return act(ctx, guard.NewPermit(ctx))
}

// The first claims of a burst do not wait for each other's events to be told.
func TestNothingBeforeTheFirstClaimWaitsForTheJournal(t *testing.T) {
	telling, goOn := make(chan struct{}), make(chan struct{})
	j := journal.New(nil, func(journal.Event) {
		close(telling)
		<-goOn
	})
	var others sync.WaitGroup
	others.Go(func() { j.Tell(holding.Events[0]) })
	<-telling
	h := newHost(ip(1))
	guards := make(reached)
	h.Journal, h.Guard = j, guards
	end := h.hold(t, nil)
	select {
	case <-guards:
	case <-time.After(10 * time.Second):
		t.Error("the guards wait for the journal")
	}
	close(goOn)
	others.Wait()
	end(errDemoted)
}

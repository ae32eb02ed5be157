package owner_test

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

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var (
	errDemoted = errors.New("demoted")
	errPlugged = errors.New("operation not permitted")
)

// stage is where a test has an owner act: what was done, in order.
type stage struct {
	mu   sync.Mutex
	done []string
}

func (s *stage) did(what string, values ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, fmt.Sprintf(what, values...))
}

// take returns what was done since the last call.
func (s *stage) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := strings.Join(s.done, "\n")
	s.done = nil
	return done
}

// iface is an interface; its fields say how it behaves.
type iface struct {
	*stage
	condition.Value
	binding  time.Duration // how long it takes
	refuses  error         // to bind
	leaves   error         // why Bind could not remove the addresses
	failures int           // of Sweep
}

func (i *iface) Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	if i.refuses != nil {
		return i.refuses
	}
	time.Sleep(i.binding)
	i.did("bind %v", addrs)
	i.Announce()
	if ctx.Err() == nil {
		bound()
	}
	<-ctx.Done()
	if i.leaves != nil {
		return errors.Join(context.Cause(ctx), i.leaves)
	}
	i.did("unbind %v", addrs)
	return context.Cause(ctx)
}

func (i *iface) Sweep(wanted func(netip.Prefix) bool) error {
	for _, p := range prefixes {
		if !wanted(p) {
			i.did("sweep %v", p)
		}
	}
	if i.failures--; i.failures >= 0 {
		return errPlugged
	}
	return nil
}

func (i *iface) Announce() { i.did("announce") }

// target is a floating IP at a provider.
type target struct {
	*stage
	ip    vrrp.FloatingIP
	check func(context.Context) error
}

func (t *target) Ensure(ctx context.Context, _ bool) (string, bool, error) {
	if err := t.check(ctx); err != nil {
		return "", false, err
	}
	t.did("point %v", t.ip)
	return "", true, nil
}

// Close takes its time, as a call that is under way does.
func (t *target) Close() {
	time.Sleep(time.Second)
	t.did("stop pointing %v", t.ip)
}

// pointed makes loops to targets on a stage.
func (s *stage) pointed(ip vrrp.FloatingIP, check func(context.Context) error, _ *journal.Journal) *refresher.Loop {
	return &refresher.Loop{Target: &target{s, ip, check}, Policy: refresher.Policy{
		Interval: time.Hour, Timeout: time.Second, InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Minute}}
}

// grant is a permission that lasts until a moment.
type grant struct{ until time.Time }

func (g grant) End() time.Time { return g.until }

func (g grant) Check() error {
	if !time.Now().Before(g.until) {
		return errors.New("the lease has ended")
	}
	return nil
}

// Addresses of two families, and one that no provider moves.
var (
	prefixes  = []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8::7/128")}
	addresses = []vrrp.FloatingIP{floatingIP("203.0.113.7/32"), floatingIP("2001:db8::7/128")}
)

func floatingIP(prefix string) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(prefix)}
}

// reports is what was last reported, "ADDRESS OWNER" for each.
type reports struct {
	mu   sync.Mutex
	last []string
}

func (r *reports) take(list []refresher.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = nil
	for _, x := range list {
		r.last = append(r.last, x.Address+" "+x.Owner)
	}
	slices.Sort(r.last)
}

func (r *reports) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.last, ", ")
}

// start has an owner act until end is called, which returns what Run returned.
func start(t *testing.T, o *owner.Owner, g owner.Grant) (end func() error) {
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx, 7, g) }()
	return func() error { cancel(errDemoted); return <-done }
}

func TestAnOwnerBindsAnnouncesAndThenPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := &stage{}, &reports{}
		i := &iface{stage: s, binding: time.Second}
		end := start(t, owner.New(owner.Options{Instance: "api", Addresses: addresses[:1], Interface: i, Loop: s.pointed, Report: r.take}),
			grant{time.Now().Add(time.Minute)})
		time.Sleep(time.Second - time.Nanosecond)
		if got := s.take(); got != "" {
			t.Errorf("want nothing pointed before the addresses are bound, got %s", got)
		}
		time.Sleep(time.Second)
		if want, got := "bind [203.0.113.7/32]\nannounce\npoint 203.0.113.7/32", s.take(); got != want {
			t.Errorf("want\n%s\ngot\n%s", want, got)
		}
		if want, got := "203.0.113.7/32 here", r.text(); got != want {
			t.Errorf("want the report %q, got %q", want, got)
		}
		if err := end(); !errors.Is(err, errDemoted) {
			t.Errorf("want the cause, got %v", err)
		}
		done := strings.Split(s.take(), "\n")
		slices.Sort(done)
		if want := []string{"stop pointing 203.0.113.7/32", "unbind [203.0.113.7/32]"}; !slices.Equal(done, want) {
			t.Errorf("want all ended when Run returns, %v, got %v", want, done)
		}
	})
}

func TestTheAddressesOfBothFamiliesAreBoundAtOnceAndPointedEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := &stage{}, &reports{}
		end := start(t, owner.New(owner.Options{Instance: "api", Addresses: addresses, Interface: &iface{stage: s}, Loop: s.pointed, Report: r.take}),
			grant{time.Now().Add(time.Minute)})
		synctest.Wait()
		done := strings.Split(s.take(), "\n")
		if want := "bind [203.0.113.7/32 2001:db8::7/128]"; done[0] != want {
			t.Errorf("want %q first, got %q", want, done)
		}
		for _, want := range []string{"point 203.0.113.7/32", "point 2001:db8::7/128"} {
			if !slices.Contains(done, want) {
				t.Errorf("want %q, got %q", want, done)
			}
		}
		if want, got := "2001:db8::7/128 here, 203.0.113.7/32 here", r.text(); got != want {
			t.Errorf("want the report %q, got %q", want, got)
		}
		_ = end()
	})
}

func TestAnInstanceWithoutAnInterfaceIsPointedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		end := start(t, owner.New(owner.Options{Instance: "api", Addresses: addresses[:1], Loop: s.pointed, Report: func([]refresher.Report) {}}),
			grant{time.Now().Add(time.Minute)})
		synctest.Wait()
		if want, got := "point 203.0.113.7/32", s.take(); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
		if err := end(); !errors.Is(err, errDemoted) {
			t.Errorf("want the cause, got %v", err)
		}
	})
}

func TestAddressesThatNoProviderMovesAreReportedWhenTheyAreBound(t *testing.T) {
	local := floatingIP("fe80::7/64")
	for name, tt := range map[string]struct {
		provider bool
		want     string
	}{
		"without a provider":                   {false, "203.0.113.7/32 here, fe80::7/64 here"},
		"beside a floating IP at the provider": {true, "203.0.113.7/32 here, fe80::7/64 here"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := &stage{}, &reports{}
				o := owner.Options{Instance: "api", Addresses: []vrrp.FloatingIP{addresses[0], local}, Interface: &iface{stage: s, binding: time.Second}, Report: r.take}
				if tt.provider {
					o.Loop = s.pointed
				}
				end := start(t, owner.New(o), grant{time.Now().Add(time.Minute)})
				synctest.Wait()
				if got := r.text(); got != "" {
					t.Errorf("want no report before the addresses are bound, got %q", got)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := r.text(); got != tt.want {
					t.Errorf("want the report %q, got %q", tt.want, got)
				}
				if got := s.take(); strings.Contains(got, "point fe80") {
					t.Errorf("want a link-local address not pointed, got %q", got)
				}
				_ = end()
			})
		})
	}
}

func TestNothingIsPointedWhenTheAddressesCannotBeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		i := &iface{stage: s, refuses: errors.New("no such device")}
		o := owner.New(owner.Options{Instance: "api", Addresses: addresses, Interface: i, Loop: s.pointed, Report: func([]refresher.Report) {}})
		err := o.Run(t.Context(), 7, grant{time.Now().Add(time.Minute)})
		if !errors.Is(err, i.refuses) {
			t.Errorf("want the refusal, got %v", err)
		}
		if got := s.take(); strings.Contains(got, "point") {
			t.Errorf("want nothing pointed, got %q", got)
		}
	})
}

func TestWithoutPermissionNothingIsPointed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		end := start(t, owner.New(owner.Options{Instance: "api", Addresses: addresses[:1], Loop: s.pointed, Report: func([]refresher.Report) {}}),
			grant{time.Now()})
		time.Sleep(time.Hour)
		_ = end()
		if n := strings.Count(s.take(), "point 203.0.113.7/32"); n != 0 {
			t.Errorf("want nothing pointed, got %d writes", n)
		}
	})
}

// The key in etcd is given up when Run has returned.
func TestAddressesThatCannotBeRemovedHoldUpTheKeyUntilTheKernelHasTakenThemAway(t *testing.T) {
	const left = 4 * time.Second
	for name, tt := range map[string]struct {
		failures int
		want     time.Duration
		lines    string
	}{
		"gone at the second attempt":  {0, 0, ""},
		"gone after a few attempts":   {3, 300 * time.Millisecond, "addresses-stuck, addresses-stuck"},
		"gone only by their lifetime": {1000, left, "addresses-stuck, addresses-stuck"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				s := &stage{}
				i := &iface{stage: s, leaves: errPlugged, failures: tt.failures}
				o := owner.New(owner.Options{Instance: "api", Addresses: addresses[:1], Interface: i, Report: func([]refresher.Report) {}, Journal: journal.New(zap.New(core))})
				end := start(t, o, grant{time.Now().Add(left)})
				synctest.Wait()
				s.take()
				logs.TakeAll()
				begun := time.Now()
				if err := end(); !errors.Is(err, errPlugged) {
					t.Errorf("want that they could not be removed, got %v", err)
				}
				if took := time.Since(begun); took != tt.want {
					t.Errorf("want the key held up for %v, got %v", tt.want, took)
				}
				var lines []string
				for _, l := range logs.All() {
					lines = append(lines, l.ContextMap()["code"].(string))
				}
				if got := strings.Join(lines, ", "); got != tt.lines {
					t.Errorf("want its beginning and its end told once, %q, got %q", tt.lines, got)
				}
				// The addresses of other instances stay.
				if got := s.take(); !strings.Contains(got, "sweep 203.0.113.7") || strings.Contains(got, "2001:db8::7") {
					t.Errorf("want only the own addresses removed, got %q", got)
				}
			})
		})
	}
}

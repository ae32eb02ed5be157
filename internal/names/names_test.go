package names_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"berth/internal/journal"
	"berth/internal/names"
)

const (
	api     = "api.example.net"
	timeout = 3 * time.Second
)

// world is a network in virtual time: what name servers say, and which addresses
// answer.
type world struct {
	*testing.T
	mu sync.Mutex
	// after is how long a look-up takes in each family, says what it brings; a
	// family that is in neither has no addresses.
	after map[string]time.Duration
	says  map[string][]string
	fails map[string]error
	mute  bool // no name server answers
	gone  bool // the name servers know no such name

	dead    []string                 // addresses from which nothing comes back
	refuses []string                 // addresses that refuse
	slow    map[string]time.Duration // addresses that take their time
	lookups int
	dialled []string
	logs    *observer.ObservedLogs
	log     *zap.Logger
	begin   time.Time
}

func newWorld(t *testing.T, says ...string) *world {
	core, logs := observer.New(zapcore.InfoLevel)
	w := &world{T: t, log: zap.New(core), logs: logs, begin: time.Now(), after: map[string]time.Duration{}, slow: map[string]time.Duration{}, fails: map[string]error{}}
	w.answer(says...)
	return w
}

// answer makes the name servers say these addresses.
func (w *world) answer(addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says, w.mute = map[string][]string{}, false
	for _, a := range addresses {
		family := "ip4"
		if strings.Contains(a, ":") {
			family = "ip6"
		}
		w.says[family] = append(w.says[family], a)
	}
}

func (w *world) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	w.lookups++
	says, mute, gone, after, err := w.says[network], w.mute, w.gone, w.after[network], w.fails[network]
	w.mu.Unlock()
	if mute {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	}
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	}
	if err != nil {
		return nil, err
	}
	if gone || len(says) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var all []netip.Addr
	for _, a := range says {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	w.mu.Lock()
	w.dialled = append(w.dialled, host)
	dead, refuses, slow := slices.Contains(w.dead, host), slices.Contains(w.refuses, host), w.slow[host]
	w.mu.Unlock()
	if dead {
		slow = time.Hour
	}
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, fmt.Errorf("dial tcp %s: i/o timeout", address)
	}
	if refuses {
		return nil, fmt.Errorf("dial tcp %s: connection refused", address)
	}
	near, far := net.Pipe()
	w.Cleanup(func() { far.Close() })
	return peer{near, host}, nil
}

// peer is a connection that knows to whom it leads.
type peer struct {
	net.Conn
	host string
}

// resolver returns a process's resolver; dir may be "".
func (w *world) resolver(dir string) *names.Resolver {
	r := names.New(dir, journal.New(w.log))
	r.Lookup = w.lookup
	w.Cleanup(r.Close)
	return r
}

// connect dials and returns to which address the connection leads, or the error,
// and how long it took.
func (w *world) connect(ctx context.Context, r *names.Resolver) (string, time.Duration) {
	begin := time.Now()
	d := &names.Dialer{Names: r, Timeout: timeout, Dial: w.dial}
	c, err := d.DialContext(ctx, "tcp", api+":443")
	if err != nil {
		return "error: " + err.Error(), time.Since(begin)
	}
	c.Close()
	return c.(peer).host, time.Since(begin)
}

// want connects and compares.
func (w *world) want(r *names.Resolver, address string, within time.Duration) {
	w.Helper()
	w.wantBy(w.Context(), r, address, within)
}

func (w *world) wantBy(ctx context.Context, r *names.Resolver, address string, within time.Duration) {
	w.Helper()
	if got, took := w.connect(ctx, r); got != address || took != within {
		w.Errorf("want a connection to %s after %v, got %s after %v", address, within, got, took)
	}
	synctest.Wait() // for what goes on beside
}

func inTime(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestSlowNameServersAreWaitedForBeyondTheTimeToConnect(t *testing.T) {
	for _, slow := range []time.Duration{4 * time.Second, 5 * time.Second, 10 * time.Second} {
		inTime(t, func(t *testing.T) {
			w := newWorld(t, "192.0.2.1")
			w.after["ip4"], w.after["ip6"] = slow, slow
			w.want(w.resolver(""), "192.0.2.1", slow)
		})
	}
}

func TestALookUpOutlivesTheAttemptThatAskedForIt(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		w.after["ip4"], w.after["ip6"] = 4500*time.Millisecond, 4500*time.Millisecond
		r := w.resolver("")
		var got string
		for range 4 { // attempts of a second, as grpc makes them
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if got, _ = w.connect(ctx, r); !strings.Contains(got, "look up "+api+": no answer yet: context deadline exceeded") {
				t.Errorf("want to be told what is waited for, got %s", got)
			}
			cancel()
		}
		synctest.Wait()
		if w.lookups != 2 { // in two families
			t.Errorf("want the attempts to share a look-up, got %d", w.lookups)
		}
		w.want(r, "192.0.2.1", 500*time.Millisecond)
	})
}

func TestAMuteResolverCostsNothingOnceANameWasResolved(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "2001:db8::1")
		r := w.resolver("")
		w.want(r, "2001:db8::1", 0)
		w.mute = true
		for range 3 {
			w.want(r, "2001:db8::1", 0)
			time.Sleep(time.Minute)
		}
		if got := w.logs.FilterMessage("cannot look up a name; using the addresses of the last answer").Len(); got != 1 {
			t.Errorf("want it said once, got %d times", got)
		}
		w.answer("192.0.2.1", "2001:db8::1")
		w.want(r, "2001:db8::1", 0)
		w.want(r, "2001:db8::1", 0)
		if got := w.logs.FilterMessage("a name can be looked up again").Len(); got != 1 {
			t.Errorf("want its end said once, got %d times", got)
		}
	})
}

func TestAMuteResolverCostsNothingAfterARestart(t *testing.T) {
	dir := t.TempDir()
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver(dir)
		w.want(r, "192.0.2.1", 0)
		r.Close()
		w.mute = true
		w.want(w.resolver(dir), "192.0.2.1", 0)
	})
}

func TestAFreshAnswerReplacesTheKeptOne(t *testing.T) {
	dir := t.TempDir()
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver(dir)
		w.want(r, "192.0.2.1", 0)
		w.answer("192.0.2.2")
		w.after["ip4"], w.after["ip6"] = time.Second, time.Second
		w.want(r, "192.0.2.1", 0) // it answers still
		time.Sleep(2 * time.Second)
		w.want(r, "192.0.2.2", 0)
		r.Close()
		w.mute = true
		w.want(w.resolver(dir), "192.0.2.2", 0)
	})
}

func TestAFreshAnswerIsTriedInTheSameDialWhenTheKeptAddressIsDead(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver("")
		w.want(r, "192.0.2.1", 0)
		w.dead = []string{"192.0.2.1"}
		w.answer("192.0.2.2")
		w.after["ip4"], w.after["ip6"] = 2*time.Second, 2*time.Second
		w.want(r, "192.0.2.2", 2*time.Second)
		// Also when the kept ones are through before it is there.
		w.refuses, w.after["ip4"], w.after["ip6"] = []string{"192.0.2.2"}, 9*time.Second, 9*time.Second
		w.answer("192.0.2.3")
		w.want(r, "192.0.2.3", 9*time.Second)
	})
}

func TestANameThatIsGoneKeepsTheAddressThatWorks(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver("")
		w.want(r, "192.0.2.1", 0)
		w.gone = true
		for range 3 {
			w.want(r, "192.0.2.1", 0)
		}
		said := w.logs.FilterMessage("cannot look up a name; using the addresses of the last answer").All()
		if len(said) != 1 || !strings.Contains(said[0].ContextMap()["error"].(string), "no such host") {
			t.Errorf("want it said once that there is no such host, got %v", said)
		}
	})
}

func TestAllAddressesOfANameAreTriedAndFamiliesTakeTurns(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2")
		w.dead = []string{"192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.3"}
		w.want(w.resolver(""), "192.0.2.2", 3*250*time.Millisecond)
		want := []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"}
		if diff := cmp.Diff(want, w.dialled); diff != "" {
			t.Errorf("order of the attempts (-want +got):\n%s", diff)
		}
	})
}

func TestAnAddressThatRefusesDelaysNothing(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "192.0.2.2", "2001:db8::1")
		w.refuses = []string{"2001:db8::1", "192.0.2.1"}
		w.want(w.resolver(""), "192.0.2.2", 0)
		w.refuses = append(w.refuses, "192.0.2.2")
		got, _ := w.connect(t.Context(), w.resolver(""))
		synctest.Wait()
		if !strings.Contains(got, "refused") || !strings.Contains(got, "the first of 3 addresses of "+api) {
			t.Errorf("want the error of the first, got %s", got)
		}
	})
}

// Attempts of a second reach three or four addresses each.
func TestManyDeadAddressesDoNotHideTheOneThatAnswers(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 9 {
			a := fmt.Sprintf("192.0.2.%d", i+1)
			w.says["ip4"] = append(w.says["ip4"], a)
			if i < 8 {
				w.dead = append(w.dead, a)
			}
		}
		r := w.resolver("")
		for attempt := 1; ; attempt++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got, _ := w.connect(ctx, r)
			cancel()
			if got == "192.0.2.9" {
				break
			}
			if attempt == 3 {
				t.Fatalf("want the ninth address to be reached in three attempts, got %s", got)
			}
		}
		w.want(r, "192.0.2.9", 0) // and to come first from now on
	})
}

func TestOneFamilyThatIsNotAnsweredHoldsUpNobody(t *testing.T) {
	for mute, other := range map[string]string{"ip6": "192.0.2.1", "ip4": "2001:db8::1"} {
		inTime(t, func(t *testing.T) {
			w := newWorld(t, other)
			w.after["ip4"], w.after["ip6"] = time.Second, time.Second
			w.after[mute] = time.Hour
			delay := time.Second
			if mute == "ip6" {
				delay += 50 * time.Millisecond // RFC 8305, section 3
			}
			r := w.resolver("")
			w.want(r, other, delay)
			time.Sleep(time.Minute)
			w.want(r, other, 0)
		})
	}
}

func TestAFamilyThatIsNotAnsweredKeepsItsAddresses(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "2001:db8::1")
		r := w.resolver("")
		w.want(r, "2001:db8::1", 0)
		w.fails["ip4"] = errors.New("server failure")
		w.want(r, "2001:db8::1", 0)
		w.dead = []string{"2001:db8::1"}
		w.want(r, "192.0.2.1", 250*time.Millisecond)
		// A family of which the servers say that it has none has none.
		delete(w.fails, "ip4")
		w.answer("2001:db8::2")
		w.after["ip4"], w.after["ip6"] = time.Second, time.Second
		w.want(r, "192.0.2.1", 0)
		time.Sleep(time.Second)
		synctest.Wait()
		w.want(r, "2001:db8::2", 0)
	})
}

func TestASecretInClearTextGoesToNoFormerAddressWhileAFreshLookUpCanAnswer(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver("")
		w.want(r, "192.0.2.1", 0)
		clear := names.Unproven(t.Context())
		w.wantBy(clear, r, "192.0.2.1", 0) // a moment ago is fresh
		time.Sleep(5 * time.Second)
		w.after["ip4"], w.after["ip6"] = 14*time.Second, 14*time.Second
		w.answer("192.0.2.2")
		w.wantBy(clear, r, "192.0.2.2", 14*time.Second)
		if slices.Contains(w.dialled[2:], "192.0.2.1") {
			t.Errorf("want no attempt at the former address, got %v", w.dialled)
		}
		// The budget is used up: now it counts.
		w.mute = true
		time.Sleep(5 * time.Second)
		w.wantBy(clear, r, "192.0.2.2", names.Budget)
		// The look-up has failed, and nothing fresh is to be had.
		w.answer("192.0.2.2")
		w.after["ip4"], w.after["ip6"] = time.Second, time.Second
		w.fails["ip4"], w.fails["ip6"] = errors.New("server failure"), errors.New("server failure")
		w.wantBy(clear, r, "192.0.2.2", time.Second)
	})
}

// An attempt of a second never sees the end of a look-up that takes as long.
func TestAFreshAnswerServesTheAttemptAfterTheOneThatWaitedForIt(t *testing.T) {
	for _, fails := range []bool{false, true} {
		inTime(t, func(t *testing.T) {
			w := newWorld(t, "192.0.2.1")
			r := w.resolver("")
			w.want(r, "192.0.2.1", 0)
			time.Sleep(5 * time.Second)
			if fails {
				w.fails["ip4"], w.fails["ip6"] = errors.New("server failure"), errors.New("server failure")
			} else {
				w.answer("192.0.2.2")
			}
			w.after["ip4"], w.after["ip6"] = 5500*time.Millisecond, 5500*time.Millisecond
			for range 5 {
				ctx, cancel := context.WithTimeout(names.Unproven(t.Context()), time.Second)
				if got, _ := w.connect(ctx, r); !strings.HasPrefix(got, "error: ") {
					t.Errorf("want no connection before the answer, got one to %s", got)
				}
				cancel()
			}
			time.Sleep(time.Second)
			want := map[bool]string{true: "192.0.2.1", false: "192.0.2.2"}[fails]
			w.wantBy(names.Unproven(t.Context()), r, want, 0)
			time.Sleep(time.Minute)
			w.wantBy(names.Unproven(t.Context()), r, want, 5500*time.Millisecond)
		})
	}
}

func TestWithoutAnyAnswerTheErrorNamesHostAndCause(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.resolver("")
		got, _ := w.connect(t.Context(), r)
		if !strings.HasPrefix(got, "error: look up "+api+": ") || !strings.Contains(got, "no such host") {
			t.Errorf("want the name and that there is none, got %s", got)
		}
		synctest.Wait()
		w.mute = true
		got, took := w.connect(t.Context(), r)
		if !strings.Contains(got, "no answer of any name server within 15s") || took != names.Budget {
			t.Errorf("want the budget named after it, got %s after %v", got, took)
		}
		if n := w.logs.Len(); n > 0 {
			t.Errorf("want it to be told by the error alone, got %v", w.logs.All())
		}
	})
}

func TestAnAddressNeedsNoLookUp(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.resolver("")
		d := &names.Dialer{Names: r, Timeout: timeout, Dial: w.dial}
		for _, a := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80"} {
			c, err := d.DialContext(t.Context(), "tcp", a)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		r.Ask("192.0.2.1")
		r.Await(t.Context(), "2001:db8::1")
		w.dead = []string{"192.0.2.1"}
		begin := time.Now()
		if _, err := d.DialContext(t.Context(), "tcp", "192.0.2.1:80"); err == nil || time.Since(begin) != timeout {
			t.Errorf("want an error after %v, got %v after %v", timeout, err, time.Since(begin))
		}
		if w.lookups > 0 {
			t.Errorf("want no look-up, got %d", w.lookups)
		}
	})
}

func TestATraceTellsForHowLongALookUpIsWaitedFor(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		w.after["ip4"], w.after["ip6"] = 4*time.Second, 4*time.Second
		var start, done time.Duration
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			DNSStart: func(httptrace.DNSStartInfo) { start = time.Since(w.begin) + 1 },
			DNSDone:  func(httptrace.DNSDoneInfo) { done = time.Since(w.begin) },
		})
		r := w.resolver("")
		w.wantBy(ctx, r, "192.0.2.1", 4*time.Second)
		if start != 1 || done != 4*time.Second {
			t.Errorf("want 0 to 4 s, got %v to %v", start-1, done)
		}
		start, done = 0, 0
		w.wantBy(ctx, r, "192.0.2.1", 0)
		if start != 0 || done != 0 {
			t.Error("want nothing to be waited for where an address is known")
		}
	})
}

func TestCloseEndsLookUpsAndWaits(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t)
		w.mute = true
		r := w.resolver("")
		r.Ask(api)
		synctest.Wait()
		r.Close()
		got, took := w.connect(t.Context(), r)
		if !strings.Contains(got, "berth is ending") || took != 0 {
			t.Errorf("want no look-up any more, got %s after %v", got, took)
		}
	})
}

func TestAwaitWaitsForTheFirstAddress(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "2001:db8::1")
		w.after["ip6"], w.after["ip4"] = 5*time.Second, time.Hour
		r := w.resolver("")
		r.Await(t.Context(), api)
		if got := time.Since(w.begin); got != 5*time.Second {
			t.Errorf("want 5 s, got %v", got)
		}
		synctest.Wait()
		w.mute = true
		r.Await(t.Context(), api)
		if got := time.Since(w.begin); got != 5*time.Second {
			t.Errorf("want no wait where an address is known, got %v", got)
		}
	})
}

func TestGarbageInTheFileIsToldOnceAndIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"text":                   "garbage",
		"another form":           `{"names": {"api.example.net": "192.0.2.1"}}`,
		"unknown field":          `{"names": {}, "more": 1}`,
		"no address":             `{"names": {"api.example.net": {"addresses": [], "time": "2026-11-29T10:00:00Z"}}}`,
		"address of nobody":      `{"names": {"api.example.net": {"addresses": ["0.0.0.0"], "time": "2026-11-29T10:00:00Z"}}}`,
		"address of many":        `{"names": {"api.example.net": {"addresses": ["ff02::1"], "time": "2026-11-29T10:00:00Z"}}}`,
		"address with interface": `{"names": {"api.example.net": {"addresses": ["fe80::1%eth0"], "time": "2026-11-29T10:00:00Z"}}}`,
		"no host name":           `{"names": {"api example": {"addresses": ["192.0.2.1"], "time": "2026-11-29T10:00:00Z"}}}`,
		"more than berth writes": strings.Repeat(" ", 1<<20) + `{"names": {}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "names.json")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			inTime(t, func(t *testing.T) {
				w := newWorld(t, "192.0.2.7")
				r := w.resolver(dir)
				w.want(r, "192.0.2.7", 0)
				w.want(r, "192.0.2.7", 0)
				r.Close()
				if got := w.logs.FilterMessage("ignoring the stored addresses of names").Len(); got != 1 || w.logs.Len() != 1 {
					t.Errorf("want it told once, got %v", w.logs.All())
				}
				// And replaced by what is known.
				w.mute = true
				w.want(w.resolver(dir), "192.0.2.7", 0)
			})
		})
	}
}

func TestAFileOfAnotherKindIsNeitherReadNorWaitedFor(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "names.json")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "192.0.2.7")
	r := w.resolver(dir)
	if got, _ := w.connect(t.Context(), r); got != "192.0.2.7" {
		t.Errorf("want a connection, got %s", got)
	}
	r.Close()
	if w.logs.Len() != 1 {
		t.Errorf("want it told once, got %v", w.logs.All())
	}
}

func TestARunDirectoryThatCannotBeWrittenCostsAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.7")
		r := w.resolver(filepath.Join(file, "run"))
		for range 3 {
			w.want(r, "192.0.2.7", 0)
		}
		if got := w.logs.FilterMessage("cannot store the addresses of names for the next start").Len(); got != 1 {
			t.Errorf("want it told once, got %v", w.logs.All())
		}
	})
}

func TestProcessesOfAHostAddToOneFileOfBoundedSize(t *testing.T) {
	dir := t.TempDir()
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		for i := range 70 {
			r := w.resolver(dir)
			r.Ask(fmt.Sprintf("host%d.example.net", i))
			synctest.Wait()
			r.Close()
			time.Sleep(time.Second)
		}
		text, err := os.ReadFile(filepath.Join(dir, "names.json"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "addresses"); n != 64 {
			t.Errorf("want 64 names, got %d", n)
		}
		for host, want := range map[string]bool{"host5.": false, "host6.": true, "host69.": true} {
			if got := strings.Contains(string(text), host); got != want {
				t.Errorf("%s: want it kept: %t, got %t", host, want, got)
			}
		}
	})
}

func TestAnUnchangedAnswerIsNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "names.json")
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "192.0.2.2")
		r := w.resolver(dir)
		w.want(r, "192.0.2.1", 0)
		first, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		w.answer("192.0.2.2", "192.0.2.1")
		w.want(r, "192.0.2.1", 0)
		second, err := os.Stat(path)
		if err != nil || !os.SameFile(first, second) {
			t.Errorf("want the same file, got another (%v)", err)
		}
	})
}

func FuzzKeptFile(f *testing.F) {
	f.Add([]byte(`{"names": {"api.example.net": {"addresses": ["192.0.2.1", "2001:db8::1"], "time": "2026-11-29T10:00:00Z"}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) { names.CheckFile(t, text) })
}

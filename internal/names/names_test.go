package names_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	// after is how long a look-up takes in each family, says which addresses it gives;
	// a family that is in neither has no addresses.
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

// peer is a connection that knows its other end.
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

func TestAFreshAnswerReplacesTheStoredOne(t *testing.T) {
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

func TestANameThatIsGoneRetainsTheAddressThatWorks(t *testing.T) {
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

func TestOneFamilyThatIsNotAnsweredDelaysNoDial(t *testing.T) {
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

func TestAFamilyThatIsNotAnsweredRetainsItsAddresses(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "2001:db8::1")
		r := w.resolver("")
		w.want(r, "2001:db8::1", 0)
		w.fails["ip4"] = errors.New("server failure")
		w.want(r, "2001:db8::1", 0)
		w.dead = []string{"2001:db8::1"}
		w.want(r, "192.0.2.1", 250*time.Millisecond)
		// A family is empty when the servers say that the name has no such addresses.
		delete(w.fails, "ip4")
		w.answer("2001:db8::2")
		w.after["ip4"], w.after["ip6"] = time.Second, time.Second
		w.want(r, "192.0.2.1", 0)
		time.Sleep(time.Second)
		synctest.Wait()
		w.want(r, "2001:db8::2", 0)
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

package names_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/names"
)

func TestAFreshAnswerIsTriedInTheSameDialWhenTheStoredAddressIsDead(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver("")
		w.want(r, "192.0.2.1", 0)
		w.dead = []string{"192.0.2.1"}
		w.answer("192.0.2.2")
		w.after["ip4"], w.after["ip6"] = 2*time.Second, 2*time.Second
		w.want(r, "192.0.2.2", 2*time.Second)
		// Also when the stored addresses have failed before the answer is there.
		w.refuses, w.after["ip4"], w.after["ip6"] = []string{"192.0.2.2"}, 9*time.Second, 9*time.Second
		w.answer("192.0.2.3")
		w.want(r, "192.0.2.3", 9*time.Second)
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
		// The look-up has failed, so that there is no fresh answer.
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
			t.Errorf("want the name, and that no such host exists, got %s", got)
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

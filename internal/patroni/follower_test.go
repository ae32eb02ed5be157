package patroni_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/patroni"
)

const (
	yes = 200
	no  = 503
)

func TestTheRoleIsAskedForEachSecond(t *testing.T) {
	for role, path := range map[patroni.Role]string{patroni.Leader: "/leader", patroni.Replica: "/replica", patroni.SyncStandby: "/synchronous"} {
		t.Run(string(role), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newREST(yes)
				s := follow(t, role, r)
				defer s.stop(t)
				time.Sleep(10500 * time.Millisecond)
				if got := len(r.requests()); got != 11 {
					t.Errorf("want 11 requests in 10.5 s, got %d", got)
				}
				if want := "GET http://127.0.0.1:8008" + path; !r.paths[want] || len(r.paths) != 1 {
					t.Errorf("want %s, got %v", want, r.paths)
				}
				if holds, why := s.State(); !holds {
					t.Errorf("want the role, got %q", why)
				}
				if s.renewed.Load() != 11 || s.moved.Load() != 1 {
					t.Errorf("want 11 renewals, and one change of the owner, got %d and %d", s.renewed.Load(), s.moved.Load())
				}
				if got := s.codes(); got != "patroni-role-taken" {
					t.Errorf("want one line, got %s", got)
				}
			})
		})
	}
}

func TestAYesIsBelievedFromItsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r := newREST(yes)
		r.answers(yes, 700*time.Millisecond)
		s := follow(t, patroni.Leader, r)
		defer s.stop(t)
		time.Sleep(800 * time.Millisecond)
		if got := s.End().Sub(begun); got != 3500*time.Millisecond {
			t.Errorf("want the end 3.5 s after the sending, got %v", got)
		}
	})
}

func TestANoEndsTheRoleAtOnce(t *testing.T) {
	for _, status := range []int{no, 500, 404, 401, 302, 204, 100} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newREST(yes)
				s := follow(t, patroni.Leader, r)
				defer s.stop(t)
				time.Sleep(900 * time.Millisecond)
				r.answers(status, 0)
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				holds, why := s.State()
				if holds || why != "Patroni says that this host is not the leader" {
					t.Errorf("want the role to have ended, got %t, %q", holds, why)
				}
				if s.End().After(time.Now()) {
					t.Errorf("want the end to have come, got it in %v", time.Until(s.End()))
				}
				if _, other, known := s.Owner("db"); !other || !known {
					t.Errorf("want another owner, got %t, %t", other, known)
				}
				want := "patroni-role-taken patroni-role-ended"
				if status != no {
					want += " patroni-answer-unusable"
				}
				if got := s.codes(); got != want {
					t.Errorf("want %s, got %s", want, got)
				}
				r.answers(yes, 0)
				time.Sleep(time.Second)
				synctest.Wait()
				if holds, why := s.State(); !holds {
					t.Errorf("want the role again, got %q", why)
				}
			})
		})
	}
}

// Patroni restarts its REST interface when its certificate changes, or loses one request.
func TestAMomentWithoutAnAnswerChangesNothing(t *testing.T) {
	for name, takes := range map[string]time.Duration{"refused": 0, "reset after a while": 200 * time.Millisecond, "hanging": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newREST(yes)
				s := follow(t, patroni.Leader, r)
				defer s.stop(t)
				time.Sleep(1900 * time.Millisecond)
				r.answers(0, takes)
				time.Sleep(1200 * time.Millisecond) // from 2.0 to 3.1 s no request is answered
				r.answers(yes, 0)
				time.Sleep(10 * time.Second)
				if got := s.codes(); got != "patroni-role-taken patroni-unanswered patroni-unanswered" && got != "patroni-role-taken" {
					t.Errorf("want the role throughout, got %s", got)
				}
				if holds, why := s.State(); !holds || s.moved.Load() != 1 {
					t.Errorf("want the role throughout, got %q", why)
				}
			})
		})
	}
}

// A Patroni that takes its time is not told of with each request.
func TestAPatroniThatIsSlowIsNotTold(t *testing.T) {
	for _, takes := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, 1500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newREST(yes)
			r.answers(yes, takes)
			s := follow(t, patroni.Leader, r)
			defer s.stop(t)
			time.Sleep(10 * time.Minute)
			got := strings.Count(s.codes(), "patroni-unanswered")
			if most := 2; got > most {
				t.Errorf("answers that take %v: %d lines in ten minutes", takes, got)
			}
		})
	}
}

func TestAPatroniThatIsFrozenLosesTheRoleThreeSecondsAfterTheLastYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		s := follow(t, patroni.Leader, r)
		defer s.stop(t)
		time.Sleep(1900 * time.Millisecond) // the last yes is to the request at 1 s
		r.answers(yes, -1)
		time.Sleep(2100*time.Millisecond - time.Nanosecond)
		synctest.Wait()
		if holds, why := s.State(); !holds {
			t.Errorf("want the role until 4 s, got %q", why)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if holds, why := s.State(); holds || why != "Patroni does not answer: no answer" {
			t.Errorf("want the role to have ended, got %t, %q", holds, why)
		}
		if _, _, known := s.Owner("db"); known {
			t.Error("want that the owner is not known")
		}
		// The requests that may save a term are made more often, and not for ever.
		if got := len(r.requests()); got < 8 || got > 11 {
			t.Errorf("want 8 to 11 requests in 4 s, got %d", got)
		}
		time.Sleep(time.Minute)
		if got := len(r.requests()); got < 59 || got > 61 {
			t.Errorf("want a request each second, got %d in a minute", got)
		}
		if got := s.codes(); got != "patroni-role-taken patroni-unanswered patroni-role-ended" {
			t.Errorf("want the silence told once, got %s", got)
		}
		r.answers(no, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		if holds, why := s.State(); holds || why != "Patroni says that this host is not the leader" {
			t.Errorf("want the no, got %t, %q", holds, why)
		}
		if got := s.codes(); got != "patroni-unanswered" {
			t.Errorf("want the end of the silence told, got %s", got)
		}
	})
}

func TestAYesToARequestThatWasSentBeforeANoCameDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		s := follow(t, patroni.Leader, r)
		defer s.stop(t)
		time.Sleep(900 * time.Millisecond)
		r.answers(yes, 400*time.Millisecond) // to the request at 1.0 s
		time.Sleep(200 * time.Millisecond)
		r.answers(no, 0) // to that at 1.25 s
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		if holds, _ := s.State(); holds {
			t.Error("want the no to count, which is the newer")
		}
		time.Sleep(10 * time.Second)
		if holds, _ := s.State(); holds || s.moved.Load() != 2 {
			t.Errorf("want no role, and two changes of the owner, got %d", s.moved.Load())
		}
	})
}

// An answer that took so long that the term would be over at once is of no use.
func TestAYesThatComesTooLateDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newREST(yes)
		r.answers(yes, 3*time.Second)
		s := follow(t, patroni.Leader, r)
		defer s.stop(t)
		time.Sleep(20 * time.Second)
		if holds, _ := s.State(); holds || s.moved.Load() != 0 {
			t.Error("want no role from answers that are 3 s old")
		}
		r.answers(yes, 2900*time.Millisecond)
		time.Sleep(20 * time.Second)
		if s.moved.Load() == 0 {
			t.Error("want the role from answers that are younger")
		}
	})
}

func TestBeginIsTheFirstAnswerOrTheEndOfTheWaitForIt(t *testing.T) {
	for _, tt := range []struct {
		name          string
		status        int
		takes         time.Duration
		after         time.Duration
		adopted, know bool
	}{
		{"the leader", yes, time.Millisecond, time.Millisecond, true, true},
		{"another host is the leader", no, time.Millisecond, time.Millisecond, false, true},
		{"a slow answer", yes, time.Second, time.Second, true, true},
		{"refused", 0, 0, 3 * time.Second, false, false},
		{"frozen", yes, -1, 3 * time.Second, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				r := newREST(0)
				r.answers(tt.status, tt.takes)
				s := follow(t, patroni.Leader, r)
				defer s.stop(t)
				if _, _, known := s.Owner("db"); known {
					t.Error("want nothing known before")
				}
				adopted, err := s.Begun(t.Context())
				if took := time.Since(begun); err != nil || adopted != tt.adopted || took != tt.after {
					t.Errorf("want %t after %v, got %t after %v, %v", tt.adopted, tt.after, adopted, took, err)
				}
				if name, other, known := s.Owner("db"); known != tt.know || other == tt.adopted || (name == "h1") != tt.adopted {
					t.Errorf("got %q, %t, %t", name, other, known)
				}
			})
		})
	}
}

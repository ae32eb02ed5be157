package faults_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/test/faults"
	"berth/test/lab"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// story makes a history of words: "100+a" is the address coming to host a after
// 100 ms, "-a" leaving it, "!a" announced by it, "#" an act that allows 20 ms of
// two owners, "?" an act after which the client hears only the victim, "*"
// the end of a fault, "~" the client losing service, "=" having it again. The
// client asks every 10 ms but where "z" says that the machine ran nothing for
// 100 ms. It begins with a as the owner and ends after 3 s.
func story(t *testing.T, text string) *faults.History {
	t.Helper()
	address := faults.Address4
	h := &faults.History{Begin: start, End: start.Add(3 * time.Second), Addresses: []netip.Addr{address},
		Changes: []faults.Change{{At: start.Add(-time.Second), Host: "a", Address: address, Owned: true}},
		Samples: make(map[netip.Addr][]lab.Sample)}
	lost := make(map[int]bool) // by the request's number: from here lost or not
	stalls := make(map[int]bool)
	for word := range strings.FieldsSeq(text) {
		i := strings.IndexAny(word, "+-!#?*~=z")
		n, err := strconv.Atoi(word[:i])
		if err != nil {
			t.Fatal(err)
		}
		at, host := start.Add(ms(n)), word[i+1:]
		switch word[i] {
		case '+', '-':
			h.Changes = append(h.Changes, faults.Change{At: at, Host: host, Address: address, Owned: word[i] == '+'})
		case '!':
			h.Announcements = append(h.Announcements, faults.Announcement{At: at, Host: host, Address: address})
		case '#':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "fault", Fault: true, Allow: ms(20)})
		case '?':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "split", Deaf: true})
		case '*':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "healed", Heal: true})
		case '~', '=':
			lost[n/10] = word[i] == '~'
		case 'z':
			stalls[n/10] = true
		}
	}
	now, served := 0, true
	for now < 3000 {
		if l, ok := lost[now/10]; ok {
			served = !l
		}
		s := lab.Sample{Sent: start.Add(ms(now))}
		if served {
			s.Answered, s.By = s.Sent.Add(time.Millisecond), "somebody"
		}
		h.Samples[address] = append(h.Samples[address], s)
		if now += 10; stalls[now/10] {
			now += 100
		}
	}
	return h
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name     string
		story    string
		want     faults.Figures
		problems []string // parts of them
	}{
		{"nothing happens", "", faults.Figures{Owners: []string{"a"}}, nil},
		{"handed over", "500-a 510+b 511!b 520!b 530!b", faults.Figures{NoOwner: ms(10), Announced: ms(1), Owners: []string{"a", "b"}}, nil},
		{"two owners", "500+b 507-a 507!b 520!b 530!b", faults.Figures{TwoOwners: ms(7), TwoOwnersMax: ms(7), Announced: ms(7), Owners: []string{"a", "b"}},
			[]string{"owned by a and b at once from 03:04:05.500 for 7ms, allowed 0s"}},
		{"two owners that an act allows", "495# 500+b 507-b", faults.Figures{TwoOwners: ms(7), TwoOwnersMax: ms(7), Owners: []string{"a"}}, nil},
		{"two owners for longer than the act allows", "495# 500+b 525-b", faults.Figures{TwoOwners: ms(25), TwoOwnersMax: ms(25), Owners: []string{"a"}},
			[]string{"for 25ms, allowed 20ms"}},
		{"two owners long after the act", "495# 1500+b 1507-b", faults.Figures{TwoOwners: ms(7), TwoOwnersMax: ms(7), Owners: []string{"a"}},
			[]string{"for 7ms, allowed 0s"}},
		{"two owners before an act", "500+b 501# 507-b", faults.Figures{TwoOwners: ms(7), TwoOwnersMax: ms(7), Owners: []string{"a"}},
			[]string{"for 7ms, allowed 0s"}},
		{"twice two owners", "495# 500+b 507-b 600+b 615-b", faults.Figures{TwoOwners: ms(22), TwoOwnersMax: ms(15), Owners: []string{"a"}}, nil},
		{"three owners", "500+b 501+c 502-b 503-c", faults.Figures{TwoOwners: ms(3), TwoOwnersMax: ms(1), Owners: []string{"a"}},
			[]string{"a and b at once", "a and b and c at once", "a and c at once"}},
		{"two owners while the machine stood still", "500z 510+b 600-b", faults.Figures{TwoOwners: 1, TwoOwnersMax: 1, Owners: []string{"a"}},
			[]string{"a and b at once"}},
		{"two owners to the end", "2900+b 2901!b 2902!b 2903!b", faults.Figures{TwoOwners: ms(100), TwoOwnersMax: ms(100), Owners: []string{"a"}},
			[]string{"a and b at once", "2 owners at the end, since 03:04:07.900"}},
		{"no owner to the end", "2900-a", faults.Figures{NoOwner: ms(100), Owners: []string{"a"}}, []string{"0 owners at the end"}},
		{"no owner twice", "500-a 600+a 601!a 602!a 603!a 700-a 720+a 721!a 722!a 723!a", faults.Figures{NoOwner: ms(120), Announced: ms(1), Owners: []string{"a"}}, nil},
		{"no owner while the machine stood still", "510z 500-a 620+a 621!a 622!a 623!a", faults.Figures{NoOwner: ms(20), Announced: ms(1), Owners: []string{"a"}}, nil},
		{"outage", "500~ 700= 900~ 1000=", faults.Figures{Outage: ms(200), AfterHeal: ms(200), Owners: []string{"a"}}, nil},
		{"outage as far as it lies after the heal", "500# 500~ 650* 700=", faults.Figures{Outage: ms(200), AfterHeal: ms(50), Down: ms(150), Owners: []string{"a"}}, nil},
		{"outage as far as it lies after the last change", "500# 500-a 500~ 550* 600+b 601!b 602!b 603!b 700=",
			faults.Figures{NoOwner: ms(100), Outage: ms(200), AfterHeal: ms(100), Announced: ms(1), Down: ms(50), Owners: []string{"a", "b"}}, nil},
		{"outage in which the machine stood still", "500~ 550z 700=", faults.Figures{Outage: ms(100), AfterHeal: ms(100), Owners: []string{"a"}}, nil},
		{"not served at the end", "2500~", faults.Figures{Outage: ms(500), AfterHeal: ms(500), Owners: []string{"a"}},
			[]string{"not served at the end, since 03:04:07.500"}},
		{"the last request may still be answered", "2950~", faults.Figures{Owners: []string{"a"}}, nil},
		{"announced by who has lost it", "500-a 501+b 502!b 503!b 504!b 530!a", faults.Figures{NoOwner: ms(1), Announced: ms(1), Owners: []string{"a", "b"}},
			[]string{"announced by a at 03:04:05.530, which had it not"}},
		{"announced just before it was lost", "499!a 500-a 501+b 502!b 503!b 504!b 505!a", faults.Figures{NoOwner: ms(1), Announced: ms(1), Owners: []string{"a", "b"}}, nil},
		{"announcement heard before the change", "500-a 501!b 502!b 503!b 510+b", faults.Figures{NoOwner: ms(10), Owners: []string{"a", "b"}}, nil},
		{"announced too early", "500-a 501!b 630+b 631!b 632!b 633!b", faults.Figures{NoOwner: ms(130), Announced: ms(1), Owners: []string{"a", "b"}},
			[]string{"announced by b at 03:04:05.501, which had it not"}},
		{"announced too seldom", "500-a 501+b 502!b 503!b 1600!b", faults.Figures{NoOwner: ms(1), Announced: ms(1), Owners: []string{"a", "b"}},
			[]string{"announced 2 times by b within 1s"}},
		{"announced too seldom, hit by a fault", "500-a 501+b 502!b 503!b 900#", faults.Figures{NoOwner: ms(1), Announced: ms(1), Owners: []string{"a", "b"}}, nil},
		{"announced to a client that was cut off", "400? 500-a 501+b 600* 1400!b", faults.Figures{NoOwner: ms(1), Announced: ms(800), Down: ms(200), Owners: []string{"a", "b"}}, nil},
		{"not announced anew after a split", "400? 500-a 501+b 502!b 503!b 504!b 600* 2700!b", faults.Figures{NoOwner: ms(1), Down: ms(200), Owners: []string{"a", "b"}},
			[]string{"announced 0 times by b within 2s of 03:04:05.600"}},
		{"announced by the wrong one", "500-a 501+b 502!c", faults.Figures{NoOwner: ms(1), Owners: []string{"a", "b"}},
			[]string{"announced by c", "announced 0 times by b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := faults.Judge(story(t, tt.story))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(problems) != len(tt.problems) {
				t.Fatalf("want problems %q, got %q", tt.problems, problems)
			}
			for i, p := range problems {
				if !strings.Contains(p, tt.problems[i]) {
					t.Errorf("want a problem with %q, got %q", tt.problems[i], p)
				}
			}
		})
	}
}

func TestHistoryThatGoesOnNeedsNoEnd(t *testing.T) {
	h := story(t, "2500~ 2900-a")
	h.Open = true
	if _, problems := faults.Judge(h); len(problems) != 0 {
		t.Errorf("want no problem, got %q", problems)
	}
}

func TestHistoryWithLostChangesProvesNothing(t *testing.T) {
	h := story(t, "")
	h.Lost = true
	if _, problems := faults.Judge(h); len(problems) != 1 {
		t.Errorf("want one problem, got %q", problems)
	}
}

func TestLateAnswerIsNoService(t *testing.T) {
	h := story(t, "")
	s := &h.Samples[faults.Address4][50]
	s.Answered = s.Sent.Add(150 * time.Millisecond)
	if got := h.Outages(faults.Address4); len(got) != 1 || got[0].From != s.Sent || got[0].Lost != 1 {
		t.Errorf("want one request lost, got %v", got)
	}
}

// The worst of all addresses counts.
func TestJudgeTakesTheWorstAddress(t *testing.T) {
	h := story(t, "500-a 510+b 511!b 512!b 513!b")
	for _, c := range slices.Clone(h.Changes) {
		c.Address, c.At = faults.Address6, c.At.Add(c.At.Sub(start))
		h.Changes = append(h.Changes, c)
	}
	h.Addresses = append(h.Addresses, faults.Address6)
	got, problems := faults.Judge(h)
	if got.NoOwner != ms(20) || fmt.Sprint(got.Owners) != "[a b]" {
		t.Errorf("want no owner for 20ms and owners a and b, got %+v", got)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "2001:db8::254: announced 0 times") {
		t.Errorf("want a problem of the second address, got %q", problems)
	}
}

func TestExceeded(t *testing.T) {
	var fault = faults.Fault{Stays: true, Limits: faults.Limits{TwoOwners: ms(20), NoOwner: ms(100), Unseen: ms(10)}}
	held := faults.Figures{TwoOwnersMax: ms(20), NoOwner: ms(100), Outage: ms(210), AfterHeal: ms(100), Owners: []string{"a"}}
	if got := fault.Exceeded(held); got != nil {
		t.Errorf("at the limits: want no problem, got %q", got)
	}
	for _, tt := range []struct {
		change func(*faults.Figures)
		want   string
	}{
		{func(f *faults.Figures) { f.TwoOwnersMax++ }, "two owners for 20.000001ms, allowed 20ms"},
		{func(f *faults.Figures) { f.NoOwner++ }, "no owner for 100.000001ms"},
		{func(f *faults.Figures) { f.Outage++ }, "client without service for 210.000001ms"},
		{func(f *faults.Figures) { f.AfterHeal++ }, "after the heal for 100.000001ms"},
		{func(f *faults.Figures) { f.Owners = []string{"a", "b"} }, "the owner was a, then b"},
	} {
		figures := held
		tt.change(&figures)
		if got := fault.Exceeded(figures); len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("want %q, got %q", tt.want, got)
		}
	}
	fault.Limits.BeyondLease = true
	late := faults.Figures{NoOwner: ms(600), Down: faults.Lease + ms(500), Owners: []string{"a"}}
	if got := fault.Exceeded(late); got != nil {
		t.Errorf("beyond the lease: want no problem, got %q", got)
	}
}

func TestFaultsHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range faults.All() {
		if seen[f.Name] {
			t.Errorf("want one fault of a name, got two named %s", f.Name)
		}
		seen[f.Name] = true
	}
}

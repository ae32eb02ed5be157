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
// the end of a fault, "@" one after which the LAN does not carry everything for 400 ms,
// "&" an act after which several owners are the price of a policy,
// "%a" one after which a may not own the address, "(" its removal from the pool, ")"
// its return, "~" the client losing service, "=" having it again. The
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
		i := strings.IndexAny(word, "+-!#?*@&%()~=z")
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
		case '@':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "healed", Heal: true, Reunited: ms(400)})
		case '&':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "fault", Shared: true})
		case '%':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "barred", Barred: host})
		case '(':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "retract", Retracted: h.Addresses})
		case ')':
			h.Acts = append(h.Acts, faults.Act{At: at, What: "list", Listed: h.Addresses})
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
		{"handed over", "500-a 510+b 511!b 520!b 530!b", faults.Figures{NoOwner: ms(10), NoOwnerMax: ms(10), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"two owners", "500+b 507-a 507!b 520!b 530!b", faults.Figures{TwoOwners: ms(7), TwoOwnersMax: ms(7), Announced: ms(7), Owners: []string{"a", "b"}, Moves: 1},
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
		{"no owner to the end", "2900-a", faults.Figures{NoOwner: ms(100), NoOwnerMax: ms(100), Owners: []string{"a"}}, []string{"0 owners at the end"}},
		{"no owner twice", "500-a 600+a 601!a 602!a 603!a 900-a 920+a 921!a 922!a 923!a", faults.Figures{NoOwner: ms(120), NoOwnerMax: ms(100), Announced: ms(1), Owners: []string{"a"}}, nil},
		{"no owner while the machine stood still", "510z 500-a 620+a 621!a 622!a 623!a", faults.Figures{NoOwner: ms(20), NoOwnerMax: ms(20), Announced: ms(1), Owners: []string{"a"}}, nil},
		{"outage", "500~ 700= 900~ 1000=", faults.Figures{Outage: ms(200), AfterHeal: ms(200), Owners: []string{"a"}}, nil},
		{"outage as far as it lies after the heal", "500# 500~ 650* 700=", faults.Figures{Outage: ms(200), AfterHeal: ms(50), Down: ms(150), Owners: []string{"a"}}, nil},
		{"outage as far as it lies after the last change", "500# 500-a 500~ 550* 600+b 601!b 602!b 603!b 700=",
			faults.Figures{NoOwner: ms(100), NoOwnerMax: ms(100), Outage: ms(200), AfterHeal: ms(100), Announced: ms(1), Down: ms(50), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"outage in which the machine stood still", "500~ 550z 700=", faults.Figures{Outage: ms(100), AfterHeal: ms(100), Owners: []string{"a"}}, nil},
		{"not served at the end", "2500~", faults.Figures{Outage: ms(500), AfterHeal: ms(500), Owners: []string{"a"}},
			[]string{"not served at the end, since 03:04:07.500"}},
		{"the last request may still be answered", "2950~", faults.Figures{Owners: []string{"a"}}, nil},
		{"announced by who has lost it", "500-a 501+b 502!b 503!b 504!b 530!a", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1},
			[]string{"announced by a at 03:04:05.530, which had it not"}},
		{"announced just before it was lost", "499!a 500-a 501+b 502!b 503!b 504!b 505!a", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"announcement heard before the change", "500-a 501!b 502!b 503!b 510+b", faults.Figures{NoOwner: ms(10), NoOwnerMax: ms(10), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"announced by a host that had it for a moment, of which the kernel told the end alone", "500-a 501!b 511-b 520+c 521!c 522!c 523!c", faults.Figures{NoOwner: ms(20), NoOwnerMax: ms(20), Announced: ms(1), Owners: []string{"a", "c"}, Moves: 1}, nil},
		{"announced too early", "500-a 501!b 730+b 731!b 732!b 733!b", faults.Figures{NoOwner: ms(230), NoOwnerMax: ms(230), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1},
			[]string{"announced by b at 03:04:05.501, which had it not"}},
		{"announced too seldom", "500-a 501+b 502!b 503!b 1600!b", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1},
			[]string{"announced 2 times by b within 1s"}},
		{"announced too seldom, hit by a fault", "500-a 501+b 502!b 503!b 900#", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Announced: ms(1), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"announced to a client that was cut off", "400? 500-a 501+b 600* 1400!b", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Announced: ms(800), Down: ms(200), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"announced before the LAN carries everything again", "500-a 600@ 650+b 1100!b", faults.Figures{NoOwner: ms(150), NoOwnerMax: ms(150), Announced: ms(100), Down: ms(0), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"not announced anew after a split", "400? 500-a 501+b 502!b 503!b 504!b 600* 2700!b", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Down: ms(200), Owners: []string{"a", "b"}, Moves: 1},
			[]string{"announced 0 times by b within 2s of 03:04:05.600"}},
		{"several owners that the policy allows", "495& 1700+b 1900* 2000-b", faults.Figures{TwoOwners: ms(300), TwoOwnersMax: ms(300), OneAgain: ms(100), Down: ms(1405), Owners: []string{"a"}}, nil},
		{"several owners of the policy, which end with the fault", "495& 1700+b 1800-b 1900*", faults.Figures{TwoOwners: ms(100), TwoOwnersMax: ms(100), Down: ms(1405), Owners: []string{"a"}}, nil},
		{"several owners before the fault in which the policy allows them", "490+b 495& 500-b", faults.Figures{TwoOwners: ms(10), TwoOwnersMax: ms(10), Owners: []string{"a"}},
			[]string{"a and b at once"}},
		{"barred host", "500%a 700-a 705+b 706!b 707!b 708!b 1000*", faults.Figures{NoOwner: ms(5), NoOwnerMax: ms(5), Left: ms(200), Announced: ms(1), Down: ms(500), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"barred host that stays until the heal", "500%a 1000*", faults.Figures{Left: ms(500), Down: ms(500), Owners: []string{"a"}}, nil},
		{"another host than the barred one", "500%b 1000*", faults.Figures{Down: ms(500), Owners: []string{"a"}}, nil},
		{"barred host that comes back after the heal", "500%a 510-a 1000* 1010+a 1011!a 1012!a 1013!a", faults.Figures{NoOwner: ms(500), NoOwnerMax: ms(500), Left: ms(10), Announced: ms(1), Down: ms(500), Owners: []string{"a"}}, nil},
		{"retracted and listed", "500( 510-a 510~ 900) 905+b 906!b 907!b 908!b 920= 1000*",
			faults.Figures{NoOwner: ms(5), NoOwnerMax: ms(5), Dropped: ms(10), Outage: ms(20), Announced: ms(1), Down: ms(500), Owners: []string{"a", "b"}, Moves: 1}, nil},
		{"retracted, and owned all the time", "500( 900) 1000*", faults.Figures{Dropped: ms(400), Down: ms(500), Owners: []string{"a"}}, nil},
		{"owned again before it is listed", "500( 510-a 700+b 705-b 900) 910+a 911!a 912!a 913!a", faults.Figures{NoOwner: ms(10), NoOwnerMax: ms(10), Dropped: ms(205), Announced: ms(1), Owners: []string{"a", "b", "a"}, Moves: 2}, nil},
		{"retracted for good", "500( 510-a 510~", faults.Figures{Dropped: ms(10), Owners: []string{"a"}}, nil},
		{"owned at the end, and retracted", "500(", faults.Figures{Dropped: ms(2500), Owners: []string{"a"}}, []string{"1 owners at the end"}},
		{"announced by the wrong one", "500-a 501+b 502!c", faults.Figures{NoOwner: ms(1), NoOwnerMax: ms(1), Owners: []string{"a", "b"}, Moves: 1},
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

// The figures of a pool: each time without owner, evenness, moves of all addresses.
func TestJudgePool(t *testing.T) {
	h := story(t, "500-a 520+b 521!b 522!b 523!b 600-b 610+c 611!c 612!c 613!c")
	h.Serving = []string{"a", "b", "c"}
	for i := range 3 {
		a := faults.PoolAddresses(3)[i]
		h.Addresses = append(h.Addresses, a)
		h.Changes = append(h.Changes, faults.Change{At: start.Add(-time.Second), Host: "a", Address: a, Owned: true})
	}
	got, problems := faults.Judge(h)
	if got.NoOwner != ms(30) || got.NoOwnerMax != ms(20) || got.Moves != 2 || got.Uneven != 3 {
		t.Errorf("want no owner for 30ms, at most 20ms at a time, 2 moves, and a spread that is uneven by 3, got %+v", got)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "spread unevenly at the end: map[a:3 c:1]") {
		t.Errorf("want the uneven spread to be a problem, got %q", problems)
	}
	h.Serving = []string{"a", "c"}
	h.Changes = append(h.Changes, faults.Change{At: start.Add(ms(700)), Host: "a", Address: h.Addresses[1]},
		faults.Change{At: start.Add(ms(701)), Host: "c", Address: h.Addresses[1], Owned: true})
	if got, _ := faults.Judge(h); got.Uneven != 0 || got.Moves != 3 {
		t.Errorf("want an even spread after 3 moves, got %+v", got)
	}
	h.Serving = []string{"a"} // an address at a host that does not serve
	if got, _ := faults.Judge(h); got.Uneven != 4 {
		t.Errorf("want addresses at a host that does not serve to be found, got %+v", got)
	}
}

func TestExceeded(t *testing.T) {
	var fault = faults.Fault{Stays: true, Limits: faults.Limits{TwoOwners: ms(20), NoOwner: ms(100), Unseen: ms(10), Left: ms(30), Dropped: ms(40)}}
	held := faults.Figures{TwoOwnersMax: ms(20), NoOwner: ms(100), NoOwnerMax: ms(100), Outage: ms(210), AfterHeal: ms(100), Owners: []string{"a"}}
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
		{func(f *faults.Figures) { f.Left = ms(31) }, "owned by a host that may not own it for 31ms, allowed 30ms"},
		{func(f *faults.Figures) { f.Dropped = ms(41) }, "owned when it was not in the pool for 41ms, allowed 40ms"},
		{func(f *faults.Figures) { f.Owners, f.Moves = []string{"a", "b"}, 1 }, "owners changed 1 times (of the first address: a, then b), want each to stay"},
	} {
		figures := held
		tt.change(&figures)
		if got := fault.Exceeded(figures); len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("want %q, got %q", tt.want, got)
		}
	}
	fault.Limits.Each, held.NoOwner, held.NoOwnerMax = true, ms(150), ms(100)
	if got := fault.Exceeded(held); got != nil {
		t.Errorf("each time without owner at the limit: want no problem, got %q", got)
	}
	held.NoOwnerMax++
	if got := fault.Exceeded(held); len(got) != 1 || !strings.Contains(got[0], "no owner for 100.000001ms") {
		t.Errorf("want one time without owner to be too long, got %q", got)
	}
	fault.Limits.Each = false
	moving := faults.Fault{Limits: faults.Limits{Moves: 3}}
	if got := moving.Exceeded(faults.Figures{Moves: 3}); got != nil {
		t.Errorf("moves at the limit: want no problem, got %q", got)
	}
	if got := moving.Exceeded(faults.Figures{Moves: 4}); len(got) != 1 || !strings.Contains(got[0], "owners changed 4 times, allowed 3") {
		t.Errorf("want too many moves to be a problem, got %q", got)
	}
	shared := faults.Fault{Limits: faults.Limits{Shared: true, OneAgain: ms(50)}}
	if got := shared.Exceeded(faults.Figures{TwoOwnersMax: ms(500), OneAgain: ms(50)}); got != nil {
		t.Errorf("several owners that the policy allows: want no problem, got %q", got)
	}
	if got := shared.Exceeded(faults.Figures{TwoOwnersMax: ms(500), OneAgain: ms(51)}); len(got) != 1 || !strings.Contains(got[0], "after the heal for 51ms") {
		t.Errorf("want several owners long after the heal to be a problem, got %q", got)
	}
	fault.Limits.BeyondLease = true
	late := faults.Figures{NoOwner: ms(600), NoOwnerMax: ms(600), Down: faults.Lease + ms(500), Owners: []string{"a"}}
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

package faults

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Figures are the times that a history comes to. With several addresses each figure
// is that of the worst address. Time in which the machine ran nothing is subtracted,
// but never so that a time of two owners becomes none.
type Figures struct {
	TwoOwners    time.Duration // in all
	TwoOwnersMax time.Duration // at a time
	NoOwner      time.Duration // in all
	NoOwnerMax   time.Duration // at a time
	Outage       time.Duration // of the client, the longest
	// AfterHeal is the part of the longest outage that lies after the last heal and
	// the last change of the owner, when clients send to a wrong host.
	AfterHeal time.Duration
	// Announced is how long after the last owner got the address the client
	// heard of it; zero if the owner has not changed.
	Announced time.Duration
	// Down is the time from the first act to the last heal.
	Down time.Duration
	// Owners has the owners of the first address in their order.
	Owners []string
	// Moves is how often the addresses changed their owners, all together.
	Moves int
	// OneAgain is how long after the last heal an address still had several owners.
	OneAgain time.Duration
	// Left is how long a host still owned an address after the act that barred it.
	Left time.Duration
	// Dropped is how long an address still had an owner after it was retracted.
	Dropped time.Duration
	// Uneven is by how many addresses the hosts that serve differ at the end.
	Uneven int
}

// An announcement and the change of its address reach the recorder in two ways.
const (
	// afterLoss is how late an announcement may be heard.
	afterLoss = 20 * time.Millisecond
	// beforeGain is how late the change may be heard: the kernel tells of a new
	// IPv6 address from a work queue, when it is in use already. With hundreds of
	// addresses at once the queue takes 110 ms.
	beforeGain = 200 * time.Millisecond
)

// reunion is how long after the end of a split the hosts may take to find each
// other in etcd: a host that cannot reach it tries again every half second, for a
// second each time.
const reunion = 2 * time.Second

// Judge returns the figures of a history and everything in it that no fault
// excuses: more than one owner beyond what an act allows; an announcement by a
// host that has not got the address; an end without one owner and service, unless
// it goes on; an owner that has not announced itself three times in its first
// second, or not soon after the end of a split in which the client could not hear
// it; addresses of a pool that are not spread evenly at the end.
func Judge(h *History) (f Figures, problems []string) {
	if h.Lost {
		problems = append(problems, "changes of addresses or frames were lost: nothing is proved")
	}
	healed := h.healed()
	if i := slices.IndexFunc(h.Acts, func(a Act) bool { return !a.Heal }); i >= 0 && !healed.IsZero() {
		f.Down = healed.Sub(h.Acts[i].At)
	}
	counts := make(map[string]int)
	for i, address := range h.Addresses {
		spans := h.Spans(address)
		one, found := judgeOwners(h, address, spans)
		for _, p := range found {
			problems = append(problems, fmt.Sprintf("%v: %s", address, p))
		}
		out := h.retracted(address)
		quiet, last := healed, spans[len(spans)-1]
		if last.From.After(quiet) {
			quiet = last.From
		}
		for _, o := range last.Owners {
			counts[o]++
		}
		outages := h.Outages(address)
		for _, o := range outages {
			one.Outage = max(one.Outage, o.Duration()-h.Stalled(o.From, o.To)-overlap(o.From, o.To, out))
			if from := latest(o.From, quiet); o.To.After(from) {
				one.AfterHeal = max(one.AfterHeal, o.To.Sub(from)-h.Stalled(from, o.To)-overlap(from, o.To, out))
			}
		}
		listed := len(out) == 0 || out[len(out)-1].To.Before(h.End)
		if len(outages) > 0 && !outages[len(outages)-1].To.Before(h.End) && listed && !h.Open {
			problems = append(problems, fmt.Sprintf("%v: not served at the end, since %s", address, clock(outages[len(outages)-1].From)))
		}
		heard, found := judgeAnnouncements(h, address, spans)
		one.Announced = heard
		problems = append(problems, found...)

		f.TwoOwners = max(f.TwoOwners, one.TwoOwners)
		f.TwoOwnersMax = max(f.TwoOwnersMax, one.TwoOwnersMax)
		f.NoOwner = max(f.NoOwner, one.NoOwner)
		f.NoOwnerMax = max(f.NoOwnerMax, one.NoOwnerMax)
		f.Outage = max(f.Outage, one.Outage)
		f.AfterHeal = max(f.AfterHeal, one.AfterHeal)
		f.Announced = max(f.Announced, one.Announced)
		f.OneAgain = max(f.OneAgain, one.OneAgain)
		f.Left = max(f.Left, one.Left)
		f.Dropped = max(f.Dropped, one.Dropped)
		f.Moves += max(0, len(one.Owners)-1)
		if i == 0 {
			f.Owners = one.Owners
		}
	}
	if f.Uneven = unevenness(counts, h.Serving); f.Uneven > 1 && !h.Open {
		problems = append(problems, fmt.Sprintf("spread unevenly at the end: %v", counts))
	}
	return f, problems
}

func judgeOwners(h *History, address netip.Addr, spans []Span) (f Figures, problems []string) {
	out, barred := h.retracted(address), h.barred()
	for _, s := range spans {
		took := s.Duration() - h.Stalled(s.From, s.To)
		if len(s.Owners) != 0 {
			for _, o := range out {
				if s.From.Before(o.To) && s.To.After(o.From) {
					f.Dropped = max(f.Dropped, earliest(s.To, o.To).Sub(o.From))
				}
			}
			for _, b := range barred {
				if slices.Contains(s.Owners, b.Owners[0]) && s.From.Before(b.To) && s.To.After(b.From) {
					f.Left = max(f.Left, earliest(s.To, b.To).Sub(b.From))
				}
			}
		}
		switch len(s.Owners) {
		case 0:
			took = max(0, took-overlap(s.From, s.To, out))
			f.NoOwner += took
			f.NoOwnerMax = max(f.NoOwnerMax, took)
		case 1:
			if n := len(f.Owners); n == 0 || f.Owners[n-1] != s.Owners[0] {
				f.Owners = append(f.Owners, s.Owners[0])
			}
		default:
			took = max(took, 1)
			f.TwoOwners += took
			f.TwoOwnersMax = max(f.TwoOwnersMax, took)
			if healed := h.healed(); !healed.IsZero() && s.To.After(healed) {
				f.OneAgain = s.To.Sub(healed)
			}
			if allowed := allowance(h.Acts, s.From); took > allowed {
				problems = append(problems, fmt.Sprintf("owned by %s at once from %s for %v, allowed %v",
					strings.Join(s.Owners, " and "), clock(s.From), took, allowed))
			}
		}
	}
	want := 1
	if n := len(out); n > 0 && !out[n-1].To.Before(h.End) {
		want = 0
	}
	if last := spans[len(spans)-1]; len(last.Owners) != want && !h.Open {
		problems = append(problems, fmt.Sprintf("%d owners at the end, since %s", len(last.Owners), clock(last.From)))
	}
	return f, problems
}

// allowance is for how long there may be two owners from a moment on.
func allowance(acts []Act, at time.Time) (most time.Duration) {
	for _, a := range acts {
		since := at.Sub(a.At)
		switch {
		case since >= 0 && a.Shared:
			return math.MaxInt64
		case since >= 0 && since <= time.Second:
			most = max(most, a.Allow)
		}
	}
	return most
}

func judgeAnnouncements(h *History, address netip.Addr, spans []Span) (heard time.Duration, problems []string) {
	for _, a := range h.Announcements {
		if a.Address != address || a.At.Before(h.Begin) || a.At.After(h.End) {
			continue
		}
		if !h.owned(a) {
			problems = append(problems, fmt.Sprintf("%v: announced by %s at %s, which had it not", address, a.Host, clock(a.At)))
		}
	}
	last := spans[len(spans)-1]
	if len(last.Owners) != 1 {
		return 0, problems
	}
	owner := last.Owners[0]
	var bound time.Time
	for _, c := range h.Changes {
		if c.Address == address && c.Host == owner && c.Owned && c.At.After(h.Begin) && !c.At.After(h.End) {
			bound = c.At
		}
	}
	if bound.IsZero() {
		return 0, problems
	}
	from, early, within, need, count := bound, beforeGain, time.Second, 3, 0
	if healed := h.deafUntil(bound); !healed.IsZero() {
		from, early, within, need = healed, 0, reunion, 1
	}
	for _, a := range h.Announcements {
		if a.Address == address && a.Host == owner && a.At.Sub(from) >= -early && a.At.Sub(from) <= within+h.Stalled(from, a.At) {
			if count++; count == 1 {
				heard = a.At.Sub(from) - h.Stalled(from, a.At)
			}
		}
	}
	// A host that is hit by a fault meanwhile need not announce.
	hit := slices.ContainsFunc(h.Acts, func(a Act) bool { return a.Fault && a.At.After(from) && a.At.Before(from.Add(within)) })
	if count < need && h.End.Sub(from) > within && !hit {
		problems = append(problems, fmt.Sprintf("%v: announced %d times by %s within %v of %s", address, count, owner, within, clock(from)))
	}
	return max(0, heard), problems
}

// owned reports whether the sender of an announcement had the address when it sent
// the announcement, as far as the order of the two is known. An IPv6 address that is
// removed within milliseconds comes and goes with one event of the kernel, the removal.
func (h *History) owned(a Announcement) bool {
	var before, next Change // of the sender's
	for _, c := range h.Changes {
		if c.Address != a.Address || c.Host != a.Host {
			continue
		}
		if next = c; c.At.After(a.At) {
			break
		}
		before, next = c, Change{}
	}
	return before.Owned ||
		!before.At.IsZero() && a.At.Sub(before.At)-h.Stalled(before.At, a.At) <= afterLoss ||
		!next.At.IsZero() && next.At.Sub(a.At)-h.Stalled(a.At, next.At) <= beforeGain
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

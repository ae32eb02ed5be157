package faults

import (
	"net/netip"
	"slices"
	"time"

	"berth/test/lab"
)

// A Change is an address coming to a host or leaving it.
type Change struct {
	At      time.Time // no two are the same
	Host    string
	Address netip.Addr
	Owned   bool
}

// An Announcement is a gratuitous ARP or an unsolicited neighbour advertisement
// that arrived at the client.
type Announcement struct {
	At      time.Time
	Host    string // that sent it
	Address netip.Addr
}

// An Act is what the lab did to its subjects.
type Act struct {
	At   time.Time
	What string
	// Fault says that the act began a fault, Healing that it begins to end one, Heal that
	// it ended one.
	Fault, Healing, Heal bool
	// Allow is for how long there may be two owners because of it, if that
	// begins within a second.
	Allow time.Duration
	// Deaf says that from here to the next heal the client hears only the victim.
	Deaf bool
	// Reunited is for how long after the act the client may not hear everybody yet.
	Reunited time.Duration
	// Shared says that from here on an address may have several owners.
	Shared bool
	// Barred names a host that may not own an address from here to the next heal.
	Barred string
	// Listed and Retracted are the addresses that the act adds to the pool and removes
	// from it. All are listed at first.
	Listed, Retracted []netip.Addr
}

// A History is all that is known of one run.
type History struct {
	// Begin and End bound the judged time. The changes before Begin tell which host
	// had which address at Begin.
	Begin, End    time.Time
	Addresses     []netip.Addr
	Changes       []Change                    // in the order in which the kernels made them
	Samples       map[netip.Addr][]lab.Sample // By is empty if it was not answered
	Announcements []Announcement
	Acts          []Act
	// Lost says that changes or frames were lost on their way to the recorder: the run
	// proves nothing.
	Lost bool
	// Open says that the lab runs on: a change in progress at End is not a problem.
	Open bool
	// Serving are the hosts among which the addresses are spread at the end; empty if one
	// host is to own all.
	Serving []string
}

// retracted returns the times in which an address was not in the pool.
func (h *History) retracted(address netip.Addr) (spans []Span) {
	out := false
	for _, a := range h.Acts {
		switch {
		case slices.Contains(a.Retracted, address) && !out:
			out = true
			spans = append(spans, Span{From: a.At, To: h.End})
		case slices.Contains(a.Listed, address) && out:
			out = false
			spans[len(spans)-1].To = a.At
		}
	}
	return spans
}

// barred returns the times in which a host was not allowed to own an address.
func (h *History) barred() (spans []Span) {
	for i, a := range h.Acts {
		if a.Barred == "" {
			continue
		}
		s := Span{From: a.At, To: h.End, Owners: []string{a.Barred}}
		for _, next := range h.Acts[i:] {
			if next.Heal || next.Healing {
				s.To = next.At
				break
			}
		}
		spans = append(spans, s)
	}
	return spans
}

// overlap is how much of the time from one moment to another lies in the spans.
func overlap(from, to time.Time, spans []Span) (d time.Duration) {
	for _, s := range spans {
		if end := earliest(to, s.To); end.After(latest(from, s.From)) {
			d += end.Sub(latest(from, s.From))
		}
	}
	return d
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// healed returns the time of the last heal, zero if there was none.
func (h *History) healed() time.Time {
	for _, a := range slices.Backward(h.Acts) {
		if a.Heal {
			return a.At
		}
	}
	return time.Time{}
}

// deafUntil returns the end of a time in which the client did not hear everybody, if a
// moment lies in one.
func (h *History) deafUntil(at time.Time) (until time.Time) {
	deaf := false
	for _, a := range h.Acts {
		switch {
		case !a.At.After(at) && at.Sub(a.At) < a.Reunited:
			return a.At.Add(a.Reunited)
		case a.At.After(at) && deaf && a.Heal:
			return a.At
		case !a.At.After(at):
			deaf = a.Deaf || deaf && !a.Heal
		}
	}
	return time.Time{}
}

// A Span is a time in which an address had the same owners.
type Span struct {
	From, To time.Time
	Owners   []string // sorted
}

// Duration is how long it lasted.
func (s Span) Duration() time.Duration { return s.To.Sub(s.From) }

// Spans cuts the time from Begin to End by the owners of an address.
func (h *History) Spans(address netip.Addr) []Span {
	open := Span{From: h.Begin}
	var spans []Span
	for _, c := range h.Changes {
		if c.Address != address || c.At.After(h.End) {
			continue
		}
		owners := slices.DeleteFunc(slices.Clone(open.Owners), func(o string) bool { return o == c.Host })
		if c.Owned {
			owners = append(owners, c.Host)
			slices.Sort(owners)
		}
		if slices.Equal(owners, open.Owners) {
			continue
		}
		if c.At.After(h.Begin) {
			open.To = c.At
			spans = append(spans, open)
			open.From = c.At
		}
		open.Owners = owners
	}
	open.To = h.End
	return append(spans, open)
}

// Stalled returns for how long, between two moments, the machine did not run even
// the client. That time is not counted against berth.
func (h *History) Stalled(from, to time.Time) (longest time.Duration) {
	for _, samples := range h.Samples {
		longest = max(longest, lab.Stalled(samples, from, to))
	}
	return longest
}

// late is how long after its request an answer still counts. The client's kernel
// keeps packets for a neighbour that it does not know yet, so an answer after a
// second is not service.
const late = 100 * time.Millisecond

// Outages returns when the client was without service of an address. One that has
// not ended lasts until End, but for the requests that may still be answered.
func (h *History) Outages(address netip.Addr) (outages []lab.Outage) {
	var open lab.Outage
	for _, s := range h.Samples[address] {
		if s.Sent.Before(h.Begin) || s.Sent.After(h.End) {
			continue
		}
		took := s.Answered.Sub(s.Sent)
		switch inTime := s.By != "" && (took <= late || took-h.Stalled(s.Sent, s.Answered) <= late); {
		case !inTime && open.Lost == 0:
			open = lab.Outage{From: s.Sent, Lost: 1}
		case !inTime:
			open.Lost++
		case open.Lost > 0:
			open.To = s.Sent
			outages = append(outages, open)
			open = lab.Outage{}
		}
	}
	if open.Lost > 0 && h.End.Sub(open.From) > late {
		open.To = h.End
		outages = append(outages, open)
	}
	return outages
}

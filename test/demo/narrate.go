package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/cloudsim"
)

// An item is a line of the demo's output.
type item struct {
	at   time.Time
	text string
}

// say adds a line to the output of the narrator.
func (d *demo) say(at time.Time, format string, args ...any) {
	d.tell(item{at, fmt.Sprintf("%6.2f s  %s", at.Sub(d.begin).Seconds(), fmt.Sprintf(format, args...))})
}

func (d *demo) tell(i item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = append(d.pending, i)
}

// lag is how long an item waits for others that happened before it but are
// found out later. A request counts as lost after half of lag.
const lag = 100 * time.Millisecond

// due takes what happened before a moment from the pending items, in order.
func (d *demo) due(before time.Time) (items []item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortStableFunc(d.pending, func(a, b item) int { return a.at.Compare(b.at) })
	n, _ := slices.BinarySearchFunc(d.pending, before, func(i item, t time.Time) int { return i.at.Compare(t) })
	items, d.pending = d.pending[:n:n], d.pending[n:]
	return items
}

// narrator remembers what it has printed.
type narrator struct {
	*demo
	bindings, moves int
	requests        map[time.Time]bool
	warned          map[string]string // per host, the last warning printed
	served          []string          // per probe, who answered last; "" while lost
	seen            []int             // per probe, samples looked at
	lines           map[string]int    // per log, lines looked at
}

// narrate prints events until the context ends, and then the pending ones.
func (d *demo) narrate(ctx context.Context) {
	n := &narrator{demo: d, requests: make(map[time.Time]bool), warned: make(map[string]string),
		served: make([]string, len(addresses)), seen: make([]int, len(addresses)), lines: make(map[string]int)}
	for ended := false; !ended; {
		var items []item
		ended = d.Wait(ctx, "something to tell", func() bool {
			n.news()
			items = d.due(time.Now().Add(-lag))
			return len(items) > 0
		}) != nil
		if ended {
			n.news()
			items = d.due(time.Now())
		}
		for _, i := range items {
			fmt.Fprintln(d.out, i.text)
		}
	}
}

// news adds what has happened since its last call.
func (n *narrator) news() {
	bindings := n.Bindings()
	for _, b := range bindings[n.bindings:] {
		if b.Bound {
			n.say(b.Time, "%s: keepalived is MASTER and sets %v", b.Host.Name, b.Address)
		} else {
			n.say(b.Time, "%s: keepalived removes %v", b.Host.Name, b.Address)
		}
	}
	n.bindings = len(bindings)
	n.calls()
	moves := n.Moves()
	for _, m := range moves[n.moves:] {
		n.say(m.Time, "provider: %v goes to %s", m.Network, n.hostOf(m.To))
	}
	n.moves = len(moves)
	n.warnings()
	n.service()
}

// calls adds the writes, and each failure once.
func (n *narrator) calls() {
	for _, r := range n.Sim.History() {
		if r.Done.IsZero() || n.requests[r.Time] {
			continue
		}
		n.requests[r.Time] = true
		host := n.hostOf(r.Remote)
		if r.Write {
			n.say(r.Done, "%s: berth calls %s %s: %d %s, %s", host, r.Method, r.Path, r.Status, http.StatusText(r.Status), took(r))
		}
	}
}

func took(r cloudsim.Request) string {
	return fmt.Sprintf("%.1f ms", float64(r.Done.Sub(r.Time).Microseconds())/1000)
}

// warnings adds the warnings of berth, each kind once in a row.
func (n *narrator) warnings() {
	for _, log := range n.Logs() {
		host, isBerth := strings.CutSuffix(log.Name, " berth")
		if !isBerth {
			continue
		}
		lines := log.Lines()
		for _, line := range lines[n.lines[log.Name]:] {
			var entry struct{ Level, Msg, Address, Error string }
			if json.Unmarshal([]byte(line.Text), &entry) != nil {
				continue
			}
			if entry.Level != "warn" && entry.Level != "error" {
				continue
			}
			text := entry.Msg
			if entry.Error != "" {
				text += ": " + entry.Error
			}
			if n.warned[host] != text {
				n.warned[host] = text
				n.say(line.Time, "%s: berth says: %s", host, text)
			}
		}
		n.lines[log.Name] = len(lines)
	}
}

// service adds when the client is served by another host, or loses requests and not
// only waits for a late answer.
func (n *narrator) service() {
	const settled = lag / 2 // an answer that takes longer is lost
	for i, p := range n.client {
		samples := p.Samples()
		for ; n.seen[i] < len(samples); n.seen[i]++ {
			s := samples[n.seen[i]]
			if s.By == "" && time.Since(s.Sent) < settled {
				break
			}
			if s.By == n.served[i] {
				continue
			}
			n.served[i] = s.By
			if s.By == "" {
				n.say(s.Sent, "client: requests to %v are lost", p.To)
			} else {
				n.say(s.Answered, "client: %v is served by %s", p.To, s.By)
			}
		}
	}
}

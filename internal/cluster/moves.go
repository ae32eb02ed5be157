package cluster

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/election"
)

// maxMoves bounds the moves of a View, and those that a process remembers of what it saw.
const maxMoves = 100

// maxApart is how many addresses of the pool can go from one member to another at once with
// a move of their own for each.
const maxApart = 10

// owners are who has what at one revision: instances, and addresses of the pool.
type owners map[subject]holder

// subject is an instance or an address of the pool.
type subject struct {
	pool bool
	name string
}

type holder struct {
	member string
	token  int64
	since  time.Time // when this process saw it, zero for what was there at its start
}

// ownersOf returns who has what by the keys.
func ownersOf(keys *election.ClusterKeys) owners {
	all := owners{}
	for name, queue := range keys.Instances {
		if len(queue) > 0 {
			all[subject{name: name}] = holder{member: queue[0].Member, token: queue[0].Token}
		}
	}
	if keys.Pool != nil {
		for address, h := range keys.Pool.Held {
			all[subject{true, address}] = holder{member: h.Member}
		}
	}
	return all
}

// moved returns the moves that lead from what was to what is, and puts into is since when.
// An owner that was there before keeps its moment; an instance that had an owner, then
// none, and has one again has moved from the former one, which last remembers. present
// reports whether a member is in etcd.
func moved(was, is, last owners, present func(member string) bool, now time.Time) []Move {
	var moves []Move
	handed := map[[2]string]int{} // addresses of the pool, by the former member and the new one
	for s, h := range is {
		before, owned := was[s]
		if owned && before.member == h.member && before.token == h.token {
			h.since = before.since
			is[s] = h
			continue
		}
		h.since = now
		is[s] = h
		from := cmp.Or(before.member, last[s].member)
		if from == h.member { // it began anew, or took its own back
			from = ""
		}
		if s.pool && from != "" {
			handed[[2]string{from, h.member}]++
		}
		moves = append(moves, Move{At: now, Instance: s.name, Member: h.member, State: "MASTER", From: from, Reason: cameFrom(from, present), Token: h.token})
	}
	for s, h := range is {
		last[s] = h
	}
	return folded(moves, handed, is)
}

// folded replaces the moves of many addresses of the pool from one member to another by
// one, so that they do not displace everything else.
func folded(moves []Move, handed map[[2]string]int, is owners) []Move {
	var kept []Move
	told := map[[2]string]bool{}
	for _, m := range moves {
		way := [2]string{m.From, m.Member}
		if _, pool := is[subject{true, m.Instance}]; !pool || m.Token != 0 || handed[way] <= maxApart {
			kept = append(kept, m)
			continue
		}
		if !told[way] {
			told[way] = true
			m.Instance, m.Reason = "pool", strconv.Itoa(handed[way])+" addresses "+m.Reason
			kept = append(kept, m)
		}
	}
	return kept
}

// cameFrom says from whom an owner took over.
func cameFrom(from string, present func(string) bool) string {
	switch {
	case from == "":
		return ""
	case !present(from):
		return "from " + from + ", whose lease ended"
	}
	return "from " + from
}

// merge puts the moves that were told and those that this process saw together: newest
// first, each once, at most maxMoves. A move that a member told and this process saw is
// recognised by the fencing token; the member tells why, and this process from whom.
func merge(told, saw []Move) []Move {
	type key struct {
		instance string
		token    int64
	}
	seen := map[key]Move{}
	for _, m := range saw {
		if m.Token != 0 {
			seen[key{m.Instance, m.Token}] = m
		}
	}
	var all []Move
	by := map[Move]bool{}
	add := func(m Move) {
		id := m
		id.Reason, id.From, id.At = "", "", m.At.UTC().Round(0)
		if m.Token != 0 {
			id.At = time.Time{}
		}
		if !by[id] {
			by[id] = true
			all = append(all, m)
		}
	}
	for _, m := range told {
		if s, both := seen[key{m.Instance, m.Token}]; both && s.Member == m.Member && m.Token != 0 {
			m.From = cmp.Or(s.From, m.From)
			m.Reason = reasons(m.Reason, s.Reason)
		}
		add(m)
	}
	for _, m := range saw {
		add(m)
	}
	slices.SortStableFunc(all, func(a, b Move) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.Instance, b.Instance), strings.Compare(a.Member, b.Member))
	})
	return all[:min(len(all), maxMoves)]
}

// reasons puts together why a member became the owner, and from whom.
func reasons(told, saw string) string {
	switch {
	case saw == "" || told == saw:
		return told
	case told == "" || told == "elected": // which every owner is
		return saw
	}
	return told + "; " + saw
}

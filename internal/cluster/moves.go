package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/election"
)

// maxMoves bounds the moves of a View, and those that a process remembers of what it saw.
const maxMoves = 100

// maxFormer bounds of how many instances without an owner the former one is remembered.
const maxFormer = 1000

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
	member   string
	token    int64
	released int64     // the token that an owner last gave up by its own will
	since    time.Time // when this process saw it, zero for what was there at its start
}

// ownersOf returns who has what by the keys.
func ownersOf(keys *election.ClusterKeys) owners {
	all := owners{}
	for name, queue := range keys.Instances {
		if len(queue) > 0 {
			all[subject{name: name}] = holder{member: queue[0].Member, token: queue[0].Token, released: keys.Released[name]}
		}
	}
	if keys.Pool != nil {
		for address, h := range keys.Pool.Held {
			all[subject{true, address}] = holder{member: h.Member, token: h.Token, released: h.Released}
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
		if owned && before.member == h.member && (s.pool || before.token == h.token) {
			h.since = before.since
			is[s] = h
			if before.token != h.token {
				last[s] = h
			}
			continue
		}
		h.since = now
		is[s] = h
		if before.member == "" {
			before = last[s]
		}
		last[s] = h
		if before.member == h.member { // it began anew, or took its own back
			before = holder{}
		}
		m := Move{At: now, Instance: s.name, Member: h.member, State: "MASTER", From: before.member, Reason: ending(before, h, present), Token: h.token}
		if s.pool {
			m.Token = 0 // a member tells one state of the pool, without a token
			if m.From != "" {
				handed[[2]string{m.From, m.Member}]++
			}
		}
		moves = append(moves, m)
	}
	if len(last) > len(is)+maxFormer {
		maps.DeleteFunc(last, func(s subject, _ holder) bool { _, there := is[s]; return !there })
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
			m.Instance, m.Reason = "pool", strconv.Itoa(handed[way])+" addresses: "+m.Reason
			kept = append(kept, m)
		}
	}
	return kept
}

// ending says how the former owner of what another one has now came to its end.
func ending(former, is holder, present func(string) bool) string {
	switch {
	case former.member == "":
		return ""
	case former.token != 0 && former.token == is.released:
		return "handed over by " + former.member
	case !present(former.member):
		return "the lease of " + former.member + " ended"
	}
	return former.member + " lost its key in etcd" // with a lease before its present one, or by another hand
}

// merge puts the moves that were told and those that this process saw together: newest
// first, each once, at most maxMoves. The first of several that a member told of one change
// counts. A move that was told and seen is recognised by its fencing token.
func merge(told, saw []Move) []Move {
	all, known := explained(told, saw), map[Move]bool{}
	id := func(m Move) Move {
		m.Reason, m.From, m.Token, m.At = "", "", 0, m.At.UTC().Round(0)
		return m
	}
	all = slices.DeleteFunc(all, func(m Move) bool {
		twice := known[id(m)]
		known[id(m)] = true
		return twice
	})
	for _, m := range saw {
		if !known[id(m)] && !slices.ContainsFunc(all, m.same) {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b Move) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.Instance, b.Instance), strings.Compare(a.Member, b.Member))
	})
	return all[:min(len(all), maxMoves)]
}

// same reports whether two moves are one, by the token of the new owner.
func (m Move) same(o Move) bool {
	return m.Token != 0 && m.Token == o.Token && m.Instance == o.Instance && m.Member == o.Member && m.State == o.State
}

// explained returns the moves that were told with what was seen of them: the member tells
// why, and the one that saw it from whom.
func explained(told, saw []Move) []Move {
	all := append([]Move{}, told...)
	for i := range all {
		if k := slices.IndexFunc(saw, all[i].same); k >= 0 {
			all[i].From = cmp.Or(saw[k].From, all[i].From)
			all[i].Reason = reasons(all[i].Reason, saw[k].Reason)
		}
	}
	return all
}

// reasons puts together why a member became the owner, and how the former owner ended.
func reasons(told, saw string) string {
	switch {
	case saw == "" || strings.HasSuffix(told, saw):
		return told
	case told == "" || told == "elected": // which every owner is
		return saw
	}
	return told + "; " + saw
}

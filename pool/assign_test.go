package pool_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"berth/pool"
)

// address returns the nth address of the tests; every third is an IPv6 address.
func address(n int) netip.Addr {
	if n%3 == 2 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n+1))
	}
	return netip.AddrFrom4([4]byte{192, 0, byte(2 + n/250), byte(1 + n%250)})
}

func addressesTo(n int) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, address(i))
	}
	return all
}

// scene is the input of an assignment.
type scene struct {
	members   []pool.Share
	addresses []netip.Addr
	holder    map[netip.Addr]string
}

func (s scene) assign() map[netip.Addr]string { return pool.Assign(s.members, s.addresses, s.holder) }

// randomScene has members of equal weight in half of the cases. Some addresses have no
// holder, and some a holder that is not among the members.
func randomScene(r *rand.Rand, members, addresses, weight int) scene {
	s := scene{addresses: addressesTo(r.IntN(addresses + 1)), holder: map[netip.Addr]string{}}
	equal := r.IntN(2) == 0
	for i := range r.IntN(members + 1) {
		m := pool.Share{Member: fmt.Sprintf("m%d", i), Weight: 1}
		if !equal {
			m.Weight = r.IntN(weight + 1)
		}
		s.members = append(s.members, m)
	}
	for _, a := range s.addresses {
		if n := r.IntN(len(s.members) + 3); n < len(s.members)+1 {
			s.holder[a] = fmt.Sprintf("m%d", n) // the last is absent
		}
	}
	return s
}

func counts(assigned map[netip.Addr]string) map[string]int {
	n := map[string]int{}
	for _, m := range assigned {
		n[m]++
	}
	return n
}

// check returns what is wrong with an assignment, "" if nothing is.
func (s scene) check(assigned map[netip.Addr]string) string {
	sum, weight := 0, map[string]int{}
	for _, m := range s.members {
		if m.Weight > 0 {
			weight[m.Member] = m.Weight
			sum += m.Weight
		}
	}
	if sum == 0 {
		if len(assigned) > 0 {
			return fmt.Sprintf("want nothing assigned without members, got %v", assigned)
		}
		return ""
	}
	if len(assigned) != len(s.addresses) {
		return fmt.Sprintf("want %d addresses assigned, got %d", len(s.addresses), len(assigned))
	}
	n := counts(assigned)
	for m := range n {
		if weight[m] == 0 {
			return fmt.Sprintf("want nothing assigned to %s, which is absent or has no weight", m)
		}
	}
	for m, w := range weight {
		// Less than one away from len*w/sum.
		if d := n[m]*sum - len(s.addresses)*w; d >= sum || d <= -sum {
			return fmt.Sprintf("%s of weight %d of %d: %d of %d addresses", m, w, sum, n[m], len(s.addresses))
		}
	}
	return ""
}

// moves counts the addresses that a member which could go on has to give up.
func (s scene) moves(assigned map[netip.Addr]string) int {
	n := 0
	for a, h := range s.holder {
		if slices.ContainsFunc(s.members, func(m pool.Share) bool { return m.Member == h && m.Weight > 0 }) && assigned[a] != h {
			n++
		}
	}
	return n
}

const runs = 3000

func TestEveryAddressHasAMemberAndEveryMemberItsShare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range runs {
		s := randomScene(r, 6, 40, 7)
		if wrong := s.check(s.assign()); wrong != "" {
			t.Fatalf("%+v: %s", s, wrong)
		}
	}
}

// fewest returns the least number of moves among all assignments that give every member
// its share, found by trying them all.
func (s scene) fewest() int {
	least := -1
	assigned := map[netip.Addr]string{}
	var try func(n int)
	try = func(n int) {
		if n == len(s.addresses) {
			if s.check(assigned) == "" {
				if m := s.moves(assigned); least < 0 || m < least {
					least = m
				}
			}
			return
		}
		for _, m := range s.members {
			assigned[s.addresses[n]] = m.Member
			try(n + 1)
		}
		delete(assigned, s.addresses[n])
	}
	try(0)
	return max(least, 0)
}

func TestNoAddressMovesThatCouldStay(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range runs / 10 {
		s := randomScene(r, 3, 7, 3)
		if len(s.members) == 0 {
			continue
		}
		if want, got := s.fewest(), s.moves(s.assign()); want != got {
			t.Fatalf("%+v: want %d moves, got %d", s, want, got)
		}
	}
}

func TestTheOrderOfTheInputDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range runs / 3 {
		s := randomScene(r, 6, 40, 7)
		want := s.assign()
		r.Shuffle(len(s.members), func(i, j int) { s.members[i], s.members[j] = s.members[j], s.members[i] })
		r.Shuffle(len(s.addresses), func(i, j int) { s.addresses[i], s.addresses[j] = s.addresses[j], s.addresses[i] })
		s.addresses = append(s.addresses, s.addresses...)
		if got := s.assign(); !maps.Equal(want, got) {
			t.Fatalf("%+v: want %v, got %v", s, want, got)
		}
	}
}

// Members release and take addresses one by one, in any order, and each step is a
// revision at which all compute the assignment anew.
func TestTheAssignmentStaysTheSameWhileItIsCarriedOut(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range runs / 3 {
		s := randomScene(r, 5, 30, 4)
		want := s.assign()
		for len(want) > 0 {
			var next []netip.Addr
			for _, a := range s.addresses {
				if s.holder[a] != want[a] {
					next = append(next, a)
				}
			}
			if len(next) == 0 {
				break
			}
			a := next[r.IntN(len(next))]
			if s.holder[a] == "" {
				s.holder[a] = want[a]
			} else {
				delete(s.holder, a) // it is given up before another member takes it
			}
			if got := s.assign(); !maps.Equal(want, got) {
				t.Fatalf("%+v: after a change of %v: want %v, got %v", s, a, want, got)
			}
		}
	}
}

func TestAMemberThatLeavesMovesItsOwnAddressesAlone(t *testing.T) {
	s := scene{members: []pool.Share{{Member: "a", Weight: 1}, {Member: "b", Weight: 1}, {Member: "c", Weight: 1}}, addresses: addressesTo(10)}
	s.holder = s.assign()
	if want, got := map[string]int{"a": 4, "b": 3, "c": 3}, counts(s.holder); !maps.Equal(want, got) {
		t.Fatalf("want %v, got %v", want, got)
	}
	before := s.holder
	s.members = s.members[:2]
	after := s.assign()
	for a, m := range before {
		if m != "c" && after[a] != m {
			t.Errorf("want %v to stay with %s, it goes to %s", a, m, after[a])
		}
	}
	s.members, s.holder = append(s.members, pool.Share{Member: "c", Weight: 1}), after
	if got := s.moves(s.assign()); got != 3 {
		t.Errorf("want three addresses to move to the member that comes back, got %d", got)
	}
}

// The list comes in several transactions, and members begin one after the other: an
// address that is being taken must not be assigned to another member at each of them.
func TestMostAddressesWithoutAHolderStayWithTheirMember(t *testing.T) {
	members := []pool.Share{{Member: "a", Weight: 1}, {Member: "b", Weight: 1}, {Member: "c", Weight: 1}, {Member: "d", Weight: 1}, {Member: "e", Weight: 1}}
	list := addressesTo(1000)
	for _, tt := range []struct {
		name          string
		before, after scene
		most          int // addresses that may change their member, of those that need not
	}{
		{"the list grows", scene{members: members, addresses: list[:640]}, scene{members: members, addresses: list[:768]}, 640 / 10},
		{"a member begins", scene{members: members[:4], addresses: list}, scene{members: members, addresses: list}, 800 / 10},
		{"the list shrinks", scene{members: members, addresses: list}, scene{members: members, addresses: list[:640]}, 640 / 10},
	} {
		changed := 0
		after := tt.after.assign()
		for a, m := range tt.before.assign() {
			if after[a] != "" && after[a] != m && after[a] != "e" {
				changed++
			}
		}
		if changed > tt.most {
			t.Errorf("%s: want %d addresses with another member at the most, got %d", tt.name, tt.most, changed)
		}
	}
}

// Addresses that some members refuse have another member, at the cost of an even spread, and
// the assignment comes to rest.
func TestAnAddressThatAMemberRefusesGoesToAnother(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range runs / 3 {
		s := randomScene(r, 5, 30, 4)
		refusers := map[netip.Addr]int{}
		able := 0
		for i := range s.members {
			if s.members[i].Weight > 0 {
				able++
			}
			s.members[i].Refuses = map[netip.Addr]bool{}
			for _, a := range s.addresses {
				if r.IntN(6) == 0 && s.members[i].Weight > 0 {
					s.members[i].Refuses[a] = true
					refusers[a]++
				}
			}
		}
		for rounds := 0; ; rounds++ {
			assigned := s.assign()
			for _, a := range s.addresses {
				m, ok := assigned[a]
				if ok != (refusers[a] < able) {
					t.Fatalf("%+v: %v is refused by %d of %d, and assigned to %q", s, a, refusers[a], able, m)
				}
				if i := slices.IndexFunc(s.members, func(o pool.Share) bool { return o.Member == m }); ok && s.members[i].Refuses[a] {
					t.Fatalf("%+v: %v is assigned to %s, which refuses it", s, a, m)
				}
			}
			if maps.Equal(assigned, s.holder) {
				break
			}
			if rounds == 10 {
				t.Fatalf("%+v: want that the assignment comes to rest, got %v", s, assigned)
			}
			s.holder = assigned
		}
	}
}

func FuzzAssign(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(10), uint8(1))
	f.Add(uint64(9), uint8(5), uint8(200), uint8(250))
	f.Fuzz(func(t *testing.T, seed uint64, members, addresses, weight uint8) {
		s := randomScene(rand.New(rand.NewPCG(seed, 0)), int(members), int(addresses), int(weight))
		assigned := s.assign()
		if wrong := s.check(assigned); wrong != "" {
			t.Errorf("%+v: %s", s, wrong)
		}
		if len(assigned) == 0 {
			return
		}
		s.holder = assigned
		if again := s.assign(); !maps.Equal(assigned, again) {
			t.Errorf("%+v: want that what is carried out stays, got %v", s, again)
		}
	})
}

// All addresses of five members, one of which has just left.
func BenchmarkAssign(b *testing.B) {
	s := scene{addresses: addressesTo(1000)}
	for i := range 5 {
		s.members = append(s.members, pool.Share{Member: fmt.Sprintf("m%d", i), Weight: 1 + i%2})
	}
	s.holder = s.assign()
	s.members = s.members[:4]
	b.ReportAllocs()
	for b.Loop() {
		s.assign()
	}
}

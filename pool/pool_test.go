package pool_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/pool"
	"berth/vrrp"
)

// names returns the keys of the first n addresses below ips/.
func names(n int) (all []string) {
	for _, a := range addressesTo(n) {
		all = append(all, a.String())
	}
	return all
}

// want waits until nothing happens any more, and checks how many addresses each member
// has.
func (e *etcd) want(holders string) {
	e.t.Helper()
	synctest.Wait()
	if got := e.holders(); got != holders {
		e.t.Errorf("want %s, got %s", holders, got)
	}
	e.check()
}

// count returns how many addresses a member has.
func (e *etcd) count(member string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.held {
		if m == member {
			n++
		}
	}
	return n
}

// wantSpread is want for a spread over members in any order, the least first.
func (e *etcd) wantSpread(spread string) {
	e.t.Helper()
	synctest.Wait()
	var got []string
	for part := range strings.FieldsSeq(e.holders()) {
		_, n, _ := strings.Cut(part, ":")
		got = append(got, n)
	}
	slices.Sort(got)
	if strings.Join(got, " ") != spread {
		e.t.Errorf("want %s, got %s", spread, got)
	}
	e.check()
}

func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		a, b, c := e.start("a", nil), e.start("b", nil), e.start("c", nil)
		e.wantSpread("3 3 4")
		moves, own := e.moves, e.count("c")
		c.stop(errStop)
		e.want("a:5 b:5")
		if e.moves-moves != own {
			t.Errorf("want that the %d addresses of the member that left moved, %d addresses moved", own, e.moves-moves)
		}
		moves = e.moves
		c = e.start("c", nil)
		e.wantSpread("3 3 4")
		if e.moves-moves != 3 || e.count("c") != 3 {
			t.Errorf("want that three addresses moved to the new member, %d addresses moved", e.moves-moves)
		}
		for _, h := range []*host{a, b, c} {
			h.stop(errStop)
		}
		e.want("")
		if len(e.nodes) > 0 {
			t.Errorf("want no member, got %v", e.nodes)
		}
	})
}

func TestAddressesAreAddedAndRetracted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		a, b := e.start("a", nil), e.start("b", nil)
		e.want("")
		if in := a.status(); in.State != vrrp.Backup {
			t.Errorf("want that a member without addresses waits, got %+v", in)
		}
		e.list(true, "192.0.2.1", "192.0.2.2/24", "2001:db8::1")
		e.want("a:2 b:1")
		if in := a.status(); in.State != vrrp.Master || len(in.Addresses) != 2 || in.Owner != "a" ||
			in.Reason != "2 of 3 addresses here; assigned to this member: 2; members: 2; without a member: 0" {
			t.Errorf("want the addresses in the status, got %+v", in)
		}
		e.list(false, "192.0.2.1")
		e.want("a:1 b:1")
		// The same address with another length is bound anew.
		e.change(func() { delete(e.ips, "192.0.2.2/24"); e.ips["192.0.2.2"] = true })
		e.want("a:1 b:1")
		for _, h := range []*host{a, b} {
			for _, in := range h.status().Addresses {
				if in.Address == "192.0.2.2/24" {
					t.Error("want the new prefix length")
				}
			}
		}
		time.Sleep(time.Hour)
		e.list(false, "192.0.2.2", "2001:db8::1")
		e.want("")
		a.stop(errStop)
		b.stop(errStop)
	})
}

// A reason that has a number in it does not fill the log.
func TestWhyAHostIsNotAbleIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		var health condition.Value
		a := e.start("a", func(o *pool.Options) { o.Able = []condition.Condition{&health} })
		for i := range 20 {
			health.Set(false, fmt.Sprintf("load: %d", i))
			e.want("")
		}
		if got := a.lines("pool-member-unable"); len(got) != 1 {
			t.Errorf("want one line, got %q", got)
		}
		a.stop(errStop)
	})
}

func TestAHostThatIsNotAbleHasNoKeyAndNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		var health condition.Value
		health.Set(false, "not healthy yet")
		a := e.start("a", func(o *pool.Options) { o.Able = []condition.Condition{&health} })
		b := e.start("b", nil)
		e.want("b:10")
		if in := a.status(); in.State != vrrp.Fault || in.Error != "not healthy yet" || e.nodes["a"] != nil {
			t.Errorf("want no part in the pool, with the reason, got %+v", in)
		}
		health.Set(true, "")
		e.want("a:5 b:5")
		health.Set(false, "the backend does not answer")
		e.want("b:10")
		if in := a.status(); in.State != vrrp.Fault || in.Reason != "the backend does not answer" || e.nodes["a"] != nil {
			t.Errorf("want no part in the pool, with the reason, got %+v", in)
		}
		if got := strings.Join(a.lines("pool-member-unable"), "\n"); !strings.Contains(got, "the backend does not answer") || !strings.Contains(got, "takes part in the pool") {
			t.Errorf("want the reason and the end in the log, got\n%s", got)
		}
		health.Set(true, "")
		b.Set(false, "interface eth0 has no carrier")
		e.want("a:10")
		a.stop(errStop)
		b.stop(errStop)
	})
}

func TestADrainedMemberCountsAsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		a, b := e.start("a", nil), e.start("b", nil)
		e.want("a:5 b:5")
		e.change(func() { e.drained["a"] = true })
		e.want("b:10")
		if in := a.status(); in.State != vrrp.Fault || !strings.Contains(in.Reason, "drained") || e.nodes["a"] != nil {
			t.Errorf("want the reason in the status, got %+v", in)
		}
		a.stop(errStop)
		a = e.start("a", nil) // it stays drained
		e.want("b:10")
		e.change(func() { delete(e.drained, "a") })
		e.want("a:5 b:5")
		a.stop(errStop)
		b.stop(errStop)
	})
}

func TestMembersHaveAddressesInProportionToTheirWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		a := e.start("a", func(o *pool.Options) { o.Weight = 4 })
		b := e.start("b", nil)
		e.want("a:8 b:2")
		a.stop(errStop)
		b.stop(errStop)
	})
}

func TestKeysThatAreNoAddressesAreToldOnceAndHaveNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, "192.0.2.1", "192.0.2.1/32", "::ffff:192.0.2.1", "2001:DB8::1", "2001:db8:0::1", "web", "192.0.2.7/33", "127.0.0.1")
		a := e.start("a", func(o *pool.Options) {
			o.Taken = map[netip.Addr]string{netip.MustParseAddr("192.0.2.9"): "election.instances: api"}
		})
		e.want("a:2")
		e.list(true, "192.0.2.2", "192.0.2.9")
		e.change(func() { e.nodes["x"] = []byte("healthy") })
		e.want("a:3")
		want := []string{"ips/127.0.0.1", "ips/192.0.2.7/33", "ips/web", "nodes/x"}
		got := a.lines("pool-key-foreign")
		if len(got) != len(want) {
			t.Fatalf("want a line for each of %q, got %q", want, got)
		}
		for i := range want {
			if !strings.Contains(got[i], "; key: "+want[i]+"; reason: ") {
				t.Errorf("want a line about %s, got %s", want[i], got[i])
			}
		}
		if got := a.lines("pool-address-taken"); len(got) != 1 || !strings.Contains(got[0], "192.0.2.9; reason: it stands in election.instances: api") {
			t.Errorf("want one line about the address of the instance, got %q", got)
		}
		a.stop(errStop)
	})
}

// A list that is gone with etcd's history was retracted by nobody.
func TestAListThatVanishesWithEtcdsHistoryStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		dir := t.TempDir()
		a := e.start("a", func(o *pool.Options) { o.Record = filepath.Join(dir, "a") })
		b := e.start("b", func(o *pool.Options) { o.Record = filepath.Join(dir, "b") })
		e.want("a:5 b:5")
		moves := e.moves
		e.change(func() { e.era++; clear(e.ips) })
		e.want("a:5 b:5")
		if e.moves != moves {
			t.Errorf("want no address moved, %d moved", e.moves-moves)
		}
		if got := a.lines("pool-list-lost"); len(got) != 1 || !strings.Contains(got[0], "berth pool add") {
			t.Errorf("want one line with the cure, got %q", got)
		}
		// A member that never knew the list gets none of its addresses, and takes none.
		c := e.start("c", nil)
		e.want("a:5 b:5")
		// A restart during the outage knows the list, from its own record.
		b.stop(errStop)
		e.want("a:10")
		b = e.start("b", func(o *pool.Options) { o.Record = filepath.Join(dir, "b") })
		e.want("a:5 b:5")
		if got := b.lines("pool-list-lost"); len(got) != 1 {
			t.Errorf("want the line of a process that starts meanwhile, got %q", got)
		}
		e.list(true, names(9)...)
		e.want("a:3 b:3 c:3")
		if got := a.lines("pool-list-lost"); len(got) != 2 || !strings.Contains(got[1], "the list of the pool is in etcd again") {
			t.Errorf("want the end in the log, got %q", got)
		}
		e.list(false, names(9)...) // by a person
		e.want("")
		for _, h := range []*host{a, b, c} {
			h.stop(errStop)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(text) != `{"addresses":[]}`+"\n" {
			t.Errorf("want the record of an empty list, got %s, %v", text, err)
		}
	})
}

func TestASuccessorMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		a, b := e.start("a", nil), e.start("b", nil)
		e.want("a:5 b:5")
		held := maps.Clone(e.held)
		a.stop(fmt.Errorf("reload: %w", election.ErrLeave))
		synctest.Wait()
		if !maps.Equal(held, e.held) {
			t.Errorf("want that the keys stay, got %v", e.held)
		}
		// While no process runs an address is retracted.
		gone := ""
		for address, m := range held {
			if m == "a" {
				gone = address
			}
		}
		e.list(false, gone)
		a = e.start("a", nil)
		e.want("a:4 b:5")
		delete(held, gone)
		if !maps.Equal(held, e.held) {
			t.Errorf("want %v, got %v", held, e.held)
		}
		a.stop(errStop)
		b.stop(errStop)
	})
}

// With claim every host that is able and has lost etcd has all addresses; a host that
// has etcd only those that are assigned to it.
func TestHostsWithoutEtcdClaimAllAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(10)...)
		var health condition.Value
		health.Set(true, "")
		alone := func(o *pool.Options) { o.Alone = true }
		a := e.start("a", func(o *pool.Options) { o.Alone = true; o.Able = []condition.Condition{&health} })
		b := e.start("b", alone)
		e.want("a:5 b:5")
		b.stop(errStop)
		e.want("a:10")
		health.Set(false, "the backend does not answer")
		e.want("")
		// etcd is gone.
		e.change(func() { a.behind, a.lost = true, true })
		synctest.Wait()
		if len(e.bound) > 0 {
			t.Errorf("want no address claimed by an unhealthy host, got %v", e.bound)
		}
		health.Set(true, "")
		synctest.Wait()
		if len(e.bound) != 10 {
			t.Errorf("want all addresses claimed, got %v", e.bound)
		}
		if in := a.status(); in.State != vrrp.Master || len(in.Addresses) != 10 {
			t.Errorf("want them in the status, got %+v", in)
		}
		a.stop(errStop)
	})
}

// All begin at the same instant, and every few moments one of them fails, leaves or
// comes back.
func TestNoAddressEverHasTwoOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		e := newEtcd(t)
		hosts := map[string]*host{}
		for range 300 {
			name := string(rune('a' + r.IntN(5)))
			h := hosts[name]
			switch n := r.IntN(6); {
			case h == nil:
				hosts[name] = e.start(name, nil)
			case n == 0:
				h.stop(errStop)
				delete(hosts, name)
			case n == 1:
				h.Set(false, "link down")
			case n == 2:
				e.change(func() {
					e.drained[name] = !e.drained[name]
					maps.DeleteFunc(e.drained, func(_ string, on bool) bool { return !on })
				})
			case n == 3:
				e.list(r.IntN(2) == 0, names(30)[r.IntN(30):]...)
			default:
				h.Set(true, "")
			}
			if r.IntN(3) == 0 {
				synctest.Wait()
				e.check()
			}
		}
		e.list(true, names(30)...)
		e.change(func() { clear(e.drained) })
		for i := range 5 {
			name := string(rune('a' + i))
			if hosts[name] == nil {
				hosts[name] = e.start(name, nil)
			}
			hosts[name].Set(true, "")
		}
		e.want("a:6 b:6 c:6 d:6 e:6")
		for _, h := range hosts {
			h.stop(errStop)
		}
		e.want("")
	})
}

// Clients on the other side of a cut know the hosts that had the addresses there.
func TestAddressesAreAnnouncedAnewWhenAMemberComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(2)...)
		a, b := e.start("a", nil), e.start("b", nil)
		e.want("a:1 b:1")
		a.announced = 0
		b.stop(errStop)
		e.list(true, names(3)...)
		e.want("a:3")
		if a.announced != 0 {
			t.Errorf("want no new announcements when a member leaves, and when the list changes, got %d", a.announced)
		}
		b = e.start("b", nil)
		synctest.Wait()
		if a.announced != 1 {
			t.Errorf("want new announcements when a member comes, once, got %d", a.announced)
		}
		b.stop(errStop)
		a.stop(errStop)
	})
}

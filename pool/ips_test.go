package pool_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
	"berth/internal/etcdtest"
	"berth/ips"
	"berth/pool"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var _ ips.Service = (*pool.IPs)(nil)

// keys changes the list of the fake.
type keys struct {
	*etcd
	err error
}

func (k keys) AddNew(_ context.Context, ip vrrp.FloatingIP) (added bool, err error) {
	k.change(func() {
		if added = !k.ips[ip.Addr().String()]; added {
			k.ips[ip.Addr().String()] = true
		}
	})
	return added, k.err
}

func (k keys) Remove(_ context.Context, texts []string) ([]pool.Change, error) {
	there := false
	k.change(func() {
		there = k.ips[texts[0]]
		delete(k.ips, texts[0])
	})
	if k.err == nil && !there {
		return nil, fmt.Errorf("remove %s: %w", texts[0], pool.ErrAbsent)
	}
	return nil, k.err
}

// list is what the API of a host lists.
func (h *host) list() string {
	var lines []string
	for _, a := range pool.NewIPs(h.pool, keys{etcd: h.etcd}).List() {
		event := ""
		if a.LastEvent != nil {
			event = string(a.LastEvent.Event)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s: %s; %s", a.ID, a.IP, a.Status, a.Owner, event, a.Reason))
	}
	return strings.Join(lines, "\n")
}

func (h *host) wantList(what, want string) {
	h.t.Helper()
	synctest.Wait()
	if got := h.list(); got != want {
		h.t.Errorf("%s: %s lists\n%s\nwant\n%s", what, h.name, got, want)
	}
}

func TestTheListOfAPoolAsAddressesOfAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, "2001:db8::1", "192.0.2.1/24")
		var health condition.Value
		health.Set(true, "")
		a := e.start("a", func(o *pool.Options) { o.Able = []condition.Condition{&health} })
		a.wantList("alone", "vip-192.0.2.1 192.0.2.1/24 ACTIVATED a: elected; \nvip-2001:db8::1 2001:db8::1/128 ACTIVATED a: elected; ")
		s := pool.NewIPs(a.pool, keys{etcd: e})
		one, err := s.Get("2001:DB8::1")
		if err != nil || one.ID != "vip-2001:db8::1" || one.Since.IsZero() || one.LastEvent == nil || !one.LastEvent.At.Equal(one.Since) {
			t.Errorf("want the address with the time of its state, got %+v, %v", one, err)
		}
		time.Sleep(time.Minute)
		if again, _ := s.Get("vip-2001:db8::1"); !again.Since.Equal(one.Since) {
			t.Errorf("want that the state is as old as before, %v, got %v", one.Since, again.Since)
		}
		b := e.start("b", nil)
		a.wantList("beside another", "vip-192.0.2.1 192.0.2.1/24 ACTIVATED a: elected; \nvip-2001:db8::1 2001:db8::1/128 STANDBY b: demoted; the address is assigned to b")
		b.wantList("the other", "vip-192.0.2.1 192.0.2.1/24 STANDBY a: demoted; the address is assigned to a\nvip-2001:db8::1 2001:db8::1/128 ACTIVATED b: elected; ")
		health.Set(false, "the backend does not answer")
		a.wantList("unhealthy", "vip-192.0.2.1 192.0.2.1/24 FAILING b: health_check_fail; the backend does not answer\n"+
			"vip-2001:db8::1 2001:db8::1/128 FAILING b: health_check_fail; the backend does not answer")
		e.change(func() { e.drained["a"] = true })
		health.Set(true, "")
		a.wantList("drained", "vip-192.0.2.1 192.0.2.1/24 FAILING b: health_check_fail; this member is drained (berth pool drain --undo ends that)\n"+
			"vip-2001:db8::1 2001:db8::1/128 FAILING b: health_check_fail; this member is drained (berth pool drain --undo ends that)")
		b.Set(false, "link down")
		b.stop(errStop)
		e.change(func() { delete(e.drained, "a") })
		a.wantList("alone again", "vip-192.0.2.1 192.0.2.1/24 ACTIVATED a: elected; \nvip-2001:db8::1 2001:db8::1/128 ACTIVATED a: elected; ")
		e.list(false, "2001:db8::1", "192.0.2.1/24")
		a.wantList("nothing", "")
		if got := s.List(); got == nil {
			t.Error("want an empty list, got nil")
		}
		a.stop(errStop)
	})
}

func TestWhyAMemberCannotServeAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		taken, refused, unbindable := "192.0.2.1", "192.0.2.2", "192.0.2.3"
		a := e.start("a", func(o *pool.Options) {
			o.Taken = map[netip.Addr]string{netip.MustParseAddr(taken): "election.instances: api"}
		})
		e.mu.Lock()
		a.refuse = map[netip.Addr]bool{netip.MustParseAddr(refused): true}
		a.unbindable = map[netip.Addr]bool{netip.MustParseAddr(unbindable): true}
		e.mu.Unlock()
		e.list(true, taken, refused, unbindable)
		time.Sleep(5 * time.Second)
		a.wantList("each for another reason", "vip-192.0.2.1 192.0.2.1/32 FAILING : health_check_fail; it stands in election.instances: api\n"+
			"vip-192.0.2.2 192.0.2.2/32 FAILING : health_check_fail; manage 192.0.2.2/32: net.ipv4.conf.eth0.promote_secondaries is 0\n"+
			"vip-192.0.2.3 192.0.2.3/32 FAILING : health_check_fail; addresses: bind 192.0.2.3/32: permission denied")
		a.stop(errStop)
	})
}

// The states are those of LinK's machine: an address boots until etcd was read, and under
// claim a fault makes an owner.
func TestAnAddressBootsAndAMemberWithoutEtcdClaimsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, "192.0.2.1")
		e.rev = 0 // nothing was read yet
		record := t.TempDir() + "/pool"
		a := e.start("a", func(o *pool.Options) { o.Record = record })
		a.wantList("nothing read", "")
		e.rev = 1
		e.change(func() {})
		a.wantList("read", "vip-192.0.2.1 192.0.2.1/32 ACTIVATED a: elected; ")
		a.stop(errStop)
		e.mu.Lock()
		e.rev = 0
		e.mu.Unlock()
		a = e.start("a", func(o *pool.Options) { o.Record = record })
		a.wantList("with the list of the process before", "vip-192.0.2.1 192.0.2.1/32 BOOTING : ; waiting for etcd")
		a.stop(errStop)
		e.mu.Lock()
		e.rev = 1
		e.mu.Unlock()
		a = e.start("a", func(o *pool.Options) { o.Record, o.Alone = record, true })
		b := e.start("b", func(o *pool.Options) { o.Alone = true })
		synctest.Wait()
		without := a // etcd is lost to the one that does not have the address
		if strings.Contains(a.list(), "ACTIVATED") {
			without = b
		}
		without.wantList("with etcd", strings.ReplaceAll("vip-192.0.2.1 192.0.2.1/32 STANDBY X: demoted; the address is assigned to X", "X", map[bool]string{true: "b", false: "a"}[without == a]))
		e.change(func() { a.behind, a.lost, b.behind, b.lost = true, true, true, true })
		e.mu.Lock()
		e.held, e.bound = map[string]string{}, map[netip.Addr]string{} // the other host is cut off too
		e.mu.Unlock()
		without.wantList("without etcd", "vip-192.0.2.1 192.0.2.1/32 ACTIVATED "+without.name+": fault; ")
		a.stop(errStop)
		b.stop(errStop)
	})
}

func TestAddressesOfAPoolAreAddedAndRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		a := e.start("a", nil)
		s, ctx := pool.NewIPs(a.pool, keys{etcd: e}), t.Context()
		synctest.Wait()
		added, err := s.Add(ctx, ips.Spec{IP: "192.0.2.1"})
		if err != nil || added.ID != "vip-192.0.2.1" || added.IP != "192.0.2.1/32" {
			t.Errorf("want the address, got %+v, %v", added, err)
		}
		if _, err := s.Add(ctx, ips.Spec{IP: "192.0.2.1/32"}); !errors.Is(err, ips.ErrAssigned) {
			t.Errorf("want ErrAssigned, got %v", err)
		}
		e.want("a:1")
		if err := s.Lock(ctx, "vip-192.0.2.1"); err != nil {
			t.Errorf("lock: %v", err)
		}
		port := []ips.Check{{Type: ips.TCP, Host: "127.0.0.1", Port: 80}}
		none, second := []ips.Check{}, 1
		for _, tt := range []struct {
			name string
			do   func() error
			cure string // "" for none
		}{
			{"a check", func() error { _, err := s.Add(ctx, ips.Spec{IP: "192.0.2.2", Checks: port}); return err }, "pool.health"},
			{"an interval", func() error { _, err := s.Add(ctx, ips.Spec{IP: "192.0.2.2", KeepaliveInterval: 1}); return err }, "etcd.lease-ttl"},
			{"another check", func() error { _, err := s.Update(ctx, "192.0.2.1", ips.Change{Checks: &port}); return err }, "pool.health"},
			{"another interval", func() error {
				_, err := s.Update(ctx, "192.0.2.1", ips.Change{HealthcheckInterval: &second})
				return err
			}, "pool.health"},
			{"no checks", func() error { _, err := s.Update(ctx, "192.0.2.1", ips.Change{Checks: &none}); return err }, ""},
			{"failover", func() error { return s.Failover(ctx, "192.0.2.1") }, "berth pool drain MEMBER"},
		} {
			err := tt.do()
			conflict, ok := errors.AsType[*ips.ConflictError](err)
			if (tt.cure != "") != ok || ok && !strings.Contains(conflict.Text, tt.cure) || tt.cure == "" && err != nil {
				t.Errorf("%s: want the cure %q, got %v", tt.name, tt.cure, err)
			}
		}
		unknown := map[string]error{"get": second0(s.Get("vip-192.0.2.9")), "remove": s.Remove(ctx, "vip-192.0.2.9"), "update": second0(s.Update(ctx, "web", ips.Change{})),
			"lock": s.Lock(ctx, ""), "failover": s.Failover(ctx, "vip-192.0.2.9")}
		for name, err := range unknown {
			if !errors.Is(err, ips.ErrUnknown) {
				t.Errorf("%s of an unknown address: want ErrUnknown, got %v", name, err)
			}
		}
		if _, err := s.Add(ctx, ips.Spec{IP: "web"}); err == nil || !strings.Contains(err.Error(), "invalid IP") {
			t.Errorf("want the mistake, got %v", err)
		}
		down := errors.New("etcd does not answer")
		if _, err := pool.NewIPs(a.pool, keys{e, down}).Add(ctx, ips.Spec{IP: "192.0.2.7"}); !errors.Is(err, down) {
			t.Errorf("want the cause, got %v", err)
		}
		if err := pool.NewIPs(a.pool, keys{e, down}).Remove(ctx, "192.0.2.7"); !errors.Is(err, down) {
			t.Errorf("want the cause, got %v", err)
		}
		if err := s.Remove(ctx, "vip-192.0.2.1"); err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		if m := e.bound[netip.MustParseAddr("192.0.2.1")]; m != "" {
			t.Errorf("the address was removed, and %s has it", m)
		}
		e.mu.Unlock()
		a.stop(errStop)
	})
}

func second0[T any](_ T, err error) error { return err }

// A request that waits for a copy that does not come ends with its context.
func TestARequestOfThePoolEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, "192.0.2.1")
		a := e.start("a", nil)
		synctest.Wait()
		e.mu.Lock()
		a.behind = true
		e.mu.Unlock()
		s, late := pool.NewIPs(a.pool, keys{etcd: e}), errors.New("late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, late)
		defer cancel()
		if _, err := s.Add(ctx, ips.Spec{IP: "192.0.2.2"}); !errors.Is(err, late) {
			t.Errorf("want the cause, got %v", err)
		}
		if err := s.Remove(ctx, "192.0.2.1"); !errors.Is(err, late) {
			t.Errorf("want the cause, got %v", err)
		}
		a.stop(errStop)
	})
}

// A change of a list that etcd has lost would retract all other addresses.
func TestAListThatStandsIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.list(true, names(3)...)
		a := e.start("a", nil)
		e.want("a:3")
		e.change(func() { e.era++; clear(e.ips) })
		synctest.Wait()
		s := pool.NewIPs(a.pool, keys{etcd: e})
		if got := s.List(); len(got) != 3 {
			t.Errorf("want the last list, got %v", got)
		}
		for name, err := range map[string]error{"add": second0(s.Add(t.Context(), ips.Spec{IP: "192.0.2.77"})), "remove": s.Remove(t.Context(), names(1)[0])} {
			if c, ok := errors.AsType[*ips.ConflictError](err); !ok || !strings.Contains(c.Text, "berth pool add") {
				t.Errorf("%s: want a conflict with the cure, got %v", name, err)
			}
		}
		e.want("a:3")
		a.stop(errStop)
	})
}

// Many clients add one address to several members at once: one of them has added it.
func TestAnAddressThatManyAddAtOnceIsAddedOnce(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	e := real(t, cluster)
	c := &pool.Client{Etcd: e, Prefix: prefix}
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ip, err := ips.ParseAddress("192.0.2.1")
			added, wrong := c.AddNew(t.Context(), ip)
			if err != nil || wrong != nil {
				t.Error(err, wrong)
			}
			mu.Lock()
			defer mu.Unlock()
			if added {
				won++
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("want that one client has added it, %d have", won)
	}
	if ip, _ := ips.ParseAddress("192.0.2.1/24"); ip.Addr().IsValid() {
		if added, err := c.AddNew(t.Context(), ip); added || err != nil {
			t.Errorf("want that the address is there with another length, got %v, %v", added, err)
		}
	}
	r, err := e.Transact(t.Context(), clientv3.OpGet(prefix, clientv3.WithPrefix()))
	if err != nil || len(r.Responses[0].GetResponseRange().Kvs) != 1 {
		t.Errorf("want one key, got %+v, %v", r, err)
	}
}

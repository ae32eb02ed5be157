package pool_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/status"
	"berth/pool"
	"berth/refresher"
)

// crowd is members with a real etcd, and interfaces that only count.
type crowd struct {
	t     testing.TB
	etcd  *election.Etcd
	bound sync.Map // address: member
	ring  chan struct{}
}

// port is the interface of a member of the crowd.
type port struct {
	*crowd
	name string
}

func (p *port) State() (bool, string)               { return true, "" }
func (p *port) Watch(func()) func()                 { return func() {} }
func (p *port) Manage([]netip.Prefix) error         { return nil }
func (p *port) Sweep(func(netip.Prefix) bool) error { return nil }
func (p *port) Announce()                           {}

func (p *port) Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	for _, a := range addrs {
		if other, twice := p.bound.Swap(a.Addr(), p.name); twice {
			p.t.Errorf("%v on %v and %s", a, other, p.name)
		}
	}
	bound()
	p.tell()
	<-ctx.Done()
	for _, a := range addrs {
		p.bound.Delete(a.Addr())
	}
	p.tell()
	return context.Cause(ctx)
}

func (c *crowd) tell() {
	select {
	case c.ring <- struct{}{}:
	default:
	}
}

func (c *crowd) join(cluster *etcdtest.Cluster, name string) (leave func()) {
	m := &election.Member{Etcd: real(c.t, cluster), Prefix: "/berth/", PoolPrefix: prefix, Name: name, TTL: 5 * time.Second}
	m.Init()
	p := pool.New(pool.Options{Instance: "pool", Name: name, Weight: 1, Member: m, Decider: owner.Elections(m, journal.New(nil)), Interface: &port{c, name}, Status: status.NewBoard(c.t.TempDir(), status.Instance{}, journal.New(nil)),
		Addresses: func([]refresher.Report) []status.Address { return nil }})
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			if _, err := m.Begun(ctx); err != nil {
				return err
			}
			p.Prepare()
			return p.Run(ctx)
		})
	}()
	return func() {
		cancel(errStop)
		<-done
	}
}

// spread returns how many addresses the members have, the least first.
func (c *crowd) spread() []int {
	n := map[any]int{}
	c.bound.Range(func(_, m any) bool { n[m]++; return true })
	var all []int
	for _, k := range n {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// becomes waits for a spread, and returns how long that took.
func (c *crowd) becomes(want ...int) time.Duration {
	c.t.Helper()
	began, late := time.Now(), time.After(60*time.Second)
	for !slices.Equal(c.spread(), want) {
		select {
		case <-c.ring:
		case <-late:
			c.t.Fatalf("want %v, got %v", want, c.spread())
		}
	}
	return time.Since(began)
}

// Many addresses are spread over five members, which begin at the same instant with all
// keys missing.
func TestManyAddressesOverFiveMembers(t *testing.T) {
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	c := &crowd{t: t, etcd: real(t, cluster), ring: make(chan struct{}, 1)}
	var leave []func()
	for i := range 5 {
		leave = append(leave, c.join(cluster, fmt.Sprintf("m%d", i)))
	}
	five, four := slices.Repeat([]int{crowded / 5}, 5), slices.Repeat([]int{crowded / 4}, 4)
	client := &pool.Client{Etcd: c.etcd, Prefix: prefix}
	if _, err := client.Add(t.Context(), names(crowded)); err != nil {
		t.Fatal(err)
	}
	t.Logf("added: %v", c.becomes(five...))
	if _, err := client.Drain(t.Context(), "m4", false, false); err != nil {
		t.Fatal(err)
	}
	t.Logf("drained: %v", c.becomes(four...))
	if _, err := client.Drain(t.Context(), "m4", false, true); err != nil {
		t.Fatal(err)
	}
	t.Logf("back: %v", c.becomes(five...))
	go leave[4]()
	t.Logf("left: %v", c.becomes(four...))
	if _, err := client.Remove(t.Context(), names(crowded)); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed: %v", c.becomes())
	for _, end := range leave[:4] {
		end()
	}
}

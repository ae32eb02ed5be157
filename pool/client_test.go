package pool_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/pool"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const prefix = "/berth/pool/"

// real returns connections to a real etcd.
func real(t testing.TB, c *etcdtest.Cluster) *election.Etcd {
	t.Helper()
	e, err := election.NewEtcd(election.Options{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// text is what a command prints.
func text(changes []pool.Change, err error) string {
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	if err != nil {
		lines = append(lines, "error: "+err.Error())
	}
	return strings.Join(lines, "\n")
}

func TestTheCommandsOfThePool(t *testing.T) {
	e := real(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	c := &pool.Client{Etcd: e, Prefix: prefix}
	ctx := t.Context()
	put := func(key, value string) {
		t.Helper()
		if _, err := e.Transact(ctx, clientv3.OpPut(prefix+key, value)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what, want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: want\n%s\ngot\n%s", what, want, got)
		}
	}
	check("add without a member", "192.0.2.1: added; no member can serve it now", text(c.Add(ctx, []string{"192.0.2.1"})))
	put("nodes/a", `{"member":"a","node":{"member":"a","weight":1,"list":"x"}}`)
	put("nodes/b", `{"member":"b","node":{"member":"b","weight":1,"list":"x"}}`)
	put("held/192.0.2.1", `{"member":"a"}`)
	put("held/2001:db8::1", `{"member":"c"}`)
	check("add", "192.0.2.1: already in the pool; as 192.0.2.1/32; to change that, remove the address first\n2001:db8::1: added\n192.0.2.2/24: added",
		text(c.Add(ctx, []string{"192.0.2.1/24", "2001:DB8::1", "2001:db8::1", "192.0.2.2/24"})))
	check("add what is there", "192.0.2.1: already in the pool", text(c.Add(ctx, []string{"192.0.2.1/32"})))
	check("add what is not an address", `error: "web" cannot be an address of the pool: it is not an IP address with or without a prefix length, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10`,
		text(c.Add(ctx, []string{"192.0.2.3", "web"})))
	put("ips/web", "")
	if _, err := c.Drain(ctx, "nobody", false, false); !errors.Is(err, pool.ErrAbsent) || !strings.Contains(err.Error(), "members are: a, b") {
		t.Errorf("want that an unknown member is named with those that are known, got %v", err)
	}
	drain := func(member string, own, undo bool) string {
		ch, err := c.Drain(ctx, member, own, undo)
		return text([]pool.Change{ch}, err)
	}
	check("drain", "b: drained", drain("b", false, false))
	check("drain again", "b: already drained", drain("b", false, false))
	check("drain the last", "a: drained; no other member can serve the addresses now", drain("a", false, false))
	check("undo", "a: takes part again", drain("a", false, true))
	check("undo again", "a: not drained", drain("a", false, true))
	check("drain this host, which does not run", "d/e: drained", drain("d/e", true, false))

	all, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := all.Table(&table); err != nil {
		t.Fatal(err)
	}
	check("list", `ADDRESS       HOLDER  ASSIGNED  NOTE
192.0.2.1     a       a         -
192.0.2.2/24  -       a         waiting for a
2001:db8::1   c       a         waiting until c gives it up

MEMBER  WEIGHT  ADDRESSES        STATE
a       1       1 of 3 assigned  able
b       -       0 of 0 assigned  drained
c       -       1 of 0 assigned  not able
d/e     -       0 of 0 assigned  drained

/berth/pool/ips/web has no effect: it is not an IP address with or without a prefix length, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10
`, table.String())

	check("remove", "192.0.2.1: removed\n2001:db8::1: removed\nweb: removed\n"+
		"error: remove 192.0.2.77, x from the pool below /berth/pool/: not there; berth pool list shows what is",
		text(c.Remove(ctx, []string{"192.0.2.1/24", "2001:DB8::1", "192.0.2.77", "web", "x"})))
	if _, err := c.Remove(ctx, []string{"192.0.2.1"}); !errors.Is(err, pool.ErrAbsent) {
		t.Errorf("want an error for what is gone, got %v", err)
	}
}

// etcd refuses transactions of more than 128 operations.
func TestManyAddressesAreAddedAndRemovedAtOnce(t *testing.T) {
	e := real(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	c := &pool.Client{Etcd: e, Prefix: prefix}
	for _, step := range []struct {
		do   func() ([]pool.Change, error)
		left int
	}{
		{func() ([]pool.Change, error) { return c.Add(t.Context(), names(1000)) }, 1000},
		{func() ([]pool.Change, error) { return c.Remove(t.Context(), names(1000)) }, 0},
	} {
		changes, err := step.do()
		if err != nil || len(changes) != 1000 {
			t.Fatalf("want 1000 changes, got %d, %v", len(changes), err)
		}
		all, err := c.List(t.Context())
		if err != nil || len(all.Addresses) != step.left {
			t.Fatalf("want %d addresses, got %d, %v", step.left, len(all.Addresses), err)
		}
	}
}

func TestAListThatEtcdHasLostIsTold(t *testing.T) {
	e := real(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	if _, err := e.Transact(t.Context(), clientv3.OpPut(prefix+"nodes/a", `{"member":"a","node":{"member":"a","weight":1,"list":"x"}}`),
		clientv3.OpPut(prefix+"held/192.0.2.1", `{"member":"a"}`)); err != nil {
		t.Fatal(err)
	}
	all, err := (&pool.Client{Etcd: e, Prefix: prefix}).List(t.Context())
	if want := "etcd has lost the list with its history; members serve the last list (1 addresses) until addresses are added again"; err != nil || all.Note != want {
		t.Errorf("want %q, got %+v, %v", want, all, err)
	}
	if got := fmt.Sprint(all.Addresses); got != "[]" {
		t.Errorf("want no address, got %s", got)
	}
}

package election_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/election"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// permit lets the user of a guarded stage touch what lies below the prefixes and nothing else.
func (s *stage) permit(prefixes ...string) {
	s.Helper()
	const role = "limited"
	root := s.root()
	_, _ = root.RoleAdd(s.Context(), role)
	for _, p := range prefixes {
		if _, err := root.RoleGrantPermission(s.Context(), role, p, clientv3.GetPrefixRangeEnd(p), clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			s.Fatal(err)
		}
	}
	if _, err := root.UserGrantRole(s.Context(), user, role); err != nil {
		s.Fatal(err)
	}
	_, _ = root.UserRevokeRole(s.Context(), user, "root")
}

// A missing permission for the place of one instance stops neither the others nor the giving
// up of keys for which there is no campaign any more.
func TestAPlaceThatEtcdDoesNotTellStopsNoOther(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	root := s.root()
	lease, err := root.Grant(t.Context(), int64(3*ttl/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	const own, hidden = prefix + "elections/gone/1", elsewhere + "1"
	if err := put(t, root, own, `{"member":"a"}`, lease.ID); err != nil {
		t.Fatal(err)
	}
	s.permit(prefix)
	etcd, err := election.NewEtcd(o)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: "a", TTL: 3 * ttl, Adopt: lease.ID, Places: map[string]string{instance: elsewhere}}
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	begun, done := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			adopted, err := m.Begun(ctx)
			begun <- adopted && err == nil
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	defer func() { cancel(errors.New("test ends")); <-done }()
	select {
	case adopted := <-begun:
		if !adopted {
			t.Error("want the lease adopted")
		}
	case <-time.After(limit):
		t.Fatal("want the member to begin")
	}
	// A newer etcd (3.7) tells nothing of a lease that has a key without permission, so
	// that the lease could not be adopted.
	if err := put(t, root, hidden, `{"member":"a"}`, lease.ID); err != nil {
		t.Fatal(err)
	}
	s.untilGone(root, own)
	if got := s.keys(root, hidden); len(got) != 1 {
		t.Errorf("want the key that cannot be read left, got %v", got)
	}
	s.permit(elsewhere)
	s.untilGone(root, hidden)
}

// untilGone waits until a key is deleted.
func (s *stage) untilGone(c *clientv3.Client, key string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), limit)
	defer cancel()
	r, err := c.Get(ctx, key)
	if err != nil {
		s.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return
	}
	for w := range c.Watch(ctx, key, clientv3.WithRev(r.Header.Revision+1)) {
		for _, e := range w.Events {
			if e.Type == clientv3.EventTypeDelete {
				return
			}
		}
	}
	s.Fatalf("want %s deleted", key)
}

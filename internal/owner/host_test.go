package owner_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/status"
	"berth/refresher"
	"berth/vrrp"
)

// member is a decider; its fields say what etcd tells.
type member struct {
	*stage
	begun   chan struct{}
	adopted bool
	owners  map[string]bool // whether this host owns an instance, for those that are known

	mu        sync.Mutex
	campaigns []election.Campaign
}

func (m *member) Begun(ctx context.Context) (bool, error) {
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-m.begun:
		return m.adopted, nil
	}
}

func (m *member) Owner(instance string) (string, bool, bool) {
	ours, known := m.owners[instance]
	return "h1", !ours, known
}

// Campaign owns at once, and gives the key up when the holding has returned.
func (m *member) Campaign(ctx context.Context, c election.Campaign, holding func(context.Context, int64, owner.Grant) error) error {
	m.mu.Lock()
	m.campaigns = append(m.campaigns, c)
	m.mu.Unlock()
	c.Changed(election.Status{Instance: c.Instance, State: vrrp.Master, Owner: "h1", Token: 7, Reason: "elected"})
	_ = holding(ctx, 7, grant{time.Now().Add(time.Hour)})
	m.did("give up the key of %s", c.Instance)
	return context.Cause(ctx)
}

// network has the addresses that an earlier run left.
type network struct {
	*stage
	left []netip.Prefix
}

func (n *network) Serve(ctx context.Context, f func(context.Context) error) error {
	err := f(ctx)
	n.did("stop watching")
	return err
}

func (n *network) Left() bool { return len(n.left) > 0 }

func (n *network) Sweep(wanted func(netip.Prefix) bool) error {
	kept := []string{}
	for _, p := range n.left {
		if wanted(p) {
			kept = append(kept, p.String())
		}
	}
	n.did("sweep all but %v", kept)
	return nil
}

func silent([]refresher.Report) {}

func TestTheKeyIsGivenUpAfterTheAddressesAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		m := &member{stage: s, begun: make(chan struct{})}
		close(m.begun)
		board := status.NewBoard(t.TempDir(), status.Instance{Mode: "elect"}, journal.New(nil))
		h := &owner.Host{Awaits: "etcd", Decider: m, Network: &network{stage: s}, Status: board, Lease: "etcd-h1.json",
			Owners: []*owner.Owner{owner.New(owner.Options{Instance: "api", Addresses: addresses[:1], Interface: &iface{stage: s}, Report: silent})}}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		synctest.Wait()
		in := board.Snapshot()[0]
		if in.State != vrrp.Master || in.Owner != "h1" || in.Token != 7 || in.Lease != "etcd-h1.json" || in.Reason != "elected" {
			t.Errorf("want the ownership in the status, got %+v", in)
		}
		s.take()
		cancel(errDemoted)
		if err := <-done; err != errDemoted {
			t.Errorf("want the cause, got %v", err)
		}
		if want, got := "unbind [203.0.113.7/32]\ngive up the key of api\nstop watching", s.take(); got != want {
			t.Errorf("want\n%s\ngot\n%s", want, got)
		}
	})
}

func TestWhatAnEarlierRunLeftIsRemovedButForWhatAnAdoptedLeaseOwns(t *testing.T) {
	owned, elsewhere, unknown := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("192.0.2.3/32")
	for _, tt := range []struct {
		name            string
		record, adopted bool
		before, after   string // that etcd has answered
	}{
		{"no lease is on record", false, false, "sweep all but []", ""},
		{"the lease on record is gone", true, false, "", "sweep all but []"},
		{"the lease is adopted", true, true, "", "sweep all but [192.0.2.1/32]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{}
				m := &member{stage: s, begun: make(chan struct{}), adopted: tt.adopted, owners: map[string]bool{"owned": true, "elsewhere": false}}
				board := status.NewBoard(t.TempDir(), status.Instance{Mode: "elect"}, journal.New(nil))
				h := &owner.Host{Awaits: "etcd", Decider: m, Network: &network{s, []netip.Prefix{owned, elsewhere, unknown, prefixes[0]}}, Status: board, Adopts: tt.record}
				told := false
				h.Adopted = func() { told = len(m.campaigns) == 0 }
				for name, p := range map[string]netip.Prefix{"owned": owned, "elsewhere": elsewhere, "unknown": unknown} {
					h.Owners = append(h.Owners, owner.New(owner.Options{Instance: name, Interface: &iface{stage: &stage{}}, Report: silent,
						Addresses: []vrrp.FloatingIP{floatingIP(p.String())}}))
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				done := make(chan error, 1)
				go func() { done <- h.Run(ctx) }()
				synctest.Wait()
				if got := s.take(); got != tt.before {
					t.Errorf("before etcd has answered: want %q, got %q", tt.before, got)
				}
				for _, in := range board.Snapshot() {
					if in.State != vrrp.Fault || in.Error != "waiting for etcd" {
						t.Errorf("want that %s waits for etcd in the status, got %+v", in.Instance, in)
					}
				}
				close(m.begun)
				synctest.Wait()
				if told != tt.adopted {
					t.Errorf("told of the adoption, before the campaigns: %t, want %t", told, tt.adopted)
				}
				if got := s.take(); got != tt.after {
					t.Errorf("after etcd has answered: want %q, got %q", tt.after, got)
				}
				cancel(errDemoted)
				<-done
			})
		})
	}
}

// Patroni says who the leader is, also to a process that begins long after the one before
// it has ended: what that one knew counts only while an address of it is there. A lease
// does not outlive its process by much.
func TestAProcessThatEndedLongAgoIsNotSucceeded(t *testing.T) {
	for _, tt := range []struct {
		name, lease string
		left        []netip.Prefix
		want        bool
	}{
		{"an address is there", "", prefixes[:1], true},
		{"no address is there", "", nil, false},
		{"no address is there, and a lease is adopted", "etcd-h1.json", nil, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{}
			m := &member{stage: s, begun: make(chan struct{}), adopted: true}
			close(m.begun)
			board := status.NewBoard(t.TempDir(), status.Instance{Mode: "elect"}, journal.New(nil))
			told := false
			h := &owner.Host{Awaits: "Patroni", Decider: m, Network: &network{s, tt.left}, Status: board, Adopts: true, Lease: tt.lease, Adopted: func() { told = true }}
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- h.Run(ctx) }()
			synctest.Wait()
			if told != tt.want {
				t.Errorf("%s: told of the adoption: %t, want %t", tt.name, told, tt.want)
			}
			cancel(errDemoted)
			<-done
		})
	}
}

// pool is a pool whose addresses this process has.
type pool struct {
	*stage
	owns []netip.Prefix
}

func (p *pool) Waiting(reason string) { p.did("the pool is %s", reason) }

func (p *pool) Prepare() func(netip.Prefix) bool {
	p.did("prepare the pool")
	return func(a netip.Prefix) bool { return slices.Contains(p.owns, a) }
}

func (p *pool) Run(ctx context.Context) error {
	p.did("run the pool")
	<-ctx.Done()
	p.did("end the pool")
	return context.Cause(ctx)
}

func TestAPoolIsPreparedBeforeTheSweepAndKeepsWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		m := &member{stage: s, begun: make(chan struct{}), adopted: true}
		owned, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
		h := &owner.Host{Decider: m, Network: &network{s, []netip.Prefix{owned, other}}, Adopts: true, Awaits: "etcd", Set: &pool{s, []netip.Prefix{owned}},
			Status: status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil))}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		synctest.Wait()
		if got := s.take(); got != "the pool is waiting for etcd" {
			t.Errorf("before etcd has answered: want that the pool waits, got %q", got)
		}
		close(m.begun)
		synctest.Wait()
		if want, got := "prepare the pool\nsweep all but [192.0.2.1/32]\nrun the pool", s.take(); got != want {
			t.Errorf("want\n%s\ngot\n%s", want, got)
		}
		cancel(errDemoted)
		if err := <-done; err != errDemoted {
			t.Errorf("want the cause, got %v", err)
		}
		if want, got := "end the pool\nstop watching", s.take(); got != want {
			t.Errorf("want\n%s\ngot\n%s", want, got)
		}
	})
}

// A host that ends before etcd has said whether the lease on record lives leaves no address,
// but to a successor.
func TestAHostThatNeverHearsFromEtcdEnds(t *testing.T) {
	for _, tt := range []struct {
		record bool
		cause  error
		want   string
	}{
		{false, errDemoted, "sweep all but []\nstop watching"},
		{true, errDemoted, "sweep all but []\nstop watching"},
		{true, fmt.Errorf("upgrade: %w", election.ErrLeave), "stop watching"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{}
			h := &owner.Host{Awaits: "etcd", Decider: &member{stage: s}, Network: &network{stage: s}, Status: status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil)), Adopts: tt.record}
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, tt.cause)
			defer cancel()
			if err := h.Run(ctx); err != tt.cause {
				t.Errorf("want the cause, got %v", err)
			}
			if got := s.take(); got != tt.want {
				t.Errorf("%+v: want %q, got %q", tt, tt.want, got)
			}
		})
	}
}

func TestACampaignDependsOnAllConditionsAndAnnouncesWhenAnotherMemberJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		m := &member{stage: s, begun: make(chan struct{})}
		close(m.begun)
		i := &iface{stage: s}
		i.Set(false, "interface eth0 has no carrier")
		var health condition.Value
		health.Set(true, "")
		able := []condition.Condition{&health}
		h := &owner.Host{Awaits: "etcd", Decider: m, Network: &network{stage: s}, Status: status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil)), Owners: []*owner.Owner{
			owner.New(owner.Options{Instance: "bound", Addresses: addresses, Interface: i, Able: able, Report: silent}),
			owner.New(owner.Options{Instance: "pointed", Addresses: addresses[:1], Able: able, Loop: s.pointed, Report: silent}),
		}}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		synctest.Wait()
		s.take()
		slices.SortFunc(m.campaigns, func(a, b election.Campaign) int { return strings.Compare(a.Instance, b.Instance) })
		bound, pointed := m.campaigns[0], m.campaigns[1]
		if holds, reason := bound.Able.State(); holds || reason != "interface eth0 has no carrier" {
			t.Errorf("want the condition of the interface, got %t, %q", holds, reason)
		}
		bound.Joined()
		if got := s.take(); got != "announce" {
			t.Errorf("want the addresses announced, got %q", got)
		}
		if want := []string{"203.0.113.7/32", "2001:db8::7/128"}; !slices.Equal(bound.Addresses, want) {
			t.Errorf("want the addresses %q in etcd, got %q", want, bound.Addresses)
		}
		if holds, reason := pointed.Able.State(); !holds || pointed.Joined != nil {
			t.Errorf("want that without an interface the others alone count, got %t, %q", holds, reason)
		}
		i.Set(true, "")
		if holds, reason := bound.Able.State(); !holds {
			t.Errorf("want that both conditions hold, got %q", reason)
		}
		health.Set(false, "the backend does not answer")
		for _, c := range []election.Campaign{bound, pointed} {
			if holds, reason := c.Able.State(); holds || reason != "the backend does not answer" {
				t.Errorf("%s: want the other condition, got %t, %q", c.Instance, holds, reason)
			}
		}
		cancel(errDemoted)
		<-done
	})
}

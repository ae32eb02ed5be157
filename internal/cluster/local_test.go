package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cluster"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

// keyed is a member whose key is put as TellMember says, but for the limit of one second.
type keyed struct {
	values []string
	calls  int
}

func (k *keyed) TellMember(ctx context.Context, value func() []byte, changed <-chan struct{}) error {
	for {
		k.calls++
		if v := string(value()); len(k.values) == 0 || k.values[len(k.values)-1] != v {
			k.values = append(k.values, v)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

func (k *keyed) last(t *testing.T) (told cluster.Told) {
	t.Helper()
	if err := json.Unmarshal([]byte(k.values[len(k.values)-1]), &told); err != nil {
		t.Fatal(err)
	}
	return told
}

// tell has a local told until the test ends.
func tell(t *testing.T, l *cluster.Local) *keyed {
	k := &keyed{}
	l.Inherit(nil)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- l.Tell(ctx, k) }()
	t.Cleanup(func() {
		cancel(errOver)
		if err := <-done; !errors.Is(err, errOver) {
			t.Errorf("got %v, want the cause", err)
		}
	})
	return k
}

func TestAMemberTellsWhatIsNotPlainBackupAndNothingAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		k := tell(t, h.local)
		h.becomes("api", vrrp.Backup, "another member is the owner", "node1", 0)
		h.becomes("db", vrrp.Fault, "tcp db:5432: connection refused", "", 0)
		h.becomes("web", vrrp.Master, "elected", "node2", 7)
		h.board.Addresses("web", []status.Address{{Address: "192.0.2.3/32"}, {Address: "192.0.2.4/32", Suspended: true}})
		h.board.Health(nil, status.Health{Check: "tcp db:5432", Reason: "connection refused", Since: time.Now()})
		h.board.Health([]string{"web"}, status.Health{Check: "http http://web/", Healthy: true, Since: time.Now()})
		synctest.Wait()
		now := time.Now().UTC()
		want := cluster.Told{Version: "1.2.3", Since: now, Mode: "elect", State: "able", Reason: "not for db: tcp db:5432: connection refused",
			Health: []cluster.HealthView{{Check: "tcp db:5432", Reason: "connection refused", Since: now}, {Check: "http http://web/", Healthy: true, Since: now}},
			Instances: []cluster.ToldInstance{
				{Instance: "web", State: "MASTER", Since: now, Addresses: []string{"192.0.2.3/32"}},
				{Instance: "db", State: "FAULT", Since: now, Reason: "tcp db:5432: connection refused"}},
			Moves: []cluster.Move{{At: now, Instance: "web", Member: "node2", State: "MASTER", Reason: "elected", Token: 7}}}
		if d := cmp.Diff(want, k.last(t)); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
		calls, values := k.calls, len(k.values)
		for range 10 { // the loops report their calls
			h.board.Addresses("web", []status.Address{{Address: "192.0.2.3/32", LastCall: time.Now()}, {Address: "192.0.2.4/32", Suspended: true}})
			time.Sleep(time.Minute)
		}
		if k.calls != calls || len(k.values) != values {
			t.Errorf("asked %d times for the value at rest", k.calls-calls)
		}
		h.becomes("web", vrrp.Fault, "eth0 is down", "", 0)
		synctest.Wait()
		if told := k.last(t); told.State != "able" || !strings.HasPrefix(told.Reason, "not for db, web: ") || told.Moves[0].State != "FAULT" || told.Moves[0].Reason != "eth0 is down" {
			t.Errorf("got %+v", told)
		}
		h.becomes("api", vrrp.Fault, "eth0 is down", "", 0)
		synctest.Wait()
		if told := k.last(t); told.State != "not able" || told.Reason != "eth0 is down" {
			t.Errorf("got %+v", told)
		}
	})
}

// A host that begins is in FAULT until etcd has told it the first owner.
func TestTheBeginOfAProcessIsNoMoveAndAnAdoptedInstanceIsOne(t *testing.T) {
	h := newHost(t, nil)
	h.becomes("api", vrrp.Fault, "waiting for etcd", "", 0)
	h.becomes("api", vrrp.Backup, "another member is the owner", "node1", 0)
	h.becomes("web", vrrp.Fault, "waiting for etcd", "", 0)
	h.becomes("web", vrrp.Master, "elected", "node2", 3)
	h.becomes("api", vrrp.Backup, "waiting until the former owner must have ended", "", 0)
	h.becomes("api", vrrp.Master, "elected", "node2", 4)
	h.becomes("api", vrrp.Backup, "handing over as asked", "node1", 0)
	var got []string
	for _, m := range h.View().Moves {
		got = append(got, fmt.Sprint(m.Instance, " ", m.State, " ", m.From, " ", m.Token))
	}
	if d := cmp.Diff([]string{"api BACKUP  0", "api MASTER node1 4", "web MASTER  3"}, sorted(got)); d != "" {
		t.Errorf("moves (-want +got):\n%s", d)
	}
}

// sorted is for moves of one moment.
func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

func TestAnotherBoardTakesThePlaceOfTheFirstAndTheMovesStay(t *testing.T) {
	h := newHost(t, nil)
	h.becomes("VI_1", vrrp.Backup, "", "", 0)
	h.becomes("VI_1", vrrp.Master, "", "", 0)
	h.becomes("VI_2", vrrp.Backup, "", "", 0)
	next := newBoard(t)
	next.State("VI_1", status.State{State: vrrp.Master})
	h.local.Follow(next)
	next.State("VI_3", status.State{State: vrrp.Backup})
	h.becomes("VI_2", vrrp.Master, "", "", 0) // of the former generation, which ends
	var names []string
	for _, a := range h.View().Addresses {
		names = append(names, a.Instance)
	}
	if d := cmp.Diff([]string{"VI_1", "VI_3"}, names); d != "" {
		t.Errorf("instances (-want +got):\n%s", d)
	}
	if moves := h.View().Moves; len(moves) != 1 || moves[0].Instance != "VI_1" {
		t.Errorf("got %+v: a reload is no move", moves)
	}
	next.State("VI_1", status.State{State: vrrp.Deleted})
	if v := h.View(); len(v.Addresses) != 1 || v.Moves[0].State != "BACKUP" {
		t.Errorf("a deleted instance: %+v", v)
	}
}

// An address that is added and removed again leaves no instance behind.
func TestAnInstanceThatIsForgottenIsGone(t *testing.T) {
	h := newHost(t, nil)
	for _, s := range []vrrp.State{vrrp.Backup, vrrp.Master} {
		h.becomes("192.0.2.20", s, "", "", 0)
		h.board.Forget("192.0.2.20")
		if v := h.View(); len(v.Addresses) != 0 {
			t.Errorf("got %+v", v.Addresses)
		}
	}
	var states []string
	for _, m := range h.View().Moves {
		states = append(states, m.State)
	}
	if d := cmp.Diff([]string{"BACKUP", "MASTER"}, sorted(states)); d != "" {
		t.Errorf("moves (-want +got):\n%s", d)
	}
}

func TestWhatAMemberTellsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		k := tell(t, h.local)
		long := strings.Repeat("<é&\x00", 1000)
		for i := range 1000 {
			name := fmt.Sprintf("%04d %s", i, long)
			h.becomes(name, vrrp.Master, long, "node2", int64(i))
			h.board.Health([]string{name}, status.Health{Check: name, Reason: long})
		}
		synctest.Wait()
		text, told := k.values[len(k.values)-1], k.last(t)
		if len(text) >= 64<<10 || told.More+len(told.Instances) != 1000 || len(told.Instances) == 0 || len(told.Instances) > 200 || len(told.Moves) > 20 || len(told.Moves) == 0 {
			t.Errorf("%d bytes, %d instances and %d more, %d moves", len(text), len(told.Instances), told.More, len(told.Moves))
		}
	})
}

func TestTwoHundredInstancesOfUsualNamesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		k := tell(t, h.local)
		for i := range 250 {
			h.becomes(fmt.Sprintf("instance-%d", i), vrrp.Master, "elected", "node2", int64(i+1))
		}
		synctest.Wait()
		if told := k.last(t); len(told.Instances) != 200 || told.More != 50 || len(told.Moves) != 20 {
			t.Errorf("%d instances and %d more, %d moves", len(told.Instances), told.More, len(told.Moves))
		}
	})
}

package election

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"berth/internal/etcdtest"
)

// The rows tell what an answer says of etcd's history when revision 10 of cluster 1
// was seen before its request was sent.
func TestOnlyALinearizableAnswerProvesThatAHistoryWentBack(t *testing.T) {
	other := &otherCluster{2, 1}
	for _, row := range []struct {
		name         string
		cluster      uint64
		revision     int64
		linearizable bool
		meanwhile    int64 // the revision seen when the answer comes
		err          error
		look, broken bool
		seen         int64
	}{
		{"the same", 1, 10, true, 10, nil, false, false, 10},
		{"further on", 1, 12, false, 10, nil, false, false, 12},
		{"lower from a member that lags", 1, 9, false, 10, nil, true, false, 10},
		{"lower though it has everything", 1, 9, true, 10, ErrHistory, false, true, 9},
		{"overtaken by another answer", 1, 11, true, 12, nil, false, false, 12},
		{"lower than another answer that came first", 1, 11, false, 12, nil, false, false, 12},
		{"another cluster", 2, 50, false, 10, other, true, false, 10},
		{"another cluster, and everything it has", 2, 50, true, 10, other, true, false, 10},
		{"no header", 0, 0, true, 10, nil, false, false, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHistory()
			if err := h.compare(h.now(), 1, 10, true); err != nil {
				t.Fatal(err)
			}
			sent := h.now()
			if err := h.compare(h.now(), 1, row.meanwhile, true); err != nil {
				t.Fatal(err)
			}
			err := h.compare(sent, row.cluster, row.revision, row.linearizable)
			if o := new(otherCluster); !errors.Is(err, row.err) && !(errors.As(err, &o) && row.err == error(other) && *o == *other) {
				t.Errorf("want %v, got %v", row.err, err)
			}
			if look := len(h.suspected) > 0; look != row.look {
				t.Errorf("want a look: %t, got %t", row.look, look)
			}
			if era, _, broke := h.current(); (era == 1) != row.broken || broke.IsZero() == row.broken {
				t.Errorf("want a break: %t, got era %d", row.broken, era)
			}
			if got := h.seen().Revision; got != row.seen {
				t.Errorf("want revision %d seen, got %d", row.seen, got)
			}
		})
	}
}

func TestAnswersToRequestsOfAFormerHistoryCountForNothing(t *testing.T) {
	h := newHistory()
	for _, revision := range []int64{10, 3} { // the second breaks it
		_ = h.compare(h.now(), 1, revision, true)
	}
	if err := h.compare(moment{}, 1, 11, true); !errors.Is(err, ErrHistory) {
		t.Errorf("want it refused, got %v", err)
	}
	if got := h.seen().Revision; got != 3 {
		t.Errorf("want revision 3 seen, got %d", got)
	}
	select {
	case <-h.ended(0):
	default:
		t.Error("want the former history to have ended")
	}
}

// In one history no key comes before that of the owner.
func TestAnOwnerThatIsNotTheFirstEnds(t *testing.T) {
	t.Parallel()
	etcd, err := NewEtcd(Options{Endpoints: etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &Member{Etcd: etcd, Prefix: "/berth/", Name: "a", TTL: 4 * time.Second}
	m.Init()
	holds, ends := make(chan struct{}, 10), make(chan error, 10)
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test takes too long"))
	var running sync.WaitGroup
	running.Go(func() {
		_ = m.Run(ctx, func(ctx context.Context) error {
			return m.Campaign(ctx, Campaign{Instance: "api"}, func(ctx context.Context, _ Grant) error {
				holds <- struct{}{}
				<-ctx.Done()
				ends <- context.Cause(ctx)
				return context.Cause(ctx)
			})
		})
	})
	defer func() { cancel(); running.Wait() }()
	<-holds
	m.observer.mu.Lock()
	m.observer.put(m.observer.spans[0], &mvccpb.KeyValue{Key: []byte("/berth/" + electionsDir + "api/9"), Value: []byte(`{"member":"b"}`), Lease: 9, CreateRevision: 1, ModRevision: 1})
	m.observer.queue(ref{name: "api"}).ring()
	m.observer.mu.Unlock()
	if err := <-ends; !errors.Is(err, ErrHistory) {
		t.Errorf("want the end of the history, got %v", err)
	}
}

func TestAnAskerIsToldFromOthersOfItsNameAsFarAsTheyHaveAnIdentity(t *testing.T) {
	of := func(identity string) entry { return entry{candidacy: candidacy{Member: "vm", Identity: identity}} }
	first, second, older := of("1"), of("2"), of("")
	for _, row := range []struct {
		name  string
		asker Asker
		queue []entry
		is    []bool
	}{
		{"one of two", Asker{"vm", "2"}, []entry{first, second}, []bool{false, true}},
		{"beside an older berth", Asker{"vm", "2"}, []entry{older, second}, []bool{false, true}},
		{"an older berth itself", Asker{"vm", "2"}, []entry{first, older}, []bool{false, true}},
		{"without an identity", Asker{"vm", ""}, []entry{first, older, second}, []bool{true, true, true}},
		{"another name", Asker{"x", "1"}, []entry{first, older}, []bool{false, false}},
	} {
		for i, p := range row.queue {
			if got := row.asker.is(p, row.queue); got != row.is[i] {
				t.Errorf("%s: place %d: want %t, got %t", row.name, i, row.is[i], got)
			}
		}
	}
}

package seat_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/journal"
	"berth/internal/seat"
	"berth/internal/status"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func options(t *testing.T) (seat.Options, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	return seat.Options{RunDirectory: t.TempDir(), Prefix: "/berth/", Member: "h1", Name: "h1", Boot: "boot", Journal: journal.New(zap.New(core))}, logs
}

// codes returns the codes of what was told.
func codes(logs *observer.ObservedLogs) string {
	var all []string
	for _, l := range logs.All() {
		all = append(all, l.ContextMap()["code"].(string))
	}
	return strings.Join(all, ", ")
}

func TestTheNextProcessKnowsWhatWasSeenOfEtcdsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, logs := options(t)
		h, past := seat.OpenHistory(o)
		if past != (election.Past{}) {
			t.Errorf("want nothing known at first, got %+v", past)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		seen, ok := election.Past{Cluster: 1 << 63, Revision: 7, Longest: 5, Mark: election.Mark{Key: "/berth/x", Revision: 6, Sum: "00"}}, false
		calls := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Run(ctx, func() (election.Past, bool) { calls++; return seen, ok })
		}()
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		if calls != 10 {
			t.Errorf("want a call each second, got %d in 10 s", calls)
		}
		if _, past := seat.OpenHistory(o); past != (election.Past{}) {
			t.Errorf("want nothing kept that is not to be, got %+v", past)
		}
		ok = true
		cancel(errors.New("ends"))
		<-done
		if _, past := seat.OpenHistory(o); past != seen {
			t.Errorf("want %+v, got %+v", seen, past)
		}
		if logs.Len() != 0 {
			t.Errorf("want no complaint, got %v", logs.All())
		}
	})
}

func TestARecordThatAnotherUserMadeIsNotBelieved(t *testing.T) {
	o, logs := options(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte(`{"cluster":1,"revision":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(o.RunDirectory, "etcd-h1.history")); err != nil {
		t.Fatal(err)
	}
	if _, past := seat.OpenHistory(o); past != (election.Past{}) || logs.Len() != 1 {
		t.Errorf("want nothing, and a warning, got %+v, %v", past, logs.All())
	}
}

func TestBerthsOfOneRunDirectoryHaveOneIdentity(t *testing.T) {
	o, logs := options(t)
	dir := filepath.Join(o.RunDirectory, "run") // made by the first
	var all sync.Map
	var starting sync.WaitGroup
	for range 20 {
		starting.Go(func() { all.Store(seat.Identity(dir, o.Journal), true) })
	}
	starting.Wait()
	var found []string
	for id := range all.Range {
		found = append(found, id.(string))
	}
	if len(found) != 1 || seat.ReadIdentity(dir) != found[0] || logs.Len() != 0 {
		t.Errorf("want one identity, which stays, got %v, %v", found, logs.All())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("want nothing else left, got %v, %v", entries, err)
	}
	if id := seat.Identity(o.RunDirectory, o.Journal); id == found[0] {
		t.Error("want another one in another directory")
	}
}

func TestAnIdentityThatCannotBeKeptIsThatOfTheProcess(t *testing.T) {
	o, logs := options(t)
	file := filepath.Join(o.RunDirectory, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := seat.Identity(file, o.Journal)
	if len(id) != 32 || logs.FilterMessageSnippet("cannot store the identity").Len() != 1 {
		t.Errorf("want an identity and a warning, got %q, %v", id, logs.All())
	}
	if got := seat.ReadIdentity(file); got != "" {
		t.Errorf("want none that can be read, got %q", got)
	}
}

func TestAFileWithoutAnIdentityIsReplaced(t *testing.T) {
	o, _ := options(t)
	if err := os.WriteFile(filepath.Join(o.RunDirectory, "identity"), []byte(strings.Repeat("x", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	if id := seat.Identity(o.RunDirectory, o.Journal); seat.ReadIdentity(o.RunDirectory) != id {
		t.Errorf("want it replaced by %q", id)
	}
}

func TestALeaseThatEtcdDoesNotAcknowledgeHasNoEndOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := options(t)
		s, err := seat.Take(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		s.Leased(3)
		begun := time.Now()
		var since atomic.Pointer[time.Time]
		since.Store(&time.Time{})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Run(ctx, func() time.Time { return time.Now().Add(4 * time.Second) }, func() time.Time { return *since.Load() })
		}()
		for _, step := range []time.Time{{}, begun, {}} {
			since.Store(&step)
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			l, err := status.ReadLease(s.Path())
			if err != nil || l.ID != 3 || l.End.IsZero() != !step.IsZero() || !l.Unacknowledged.Equal(step) {
				t.Errorf("unacknowledged since %v: got %+v, %v", step, l, err)
			}
		}
		cancel(errors.New("ends"))
		<-done
		if err := s.Leave(false); err != nil {
			t.Error(err)
		}
	})
}

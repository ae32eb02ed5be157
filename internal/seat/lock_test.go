package seat_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/seat"
	"berth/internal/status"
)

// take takes a seat that is free.
func take(t *testing.T, o seat.Options) *seat.Seat {
	t.Helper()
	s, err := seat.Take(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAMemberIsOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := options(t)
		first := take(t, o)
		begun := time.Now()
		_, err := seat.Take(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), `another berth on this host is member "h1" below /berth/`) {
			t.Errorf("want a refusal that names the member, got %v", err)
		}
		// berth govip has no key etcd.member.
		if err == nil || !strings.Contains(err.Error(), "another etcd.member (-member of berth govip") {
			t.Errorf("want a cure that a user of berth govip can apply, got %v", err)
		}
		if took := time.Since(begun); took < 5*time.Second {
			t.Errorf("want a predecessor to have 5 s to leave, it had %v", took)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("ends"))
		defer cancel()
		if _, err := seat.Take(ctx, o); err != context.Cause(ctx) {
			t.Errorf("want the cause, got %v", err)
		}
		other := o
		other.Member, other.Name = "h2", "h2"
		if err := take(t, other).Leave(false); err != nil {
			t.Error(err)
		}
		// A predecessor that is about to end is awaited.
		go func() {
			time.Sleep(time.Second)
			_ = first.Leave(true)
		}()
		if err := take(t, o).Leave(false); err != nil {
			t.Error(err)
		}
	})
}

func TestASuccessorFindsTheLeaseOfItsMemberAndBootUnlessItWasGivenUp(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*seat.Options)
		adopt  bool
		found  bool
	}{
		"left to a successor":                   {func(*seat.Options) {}, true, true},
		"given up":                              {func(*seat.Options) {}, false, false},
		"of another boot":                       {func(o *seat.Options) { o.Boot = "later" }, true, false},
		"of another prefix":                     {func(o *seat.Options) { o.Prefix = "/other/" }, true, false},
		"of another member under the same file": {func(o *seat.Options) { o.Member = "h2" }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, logs := options(t)
			s := take(t, o)
			if s.Found() != 0 {
				t.Errorf("want no lease at first, got %x", s.Found())
			}
			s.Leased(3)
			if err := s.Leave(tt.adopt); err != nil {
				t.Fatal(err)
			}
			tt.change(&o)
			s = take(t, o)
			defer s.Leave(true)
			if got := s.Found() == 3; got != tt.found {
				t.Errorf("want the lease found: %t, got %x", tt.found, s.Found())
			}
			if logs.Len() != 0 {
				t.Errorf("want nothing told, got %v", logs.All())
			}
		})
	}
}

// A record with a second name, or by a symbolic link, can have been made by another user.
func TestARecordThatAnotherUserCanHaveMadeIsToldAndNotAdopted(t *testing.T) {
	for name, plant := range map[string]func(from, to string) error{"a link": os.Link, "a symbolic link": os.Symlink} {
		t.Run(name, func(t *testing.T) {
			o, logs := options(t)
			s := take(t, o)
			s.Leased(3)
			if err := s.Leave(true); err != nil {
				t.Fatal(err)
			}
			elsewhere := filepath.Join(t.TempDir(), "planted")
			if err := errors.Join(os.Rename(s.Path(), elsewhere), plant(elsewhere, s.Path())); err != nil {
				t.Fatal(err)
			}
			s = take(t, o)
			defer s.Leave(true)
			if s.Found() != 0 || codes(logs) != "lease-record-unreadable" {
				t.Errorf("want no lease and a line, got %x, %s", s.Found(), codes(logs))
			}
		})
	}
}

// A start that fails leaves the lease to the next.
func TestAProcessWithoutALeaseLeavesTheRecordOfThePredecessor(t *testing.T) {
	o, _ := options(t)
	s := take(t, o)
	s.Leased(3)
	if err := s.Leave(true); err != nil {
		t.Fatal(err)
	}
	if err := take(t, o).Leave(false); err != nil {
		t.Fatal(err)
	}
	s = take(t, o)
	defer s.Leave(true)
	if s.Found() != 3 {
		t.Errorf("want lease 3, got %x", s.Found())
	}
}

func TestWithoutARunDirectoryTheMemberTakesPartAndThatIsTold(t *testing.T) {
	o, logs := options(t)
	file := filepath.Join(o.RunDirectory, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.RunDirectory = file
	s := take(t, o)
	s.Leased(3)
	if err := s.Leave(true); err != nil {
		t.Error(err)
	}
	if got := codes(logs); got != "lease-record-unusable" {
		t.Errorf("want it told once, got %s", got)
	}
}

func TestARecordThatCannotBeWrittenIsToldOnceAndSoIsItsRecovery(t *testing.T) {
	o, logs := options(t)
	s := take(t, o)
	defer s.Leave(false)
	// A directory cannot be replaced by a file.
	if err := os.MkdirAll(filepath.Join(s.Path(), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Leased(3)
	s.Leased(4)
	if err := os.RemoveAll(s.Path()); err != nil {
		t.Fatal(err)
	}
	s.Leased(5)
	s.Leased(6)
	if got := codes(logs); got != "lease-record-unwritable, lease-record-unwritable" {
		t.Errorf("want its beginning and its end, got %s", got)
	}
	if l, err := status.ReadLease(s.Path()); err != nil || l.ID != 6 {
		t.Errorf("want the newest lease on record, got %+v, %v", l, err)
	}
}

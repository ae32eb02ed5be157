package status_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func board(t *testing.T, dir string) (*status.Board, *observer.ObservedLogs) {
	core, logs := observer.New(zap.WarnLevel)
	return status.NewBoard(dir, status.Instance{PID: 7, Start: 8, Mode: "fifo"}, journal.New(zap.New(core))), logs
}

// A reason that varies with each run of a health check does not have the files written all
// the time.
func TestAReasonThatVariesIsWrittenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		b, _ := board(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.Run(ctx) }()
		read := func() string {
			t.Helper()
			all, err := status.Read(dir)
			if err != nil || len(all) != 1 {
				return ""
			}
			return all[0].Reason + all[0].Error + all[0].Health[0].Reason
		}
		written, last := 0, ""
		for i := range 100 {
			reason := fmt.Sprintf("%d ms", i)
			b.Health(nil, status.Health{Check: "web", Reason: reason})
			b.State("db", status.State{State: vrrp.Fault, Reason: reason})
			b.Ownership("db", status.Ownership{Withheld: reason})
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if now := read(); now != last {
				written, last = written+1, now
			}
		}
		if written < 8 || written > 12 {
			t.Errorf("written %d times in 10 s", written)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := read(); got != "99 ms99 ms99 ms" {
			t.Errorf("want the last reason, got %q", got)
		}
		b.Health(nil, status.Health{Check: "web", Healthy: true})
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if got := read(); got != "99 ms99 ms" {
			t.Errorf("want that healthy is written soon, got %q", got)
		}
		cancel()
		<-done
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, _ := board(t, dir)
	names := []string{"VI_1", "-odd", "two words", "../../etc/passwd", ".", "..", "", ".hidden", "%"}
	for _, name := range names {
		w.State(name, status.State{State: vrrp.Master, Since: time.Unix(1, 0)})
		w.Addresses(name, []status.Address{{Address: "192.0.2.1/24", Owner: "here", Claims: 3}})
	}
	w.Flush()
	got, err := status.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]status.Instance{}
	for _, in := range got {
		seen[in.Instance] = in
	}
	for _, name := range names {
		in, ok := seen[name]
		if !ok || in.State != vrrp.Master || in.PID != 7 || in.Mode != "fifo" || len(in.Addresses) != 1 || in.Addresses[0].Claims != 3 {
			t.Errorf("instance %q came back as %+v", name, in)
		}
	}
	if len(got) != len(names) {
		t.Errorf("%d instances came back, want %d", len(got), len(names))
	}
	// Nothing was written beside the directory, and no temporary file stays.
	entries, err := os.ReadDir(filepath.Join(dir, "status"))
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d files, %v; want %d", len(entries), err, len(names))
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v; everybody may read it", e.Name(), info.Mode())
		}
	}
}

func TestAReaderNeverSeesHalfAFile(t *testing.T) {
	dir := t.TempDir()
	w, _ := board(t, dir)
	w.State("VI_1", status.State{State: vrrp.Master})
	w.Flush()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			w.Blocked("VI_1", strings.Repeat("x", 10000))
			w.Flush()
		}
	})
	for range 300 {
		if got, err := status.Read(dir); err != nil || len(got) != 1 {
			t.Errorf("read %d instances, %v", len(got), err)
			break
		}
	}
	cancel()
	wg.Wait()
}

func TestNothingWrittenYetIsNoError(t *testing.T) {
	if got, err := status.Read(filepath.Join(t.TempDir(), "none")); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestGarbageIsNamedAndTheRestRead(t *testing.T) {
	dir := t.TempDir()
	w, _ := board(t, dir)
	w.Group("VI_1", "")
	w.Flush()
	bad := filepath.Join(dir, "status", "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := status.Read(dir)
	if err == nil || !strings.Contains(err.Error(), bad) || len(got) != 1 {
		t.Errorf("got %d instances and %v; want one and an error that names %s", len(got), err, bad)
	}
}

func TestAFullDiskIsOneWarning(t *testing.T) {
	dir := t.TempDir()
	// A file where the directory should be fails like a disk that is full.
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, logs := board(t, dir)
	for range 3 {
		w.Group("VI_1", "")
		w.Flush()
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings, want one", logs.Len())
	}
	// A state that could not be written is written with the next change, of another instance.
	if err := os.Remove(filepath.Join(dir, "status")); err != nil {
		t.Fatal(err)
	}
	w.Group("VI_2", "")
	w.Flush()
	if got, err := status.Read(dir); err != nil || len(got) != 2 {
		t.Errorf("afterwards: got %+v, %v, want both instances", got, err)
	}
}

func TestANoteAboutTheConfigurationReachesAllInstances(t *testing.T) {
	dir := t.TempDir()
	w, _ := board(t, dir)
	w.Group("a", "")
	w.Flush()
	w.Configuration("reload keepalived")
	w.Group("b", "")
	w.Flush()
	notes := func() (all []string) {
		found, err := status.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range found {
			all = append(all, in.Instance+": "+in.Configuration)
		}
		return all
	}
	if got := notes(); !slices.Equal(got, []string{"a: reload keepalived", "b: reload keepalived"}) {
		t.Errorf("got %q", got)
	}
	w.Configuration("")
	w.Flush()
	if got := notes(); !slices.Equal(got, []string{"a: ", "b: "}) {
		t.Errorf("the note stays: %q", got)
	}
}

func TestTwoElectionsOfOneHostDoNotOverwriteOneAnother(t *testing.T) {
	dir := t.TempDir()
	lease := filepath.Join(dir, "etcd-a.json")
	// As a berth wrote it that knew of one election only.
	old := status.NewBoard(dir, status.Instance{PID: 7, Mode: "elect"}, journal.New(nil))
	old.State("api", status.State{State: vrrp.Master})
	old.Ownership("api", status.Ownership{Lease: lease})
	old.Flush()
	fifo, _ := board(t, dir)
	fifo.State("other", status.State{State: vrrp.Master})
	fifo.Flush()
	for _, prefix := range []string{"/b/", "/a/"} {
		w := status.NewBoard(dir, status.Instance{PID: 7, Mode: "elect", Prefix: prefix, Member: "h"}, journal.New(nil))
		w.State("api", status.State{State: vrrp.Backup})
		w.Ownership("api", status.Ownership{Lease: filepath.Join(dir, "etcd-"+prefix[1:2]+".json")})
		w.Flush()
	}
	got, err := status.Read(dir)
	if err != nil || len(got) != 3 || got[0].Prefix != "/a/" || got[1].Prefix != "/b/" || got[2].Instance != "other" {
		t.Errorf("want both elections and the other instance, got %+v, %v", got, err)
	}
}

func TestAChangeOfStateIsPublishedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, _ := board(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.Run(ctx)
		}()
		for _, state := range []vrrp.State{vrrp.Master, vrrp.Backup} {
			w.Blocked("api", "before")
			synctest.Wait()
			w.State("api", status.State{State: state})
			time.Sleep(25 * time.Millisecond)
			synctest.Wait()
			if got, err := status.Read(dir); err != nil || len(got) != 1 || got[0].State != state {
				t.Errorf("want %v after 25 ms, got %+v, %v", state, got, err)
			}
		}
		cancel()
		<-done
	})
}

func TestFactsOfAHoldingEndWithMASTER(t *testing.T) {
	b, _ := board(t, t.TempDir())
	in := func() status.Instance { return b.Snapshot()[0] }
	b.State("VI_1", status.State{State: vrrp.Master, Since: time.Unix(1, 0), Reason: "MASTER reported"})
	b.Blocked("VI_1", "the lock is held")
	b.Addresses("VI_1", []status.Address{{Address: "192.0.2.1/32"}})
	b.Suspended("VI_1", []string{"192.0.2.2/32"})
	b.Ownership("VI_1", status.Ownership{Owner: "h1", Token: 7, Lease: "etcd-h1.json"})
	got := in()
	if len(got.Addresses) != 2 || got.Addresses[0].Suspended || !got.Addresses[1].Suspended || got.Error != "the lock is held" || got.Token != 7 {
		t.Errorf("got %+v", got)
	}
	got.Addresses[0].Address = "changed"
	if in().Addresses[0].Address != "192.0.2.1/32" {
		t.Error("a snapshot shares its addresses with the board")
	}
	b.Ownership("VI_1", status.Ownership{Owner: "h2", Withheld: "not acting: another member is the owner"})
	if got := in(); got.Error != "not acting: another member is the owner" || len(got.Addresses) != 0 || got.Lease != "etcd-h1.json" || got.Token != 0 {
		t.Errorf("while another host owns the instance: got %+v", got)
	}
	b.Addresses("VI_1", []status.Address{{Address: "192.0.2.1/32"}})
	b.State("VI_1", status.State{State: vrrp.Backup, Reason: "BACKUP reported"})
	if got := in(); got.Error != "" || len(got.Addresses) != 0 || got.Owner != "h2" || got.Since.Equal(time.Unix(1, 0)) {
		t.Errorf("after MASTER: got %+v", got)
	}
}

func TestASubscriberIsToldOfEachChange(t *testing.T) {
	b, _ := board(t, t.TempDir())
	var told []string
	stop := b.Subscribe(func(in status.Instance) { told = append(told, in.Instance+" "+in.State.String()) })
	b.State("VI_1", status.State{State: vrrp.Master})
	b.State("VI_2", status.State{State: vrrp.Backup})
	b.Configuration("reload keepalived")
	stop()
	b.State("VI_1", status.State{State: vrrp.Fault})
	slices.Sort(told)
	want := []string{"VI_1 MASTER", "VI_1 MASTER", "VI_2 BACKUP", "VI_2 BACKUP"}
	if !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}

func TestInstancesThatAScriptOfAGroupMadeMASTERAreFound(t *testing.T) {
	dir := t.TempDir()
	b, _ := board(t, dir)
	for name, s := range map[string]struct {
		group string
		state vrrp.State
	}{
		"of the group": {"G", vrrp.Master}, "not MASTER": {"G", vrrp.Backup}, "of another group": {"H", vrrp.Master}, "of none": {"", vrrp.Master},
	} {
		b.State(name, status.State{State: s.state})
		b.Group(name, s.group)
	}
	b.Flush()
	if got := status.MastersOf(dir, "G"); !slices.Equal(got, []string{"of the group"}) {
		t.Errorf("got %q", got)
	}
}

package status_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func writer(t *testing.T, dir string) (*status.Writer, *observer.ObservedLogs) {
	core, logs := observer.New(zap.WarnLevel)
	return status.NewWriter(dir, status.Instance{PID: 7, Start: 8, Mode: "fifo"}, zap.New(core)), logs
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	w, _ := writer(t, dir)
	names := []string{"VI_1", "-odd", "two words", "../../etc/passwd", ".", "..", "", ".hidden", "%"}
	for _, name := range names {
		w.Update(name, func(in *status.Instance) {
			in.State, in.Since = vrrp.Master, time.Unix(1, 0)
			in.Addresses = []status.Address{{Address: "192.0.2.1/24", Owner: "here", Claims: 3}}
		})
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
	w, _ := writer(t, dir)
	w.Update("VI_1", func(in *status.Instance) { in.State = vrrp.Master })
	w.Flush()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			w.Update("VI_1", func(in *status.Instance) { in.Reason = strings.Repeat("x", 10000) })
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
	w, _ := writer(t, dir)
	w.Update("VI_1", func(in *status.Instance) {})
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
	w, logs := writer(t, dir)
	for range 3 {
		w.Update("VI_1", func(in *status.Instance) {})
		w.Flush()
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings, want one", logs.Len())
	}
}

func TestANoteAboutTheConfigurationReachesAllInstances(t *testing.T) {
	dir := t.TempDir()
	w, _ := writer(t, dir)
	w.Update("a", func(*status.Instance) {})
	w.Flush()
	w.Note("reload keepalived")
	w.Update("b", func(*status.Instance) {})
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
	w.Note("")
	w.Flush()
	if got := notes(); !slices.Equal(got, []string{"a: ", "b: "}) {
		t.Errorf("the note stays: %q", got)
	}
}

func TestTwoElectionsOfOneHostDoNotOverwriteOneAnother(t *testing.T) {
	dir := t.TempDir()
	lease := filepath.Join(dir, "etcd-a.json")
	// As a berth wrote it that knew of one election only.
	old := status.NewWriter(dir, status.Instance{PID: 7, Mode: "elect"}, zap.NewNop())
	old.Update("api", func(in *status.Instance) { in.State, in.Lease = vrrp.Master, lease })
	old.Flush()
	fifo, _ := writer(t, dir)
	fifo.Update("other", func(in *status.Instance) { in.State = vrrp.Master })
	fifo.Flush()
	for _, prefix := range []string{"/b/", "/a/"} {
		w := status.NewWriter(dir, status.Instance{PID: 7, Mode: "elect", Prefix: prefix, Member: "h"}, zap.NewNop())
		w.Update("api", func(in *status.Instance) {
			in.State, in.Lease = vrrp.Backup, filepath.Join(dir, "etcd-"+prefix[1:2]+".json")
		})
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
		w, _ := writer(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.Run(ctx)
		}()
		for _, state := range []vrrp.State{vrrp.Master, vrrp.Backup} {
			w.Update("api", func(in *status.Instance) { in.Reason = "before" })
			synctest.Wait()
			w.Update("api", func(in *status.Instance) { in.State = state })
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

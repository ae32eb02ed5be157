package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/fifo"
	"berth/guard"
	"berth/instance"
	"berth/internal/journal"
	"berth/internal/presence"
	"berth/internal/reconcile"
	"berth/internal/run"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// A berth that was stopped wakes with everything due at once: its next claim, and
// the line in the FIFO that forbids it. The reader is held up here, as if the
// claim were the first to be run.
func TestNoWriteWhileTheLineThatForbidsItWaits(t *testing.T) {
	dir := t.TempDir()
	conf, path := filepath.Join(dir, "berth.yml"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "provider: fake\nkeepalived-version: 2.2.7\nrun-directory: %s/run\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service{options: &Options{Program: "berth", Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard},
		configPath: conf, meters: newMeters(nil), journal: journal.New(nil), log: zap.NewNop()}
	s.deafness = reconcile.NewDeafness(path, nil, nil, s.meters.reconcile, s.journal)
	s.network = presence.NewNetwork(func() (int, bool) { return 0, false })
	s.presence = presence.NewObserver(presence.Options{Host: s.network})
	gen, err := s.generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var check func(context.Context) error
	gen.holder.cloud.target = func(_ vrrp.FloatingIP, c func(context.Context) error) refresher.Target {
		check = c
		return nil
	}
	holdings := make(chan context.Context, 1)
	s.table = instance.NewTable(func(ctx context.Context, name string, _ <-chan struct{}) error {
		gen.holder.loop(name, vrrp.FloatingIP{}, guard.Unlocked(ctx), zap.NewNop())
		holdings <- ctx
		<-ctx.Done()
		return context.Cause(ctx)
	}, nil, nil)
	read, goOn := make(chan struct{}), make(chan struct{})
	s.reader = fifo.NewReader(path, func(burst []vrrp.Event) {
		read <- struct{}{}
		<-goOn
		s.table.Deliver(burst)
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run.Together(ctx, run.Task{Name: "instances", Run: s.table.Run}, run.Task{Name: "fifo", Run: s.reader.Run})
	}()
	s.reader.Flush(ctx) // it is there
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	send := func(line string) {
		t.Helper()
		if _, err := f.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	send(`INSTANCE "VI_1" MASTER 100`)
	<-read
	goOn <- struct{}{}
	holding := <-holdings
	s.reader.Flush(ctx)
	if err := check(holding); err != nil {
		t.Fatalf("want a write to be permitted while nothing waits, got %v", err)
	}

	send(`INSTANCE "VI_2" BACKUP 100`)
	<-read // and not handed on
	send(`INSTANCE "VI_1" BACKUP 100`)
	result := make(chan error, 1)
	go func() { result <- check(holding) }()
	goOn <- struct{}{}
	<-read
	goOn <- struct{}{}
	select {
	case err := <-result:
		if !errors.Is(err, instance.ErrDemoted) {
			t.Errorf("want the write forbidden for the demotion, got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the check never ends")
	}
	cancel()
	<-done
}

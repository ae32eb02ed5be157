package service_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/fifo"
	"berth/guard"
	"berth/instance"
	"berth/internal/run"
	"berth/internal/service"
	"berth/vrrp"
)

// A berth that was stopped wakes with everything due at once: its next claim, and
// the line in the FIFO that forbids it. The reader is held up here, as if the
// claim were the first to be run.
func TestNoWriteWhileTheLineThatForbidsItWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	reader := fifo.NewReader(path, nil)
	read, goOn := make(chan struct{}), make(chan struct{})
	s := service.New(service.Around(reader, func(_ []vrrp.Event, deliver func()) {
		read <- struct{}{}
		<-goOn
		deliver()
	}), nil, nil)
	type holding struct {
		ctx    context.Context
		permit *guard.Permit
	}
	holdings := make(chan holding, 1)
	chain := guard.Chain(guard.Chain(), s.LastWord())
	s.Hold(func(ctx context.Context, instance string, _ <-chan struct{}) error {
		return chain.While(ctx, instance, func(ctx context.Context, p *guard.Permit) error {
			holdings <- holding{ctx, p}
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run.Together(ctx, s.Tasks()...) }()
	reader.Flush(ctx) // it is there
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
	h := <-holdings
	reader.Flush(ctx)
	if err := h.permit.Check(h.ctx); err != nil {
		t.Fatalf("want a write to be permitted while nothing waits, got %v", err)
	}

	send(`INSTANCE "VI_2" BACKUP 100`)
	<-read // and not handed on
	send(`INSTANCE "VI_1" BACKUP 100`)
	result := make(chan error, 1)
	go func() { result <- h.permit.Check(h.ctx) }()
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

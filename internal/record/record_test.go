package record_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"berth/internal/journal"
	"berth/internal/record"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var unwritable = journal.Kind{Code: "unwritable", Level: zap.WarnLevel, Text: "cannot store it", Over: "stored again"}

func TestTheNewestIsWrittenAlsoAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		dir := filepath.Join(t.TempDir(), "run")
		path := filepath.Join(dir, "list")
		f := record.New(path, unwritable, journal.New(zap.New(core)))
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		read := func() string {
			text, _ := os.ReadFile(path)
			return string(text)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the place of the directory
			t.Fatal(err)
		}
		f.Put([]byte("one"))
		synctest.Wait()
		f.Put([]byte("two"))
		synctest.Wait()
		if logs.Len() != 1 {
			t.Errorf("want one line while the file cannot be written, got %v", logs.All())
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		f.Put([]byte("three"))
		synctest.Wait()
		if got := read(); got != "three" || logs.Len() != 2 {
			t.Errorf("want the newest and a line, got %q and %v", got, logs.All())
		}
		stop := errors.New("stopped")
		f.Put([]byte("four"))
		cancel(stop)
		if err := <-done; err != stop || read() != "four" {
			t.Errorf("want the last, got %q, %v", read(), err)
		}
	})
}

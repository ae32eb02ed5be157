package providers_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/internal/journal"
	"berth/providers"
)

var (
	key = providers.IDKey{Provider: "test", Endpoint: "https://api.example/", Zone: "z1", Hostname: "lb1", BootID: "boot"}
	ids = providers.IDs{Server: "me", Objects: map[netip.Prefix]string{netip.MustParsePrefix("2001:db8::/56"): "2001:db8::"}}

	byText = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
)

func newCache(dir string, key providers.IDKey) (*providers.IDCache, *observer.ObservedLogs) {
	core, logs := observer.New(zap.WarnLevel)
	return providers.NewIDCache(dir, key, journal.New(zap.New(core))), logs
}

// file returns the one file of the cache in a directory.
func file(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ids-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("want one file, got %v, %v", files, err)
	}
	return files[0]
}

func TestIDsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made-if-missing")
	c, logs := newCache(dir, key)
	if d := cmp.Diff(providers.IDs{}, c.Load()); d != "" {
		t.Errorf("before: want-, got+:\n%s", d)
	}
	c.Store(ids)
	again, _ := newCache(dir, key)
	if d := cmp.Diff(ids, again.Load(), byText); d != "" {
		t.Errorf("after: want-, got+:\n%s", d)
	}
	info, err := os.Stat(file(t, dir))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("want mode 0600, got %v, %v", info.Mode(), err)
	}
	if logs.Len() != 0 {
		t.Errorf("want no warning, got %v", logs.All())
	}
}

func TestIDsOfElsewhereAreNotUsed(t *testing.T) {
	other := func(change func(*providers.IDKey)) providers.IDKey {
		k := key
		change(&k)
		return k
	}
	for name, k := range map[string]providers.IDKey{
		"provider": other(func(k *providers.IDKey) { k.Provider = "x" }),
		"endpoint": other(func(k *providers.IDKey) { k.Endpoint = "x" }),
		"zone":     other(func(k *providers.IDKey) { k.Zone = "x" }),
		"host":     other(func(k *providers.IDKey) { k.Hostname = "x" }),
		"boot":     other(func(k *providers.IDKey) { k.BootID = "x" }),
	} {
		t.Run("another "+name, func(t *testing.T) {
			dir := t.TempDir()
			c, _ := newCache(dir, key)
			c.Store(ids)
			foreign, logs := newCache(dir, k)
			if d := cmp.Diff(providers.IDs{}, foreign.Load()); d != "" {
				t.Errorf("want-, got+:\n%s", d)
			}
			if logs.Len() != 0 {
				t.Errorf("want no warning about what is normal, got %v", logs.All())
			}
			foreign.Store(providers.IDs{Server: "other"})
			if d := cmp.Diff(providers.IDs{Server: "other"}, foreign.Load()); d != "" {
				t.Errorf("after storing: want-, got+:\n%s", d)
			}
		})
	}
}

func TestBadFileIsIgnoredWithOneWarningAndReplaced(t *testing.T) {
	good := func(t *testing.T) string {
		dir := t.TempDir()
		c, _ := newCache(dir, key)
		c.Store(ids)
		b, err := os.ReadFile(file(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}(t)
	tests := map[string]func(path string) error{
		"empty":           func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"garbage":         func(p string) error { return os.WriteFile(p, []byte("\x00\xff"), 0o600) },
		"cut":             func(p string) error { return os.WriteFile(p, []byte(good[:len(good)/2]), 0o600) },
		"of another kind": func(p string) error { return os.WriteFile(p, []byte(`{"a":1}`), 0o600) },
		"of another host": func(p string) error {
			return os.WriteFile(p, []byte(strings.Replace(good, "lb1", "lb2", 1)), 0o600)
		},
		"host bits": func(p string) error {
			return os.WriteFile(p, []byte(strings.Replace(good, "2001:db8::/56", "2001:db8::1/56", 1)), 0o600)
		},
		"too large": func(p string) error { return os.WriteFile(p, []byte(good+strings.Repeat(" ", 1<<20)), 0o600) },
		"a link":    func(p string) error { return os.Symlink("/etc/hostname", p) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, _ := newCache(dir, key)
			c.Store(ids)
			path := file(t, dir)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			c, logs := newCache(dir, key)
			for range 2 {
				if d := cmp.Diff(providers.IDs{}, c.Load()); d != "" {
					t.Errorf("want-, got+:\n%s", d)
				}
			}
			if n := logs.FilterField(zap.String("file", path)).Len(); n != 1 {
				t.Errorf("want one warning that names the file, got %d", n)
			}
			c.Store(ids)
			if d := cmp.Diff(ids, c.Load(), byText); d != "" {
				t.Errorf("after storing: want-, got+:\n%s", d)
			}
		})
	}
}

func TestCacheThatCannotBeWrittenIsAWarning(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, logs := newCache(filepath.Join(blocked, "dir"), key)
	c.Store(ids)
	c.Store(ids)
	if logs.FilterMessage("cannot store ids for the next start").Len() != 1 {
		t.Errorf("want one warning, got %v", logs.All())
	}

	// Another process has the lock.
	c, logs = newCache(dir, key)
	c.Store(providers.IDs{Server: "me"})
	lock := flock.New(file(t, dir) + ".lock")
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	c.Store(ids)
	if logs.FilterMessage("cannot store ids for the next start").Len() != 1 {
		t.Errorf("locked: want one warning, got %v", logs.All())
	}
	if d := cmp.Diff(providers.IDs{Server: "me"}, c.Load()); d != "" {
		t.Errorf("locked: want-, got+:\n%s", d)
	}
}

func TestProcessesAddToEachOthersIDs(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, _ := newCache(dir, key)
			if i%2 == 0 {
				c.Store(providers.IDs{Server: ids.Server})
			} else {
				c.Store(providers.IDs{Objects: ids.Objects})
			}
		})
	}
	wg.Wait()
	c, _ := newCache(dir, key)
	if d := cmp.Diff(ids, c.Load(), byText); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.json.[0-9]*")); len(left) != 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestUnchangedIDsAreNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	c, _ := newCache(dir, key)
	c.Store(ids)
	before, err := os.Stat(file(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	c.Store(ids)
	after, err := os.Stat(file(t, dir))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced: %v", err)
	}
}

func TestWithoutADirectoryNothingIsStored(t *testing.T) {
	c, logs := newCache("", key)
	c.Store(ids)
	if d := cmp.Diff(providers.IDs{}, c.Load()); d != "" || logs.Len() != 0 {
		t.Errorf("want nothing and no warning, got %s %v", d, logs.All())
	}
}

func TestBootIDIsOne(t *testing.T) {
	if id := providers.BootID(); len(id) != 36 || id != providers.BootID() {
		t.Errorf("want a UUID that stays, got %q", fmt.Sprint(id))
	}
}

// The file is read at the start alone: nothing tells later whether it is good again.
func TestABadFileIsNotAConditionThatHolds(t *testing.T) {
	dir := t.TempDir()
	c, _ := newCache(dir, key)
	c.Store(ids)
	if err := os.WriteFile(file(t, dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var events []journal.Event
	c = providers.NewIDCache(dir, key, journal.New(nil, func(e journal.Event) { events = append(events, e) }))
	c.Load()
	if len(events) != 1 || events[0].Code != "provider-ids-ignored" || events[0].Lasts {
		t.Errorf("told %+v", events)
	}
}

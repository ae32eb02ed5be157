package names_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/names"
)

func TestAMuteResolverCostsNothingAfterARestart(t *testing.T) {
	dir := t.TempDir()
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		r := w.resolver(dir)
		w.want(r, "192.0.2.1", 0)
		r.Close()
		w.mute = true
		w.want(w.resolver(dir), "192.0.2.1", 0)
	})
}

func TestGarbageInTheFileIsToldOnceAndIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"text":                   "garbage",
		"another form":           `{"names": {"api.example.net": "192.0.2.1"}}`,
		"unknown field":          `{"names": {}, "more": 1}`,
		"no addresses":           `{"names": {"api.example.net": {"addresses": [], "time": "2026-11-29T10:00:00Z"}}}`,
		"unspecified address":    `{"names": {"api.example.net": {"addresses": ["0.0.0.0"], "time": "2026-11-29T10:00:00Z"}}}`,
		"address of many":        `{"names": {"api.example.net": {"addresses": ["ff02::1"], "time": "2026-11-29T10:00:00Z"}}}`,
		"address with interface": `{"names": {"api.example.net": {"addresses": ["fe80::1%eth0"], "time": "2026-11-29T10:00:00Z"}}}`,
		"not a host name":        `{"names": {"api example": {"addresses": ["192.0.2.1"], "time": "2026-11-29T10:00:00Z"}}}`,
		"more than berth writes": strings.Repeat(" ", 1<<20) + `{"names": {}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "names.json")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			inTime(t, func(t *testing.T) {
				w := newWorld(t, "192.0.2.7")
				r := w.resolver(dir)
				w.want(r, "192.0.2.7", 0)
				w.want(r, "192.0.2.7", 0)
				r.Close()
				if got := w.logs.FilterMessage("ignoring the stored addresses of names").Len(); got != 1 || w.logs.Len() != 1 {
					t.Errorf("want it told once, got %v", w.logs.All())
				}
				// And replaced by the new answer.
				w.mute = true
				w.want(w.resolver(dir), "192.0.2.7", 0)
			})
		})
	}
}

func TestAFileOfAnotherKindIsNeitherReadNorWaitedFor(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "names.json")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "192.0.2.7")
	r := w.resolver(dir)
	if got, _ := w.connect(t.Context(), r); got != "192.0.2.7" {
		t.Errorf("want a connection, got %s", got)
	}
	r.Close()
	if w.logs.Len() != 1 {
		t.Errorf("want it told once, got %v", w.logs.All())
	}
}

func TestARunDirectoryThatCannotBeWrittenCostsAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.7")
		r := w.resolver(filepath.Join(file, "run"))
		for range 3 {
			w.want(r, "192.0.2.7", 0)
		}
		if got := w.logs.FilterMessage("cannot store the addresses of names for the next start").Len(); got != 1 {
			t.Errorf("want it told once, got %v", w.logs.All())
		}
	})
}

func TestProcessesOfAHostAddToOneFileOfBoundedSize(t *testing.T) {
	dir := t.TempDir()
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1")
		for i := range 70 {
			r := w.resolver(dir)
			r.Ask(fmt.Sprintf("host%d.example.net", i))
			synctest.Wait()
			r.Close()
			time.Sleep(time.Second)
		}
		text, err := os.ReadFile(filepath.Join(dir, "names.json"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "addresses"); n != 64 {
			t.Errorf("want 64 names, got %d", n)
		}
		for host, want := range map[string]bool{"host5.": false, "host6.": true, "host69.": true} {
			if got := strings.Contains(string(text), host); got != want {
				t.Errorf("%s: want it stored: %t, got %t", host, want, got)
			}
		}
	})
}

func TestAnUnchangedAnswerIsNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "names.json")
	inTime(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1", "192.0.2.2")
		r := w.resolver(dir)
		w.want(r, "192.0.2.1", 0)
		first, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		w.answer("192.0.2.2", "192.0.2.1")
		w.want(r, "192.0.2.1", 0)
		second, err := os.Stat(path)
		if err != nil || !os.SameFile(first, second) {
			t.Errorf("want the same file, got another (%v)", err)
		}
	})
}

func FuzzStoredFile(f *testing.F) {
	f.Add([]byte(`{"names": {"api.example.net": {"addresses": ["192.0.2.1", "2001:db8::1"], "time": "2026-11-29T10:00:00Z"}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) { names.CheckFile(t, text) })
}

package reading

import (
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keepalived is not asked: what it has loaded is read from its processes.
func TestAChangedFileWaitsUntilKeepalivedHasLoadedIt(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.here("192.0.2.1", "192.0.2.2", "192.0.2.3")
		s.run(t)
		changed := strings.Replace(three, "192.0.2.3/32", "192.0.2.4/32", 1)
		s.write(changed)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
		if s.note() != changedNote {
			t.Errorf("the note is %q, want %q", s.note(), changedNote)
		}
		if said := s.errors(); len(said) > 0 {
			t.Errorf("errors about a good file: %v", said)
		}

		k.load(s.path, changed)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3,4") // it is not off the host yet
		s.here("192.0.2.1", "192.0.2.2", "192.0.2.4")
		time.Sleep(time.Second)
		s.wantHas("1,2,4")
		if s.note() != "" {
			t.Errorf("a note about a file that is loaded: %q", s.note())
		}
		s.write("# a comment changes nothing\n" + changed)
		time.Sleep(2 * time.Second)
		if s.note() != "" {
			t.Errorf("a note about a new comment: %q", s.note())
		}
	})
}

func TestABrokenFileThatKeepalivedHasLoadedCounts(t *testing.T) {
	for _, broken := range brokenFiles {
		if strings.HasPrefix(broken.name, "refused") {
			continue // it would have ended
		}
		t.Run(broken.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, dir, three)
				k := newKeepalived(t, s)
				k.load(s.path, three)
				s.run(t)
				s.write(broken.text)
				time.Sleep(2 * time.Second)
				s.wantHas("1,2,3")
				said := s.errors()
				if len(said) != 1 || said[0].ContextMap()["in_force"] != loadedInForce {
					t.Errorf("want one error, got %v", said)
				}
				loaded := broken.text
				if broken.name == "include gone" {
					loaded = strings.Replace(loaded, "include gone.conf\n", "\n#! Config files missing 'gone.conf'.\n", 1)
				}
				k.load(s.path, loaded)
				time.Sleep(2 * time.Second)
				if got := s.has(); strings.Contains(got, "2") || !strings.Contains(got, "1") {
					t.Errorf("in force: %s, want what keepalived runs", got)
				}
				if s.note() != "" {
					t.Errorf("a note about what keepalived runs: %q", s.note())
				}
			})
		})
	}
}

// With reload_check_config keepalived writes what it refuses into its copy, and
// goes on with what it had.
func TestACopyThatKeepalivedRefusesIsNotWhatItRuns(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.run(t)
		refused := brokenFiles[2].text
		s.write(refused)
		k.load(s.path, refused)
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
	})
}

func TestACopyThatKeepalivedIsWritingIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, dir, three)
		k := newKeepalived(t, s)
		k.load(s.path, three)
		s.run(t)
		k.put("# " + s.path + "\n" + three[:strings.Index(three, "192.0.2.2")])
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
		k.put("")
		time.Sleep(2 * time.Second)
		s.wantHas("1,2,3")
	})
}

func TestTheCopyOfAnotherFileIsNoAnswer(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir, three)
	newKeepalived(t, s).load("/etc/keepalived/other.conf", strings.Replace(three, "192.0.2.2/32\n", "", 1))
	s.wantHas("1,2,3")
	if s.note() != "" {
		t.Errorf("a note about another keepalived: %q", s.note())
	}
}

// An unprivileged notify script cannot read what keepalived has open, but when it was
// started.
func TestAFileOlderThanKeepalivedIsLoaded(t *testing.T) {
	dir := t.TempDir()
	former := newShelf(t, dir, three)
	former.wantHas("1,2,3")
	former.Retain()
	s := newShelf(t, dir, brokenFiles[0].text)
	at := stampOf(s.path).changed
	k := exec.Command("sleep", "60")
	for { // until the clock of process starts, 10 ms a tick, is past the change
		if err := k.Start(); err != nil {
			t.Fatal(err)
		}
		later := startedAfter(k.Process.Pid, time.Unix(at.Unix()))
		s.Process = func() (int, bool) { return k.Process.Pid, true }
		if later {
			break
		}
		_ = k.Process.Kill()
		_ = k.Wait()
		k = exec.Command("sleep", "60")
	}
	defer func() {
		_ = k.Process.Kill()
		_ = k.Wait()
	}()
	s.wantHas("1")
	s.write(three[:strings.Index(three, "192.0.2.1")])
	s.follow(t.Context())
	s.wantHas("1")
}

package notify_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/pidfd"
	"berth/notify"
	"berth/vrrp"

	"golang.org/x/sys/unix"
)

// nobody is another user than that of this process.
const nobody = 65534

// The directory of the lock is like /var/lock: other users can make files there, and
// made one at the path of the record before berth wrote its first. berth does not
// believe it, does not wait for it, and signals no process because of it.
func TestRecordThatAnotherUserMadeIsNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root to make files of another user")
	}
	bystander := exec.Command("sleep", "600")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	}()
	p, err := pidfd.Open(bystander.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	self.Script = notify.Script{PID: self.PID, Start: self.Start}
	record := func(change func(*notify.Record)) []byte {
		r := notify.Record{PID: p.PID, Start: p.Start, Boot: self.Boot}
		change(&r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	file := func(path string, text []byte) error {
		return errors.Join(os.WriteFile(path, text, 0o644), os.Chown(path, nobody, nobody))
	}
	for name, plant := range map[string]func(path string) error{
		"FIFO":                 func(path string) error { return errors.Join(unix.Mkfifo(path, 0o666), os.Chown(path, nobody, nobody)) },
		"sparse file of 1 TiB": func(path string) error { return errors.Join(file(path, nil), os.Truncate(path, 1<<40)) },
		"newer state": func(path string) error {
			return file(path, record(func(r *notify.Record) { r.State, r.Script = vrrp.Backup, notify.Script{PID: 1, Start: 1 << 60} }))
		},
		"another process": func(path string) error { return file(path, record(func(*notify.Record) {})) },
		"service":         func(path string) error { return file(path, record(func(r *notify.Record) { r.Service = true })) },
		"link to such a record": func(path string) error {
			target := filepath.Join(t.TempDir(), "record")
			return errors.Join(os.WriteFile(target, record(func(*notify.Record) {}), 0o600), os.Symlink(target, path))
		},
		"hard link to such a record": func(path string) error {
			target := filepath.Join(filepath.Dir(path), "record")
			return errors.Join(os.WriteFile(target, record(func(*notify.Record) {}), 0o600), os.Link(target, path))
		},
		"device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) }, // /dev/zero
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
			lockFile := filepath.Join(dir, "lock")
			if err := plant(notify.RecordPath(lockFile)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				err := notify.Supersede(t.Context(), lockFile, self, journal.New(nil)) // as if the lock were held
				done <- errors.Join(err, notify.Ask(t.Context(), lockFile, self), notify.Enter(self, journal.New(nil), lockFile))
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("berth waits for the record")
			}
			if p.Ended() {
				t.Fatal("another process was ended")
			}
			if now, err := notify.ReadRecord(lockFile); err != nil || now != self {
				t.Errorf("on record is %+v, %v; want this process", now, err)
			}
		})
	}
}

func TestRecordIsNotWrittenThroughALinkOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	lockFile := filepath.Join(dir, "lock")
	// At a name that another user can guess for berth's unfinished record.
	if err := os.Symlink(victim, notify.RecordPath(lockFile)+".new"); err != nil {
		t.Fatal(err)
	}
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Write(lockFile); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "root's" {
		t.Errorf("the target of the link is now %q, %v", text, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %s, %v", strings.Join(left, " "), err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/internal/testnet"

	"golang.org/x/sys/unix"
)

// machine is a host of its own on which berth is a notify script.
type machine struct {
	*testnet.Node
	t    *testing.T
	bell *testnet.Bell
}

func newMachine(t *testing.T, extra string) *machine {
	t.Helper()
	testnet.Require(t)
	bell := new(testnet.Bell)
	n, err := testnet.New("lb1", bell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{n, t, bell}
	m.must(errors.Join(
		n.Install("/usr/bin/berth", self, 0o755), // the test binary is berth when it is called by that name, see TestMain
		n.WriteFile("/etc/keepalived/keepalived.conf", oneInstance, 0o644),
		n.WriteFile("/etc/berth.yml", "provider: fake\nkeepalived-version: 2.2.7\n"+extra, 0o600)))
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) do(f func() error) {
	m.t.Helper()
	m.must(m.Do(f))
}

func (m *machine) wait(what string, cond func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), waitLimit)
	defer cancel()
	if err := m.bell.Wait(ctx, cond); err != nil {
		m.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// invoke starts berth as a notify script for an event.
func (m *machine) invoke(state, conf string) *testnet.Process {
	m.t.Helper()
	p, err := m.Start(state, "/usr/bin/berth", conf, "INSTANCE", "VI_1", state, "100")
	m.must(err)
	return p
}

// master starts an invocation for MASTER and waits for its claim.
func (m *machine) master(conf string) *testnet.Process {
	m.t.Helper()
	p := m.invoke("MASTER", conf)
	m.wait("the claim", func() bool { return ended(p) || strings.Contains(p.Log.String(), "REFRESH 192.0.2.1/24") })
	if ended(p) {
		m.t.Fatalf("MASTER ended with %d:\n%s", p.ExitCode(), p.Log)
	}
	return p
}

// backup runs an invocation for BACKUP, which ends the one for MASTER.
func (m *machine) backup(conf string, master *testnet.Process) {
	m.t.Helper()
	p := m.invoke("BACKUP", conf)
	m.wait("BACKUP to be done", func() bool { return ended(p) })
	if p.ExitCode() != 0 {
		m.t.Fatalf("BACKUP exits with %d\nBACKUP: %s\nMASTER: %s", p.ExitCode(), p.Log, master.Log)
	}
	m.wait("MASTER to end", func() bool { return ended(master) })
}

func ended(p *testnet.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

const formerConf = "/etc/former.yml"

// former writes a configuration with the former default of the lock, from before
// the lock had a directory of its own.
func (m *machine) former() string {
	m.must(m.WriteFile(formerConf, "provider: fake\nkeepalived-version: 2.2.7\nlock-file-template: /var/lock/berth-%s.lock\n", 0o600))
	return formerConf
}

// No lock, no record and no status can be written.
func TestMasterClaimsAndBackupEndsItWhereNoLockFileCanBeHad(t *testing.T) {
	for name, mount := range map[string]func() error{
		"read-only file system": func() error { return unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_RDONLY, "") },
		"full file system": func() error {
			if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "size=4k"); err != nil {
				return err
			}
			return os.WriteFile("/run/fill", make([]byte, 4096), 0o600)
		},
		"no inodes left": func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "nr_inodes=1") },
		"a file where the run directory would be": func() error {
			return errors.Join(unix.Mount("tmpfs", "/run", "tmpfs", 0, ""), os.WriteFile("/run/berth", nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "")
			m.do(mount)
			for range 2 {
				master := m.master("/etc/berth.yml")
				// After a second MASTER only the newer invocation stays.
				newer := m.master("/etc/berth.yml")
				m.wait("the older one to end", func() bool { return ended(master) })
				if name != "full file system" { // there the lock can be taken, and only the record cannot be written
					m.wait("the missing lock to be reported", func() bool { return strings.Contains(master.Log.String(), "acting without the lock") })
				}
				m.backup("/etc/berth.yml", newer)
			}
		})
	}
}

// The disk becomes full after the lock files were made.
func TestMasterThatCouldNotRecordItselfIsEndedByBackup(t *testing.T) {
	m := newMachine(t, "")
	m.do(func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "size=64k") })
	// An earlier MASTER and BACKUP leave the lock files; then the file system is
	// filled to the last byte.
	m.backup("/etc/berth.yml", m.master("/etc/berth.yml"))
	m.do(func() error {
		if err := os.Remove("/run/berth/lock/VI_1.lock.owner"); err != nil {
			return err
		}
		err := os.WriteFile("/run/fill", make([]byte, 1<<20), 0o600)
		if !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("the file system takes a megabyte: %w", err)
		}
		return nil
	})
	master := m.master("/etc/berth.yml")
	m.backup("/etc/berth.yml", master)
	m.wait("the missing record to be reported", func() bool { return strings.Contains(master.Log.String(), "cannot record the newest event") })
}

func TestLockDirectoryIsMadeForBerthsUserAlone(t *testing.T) {
	m := newMachine(t, "")
	m.backup("/etc/berth.yml", m.master("/etc/berth.yml"))
	m.do(func() error {
		st, err := os.Stat("/run/berth/lock")
		if err == nil && st.Mode() != os.ModeDir|0o700 {
			err = fmt.Errorf("mode %v", st.Mode())
		}
		_, ferr := os.Stat("/run/berth/lock/VI_1.lock")
		return errors.Join(err, ferr)
	})
}

func TestUpgradeAndDowngradeAcrossTheLocksNewPlaceLeaveOneHolder(t *testing.T) {
	m := newMachine(t, "")
	former := m.former()
	const now = "/etc/berth.yml"
	for _, row := range []struct{ name, before, after string }{
		{"upgrade", former, now},
		{"downgrade", now, former},
	} {
		t.Run(row.name, func(t *testing.T) {
			m.t = t
			older := m.master(row.before)
			newer := m.master(row.after)
			m.wait("the holder of the other lock to end", func() bool { return ended(older) })
			m.backup(row.before, newer)
			m.backup(row.after, m.master(row.before))
		})
	}
}

// Another user makes these files before berth takes its first lock.
func TestLockFilesThatANeighbourMadeDelayNoClaimAndNoBackup(t *testing.T) {
	const lock = "/var/lock/berth-VI_1.lock"
	theirs := func(err error) error { return errors.Join(err, os.Lchown(lock, 65534, 65534)) }
	for name, plant := range map[string]func() error{
		"FIFO":      func() error { return theirs(unix.Mkfifo(lock, 0o666)) },
		"file":      func() error { return theirs(os.WriteFile(lock, nil, 0o666)) },
		"link":      func() error { return theirs(os.Symlink("/etc/passwd", lock)) },
		"directory": func() error { return theirs(os.Mkdir(lock, 0o777)) },
		"record, FIFO": func() error {
			return errors.Join(unix.Mkfifo(lock+".owner", 0o666), os.Chown(lock+".owner", 65534, 65534))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "")
			former := m.former()
			m.do(plant)
			for _, conf := range []string{former, "/etc/berth.yml"} {
				m.backup(conf, m.master(conf))
			}
			m.do(func() error {
				text, err := os.ReadFile("/etc/passwd")
				if err == nil && !strings.HasPrefix(string(text), "root:") {
					err = fmt.Errorf("/etc/passwd is now %q", text)
				}
				return err
			})
		})
	}
}

package reading

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/internal/files"
	"berth/internal/pidfd"
	"berth/keepalivedconf"

	"golang.org/x/sys/unix"
)

// maxConsolidated bounds what is read of keepalived's processes: more than its
// files can have.
const maxConsolidated = 80 << 20

// loaded is what keepalived has loaded. keepalived's parent process writes all
// files into one, without a name, that its VRRP process reads; both keep it open,
// and root can read it below /proc. It is written anew at each reload.
type loaded struct {
	process pidfd.Info // the parent process that it was read from
	link    string     // below /proc, to the text
	stamp   stamp      // of the text that conf comes from
	conf    *keepalivedconf.Config
}

// forget has the text read again, as another version reads it.
func (l *loaded) forget() { l.stamp = stamp{} }

// read returns what keepalived, of which parent is the parent process, has loaded
// of the file at path; nil if that cannot be told. It is cheap while nothing has
// changed, and parses no text of which newest, which may be nil, is the reading.
func (l *loaded) read(parent int, path string, newest *keepalivedconf.Config, o keepalivedconf.Options) *keepalivedconf.Config {
	info, err := pidfd.Stat(parent)
	if err != nil {
		*l = loaded{}
		return nil
	}
	if info.PID != l.process.PID || info.Start != l.process.Start {
		*l = loaded{process: info}
	}
	if l.link == "" || !isConsolidated(l.link) {
		if l.link = consolidatedOf(parent); l.link == "" {
			return l.conf
		}
	}
	now := stampOf(l.link)
	if now == l.stamp {
		return l.conf
	}
	text, err := files.Read(l.link, maxConsolidated)
	if err != nil || stampOf(l.link) != now {
		return l.conf // keepalived is writing it; the next call reads it whole
	}
	if name, ok := keepalivedconf.ConsolidatedPath(text); !ok || !sameFile(parent, name, path) {
		// keepalived has loaded another file than berth was told to read.
		l.stamp, l.conf = now, nil
		return nil
	}
	if newest != nil && !newest.Refused && newest.Sum == keepalivedconf.SumConsolidated(text) {
		l.stamp, l.conf = now, newest
		return newest
	}
	conf, err := keepalivedconf.ParseConsolidated(text, o)
	if err != nil {
		return l.conf
	}
	l.stamp = now
	// With reload_check_config keepalived writes a configuration that it then refuses,
	// and goes on with the former; without reload_check_config it ends.
	if !conf.Refused {
		l.conf = conf
	}
	return l.conf
}

func isConsolidated(link string) bool {
	target, err := os.Readlink(link)
	return err == nil && strings.HasSuffix(target, keepalivedconf.ConsolidatedName)
}

// consolidatedOf returns the link to a process's consolidated configuration,
// empty if the process has none, or its descriptors may not be read.
func consolidatedOf(pid int) string {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if link := filepath.Join(dir, e.Name()); isConsolidated(link) {
			return link
		}
	}
	return ""
}

// sameFile reports whether a path means the same file for a process as ours does for
// berth.
func sameFile(pid int, theirs, ours string) bool {
	if abs, err := filepath.Abs(ours); err == nil && filepath.IsAbs(theirs) && filepath.Clean(theirs) == abs {
		return true
	}
	proc := "/proc/" + strconv.Itoa(pid)
	if filepath.IsAbs(theirs) {
		theirs = proc + "/root" + theirs
	} else {
		theirs = proc + "/cwd/" + theirs
	}
	a, err1 := os.Stat(theirs)
	b, err2 := os.Stat(ours)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// ticksPerSecond is the unit of a process's start time, USER_HZ, the same on all
// machines that Go knows.
const ticksPerSecond = 100

// startedAfter reports whether a process began after a moment, by more than the
// resolution of the clocks. It reports false where that cannot be told.
func startedAfter(pid int, moment time.Time) bool {
	info, err := pidfd.Stat(pid)
	var now, sinceBoot unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot) != nil {
		return false
	}
	const tick = time.Second / ticksPerSecond
	age := time.Duration(sinceBoot.Nano()) - time.Duration(info.Start)*tick
	return time.Unix(now.Unix()).Add(-age).Sub(moment) > tick
}

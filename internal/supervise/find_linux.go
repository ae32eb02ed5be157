package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"berth/internal/files"
	"berth/internal/pidfd"
)

// Keepalived is a keepalived that runs.
type Keepalived struct {
	// Parent is the process that a pid file names.
	Parent int
	// VRRP is its child that runs the VRRP instances, 0 where it could not be
	// told which of the children that is.
	VRRP int
	// Proven is set if the executable of Parent is keepalived's. Where that may
	// not be looked at, its name is all that is known.
	Proven bool
}

// pids returns the processes that are known.
func (k Keepalived) pids() []int {
	if k.VRRP == 0 {
		return []int{k.Parent}
	}
	return []int{k.Parent, k.VRRP}
}

// Writers returns the processes that may write events: the VRRP process, or the
// parent and all its children where it is not known which that is.
func (k Keepalived) Writers() []int {
	if k.VRRP != 0 {
		return []int{k.VRRP, k.Parent}
	}
	return append(children(k.Parent), k.Parent)
}

// maxPIDFile bounds a pid file.
const maxPIDFile = 4096

// Find finds a running keepalived by its pid file. holds, which may be nil, tells
// whether a process has berth's FIFO open: that is berth's keepalived for certain,
// and it is looked for among all processes where the keepalived of the pid file
// is not there, or does not have the FIFO open. The error says why keepalived is
// not known. It does not say that keepalived does not run.
func Find(pidFile string, holds func(pid int) bool) (Keepalived, error) {
	k, err := byPIDFile(pidFile)
	if holds == nil {
		return k, err
	}
	if err == nil {
		for _, pid := range k.Writers() {
			if holds(pid) {
				return k, nil
			}
		}
	}
	if found, ok := search(pidFile, holds); ok {
		return found, nil
	}
	return k, err
}

// Sender finds the keepalived that can have started a script: that of the pid
// file, or any that shares the script's mount namespace, which a script inherits.
// It runs, and did not start later than the script.
func Sender(pidFile string, script pidfd.Info) (Keepalived, bool) {
	before := func(pid int) bool {
		info, err := pidfd.Stat(pid)
		return err == nil && info.Start <= script.Start
	}
	if k, err := Find(pidFile, nil); err == nil && before(k.Parent) {
		return k, true
	}
	own, err := mountNamespace(script.PID)
	return search(pidFile, func(pid int) bool {
		theirs, err2 := mountNamespace(pid)
		return before(pid) && (err != nil || err2 != nil || theirs == own)
	})
}

func mountNamespace(pid int) (string, error) {
	return os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
}

// Visible reports whether the processes of other users are shown by /proc, which
// the mount option hidepid prevents.
func Visible() bool {
	_, err := pidfd.Stat(1)
	return err == nil
}

func byPIDFile(pidFile string) (Keepalived, error) {
	text, err := files.Read(pidFile, maxPIDFile)
	if err != nil {
		return Keepalived{}, fmt.Errorf("read keepalived's pid file: %w", err)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid < 1 {
		return Keepalived{}, fmt.Errorf("read keepalived's pid file %s: it holds no pid", pidFile)
	}
	info, err := pidfd.Stat(pid)
	if errors.Is(err, os.ErrNotExist) {
		return Keepalived{}, fmt.Errorf("the pid file %s is stale, or of another PID namespace: there is no process %d", pidFile, pid)
	}
	if err != nil {
		return Keepalived{}, err
	}
	is, proven := identify(info)
	switch {
	case !is:
		return Keepalived{}, fmt.Errorf("the pid file %s is stale, or of another PID namespace: process %d is %s", pidFile, pid, info.Name)
	case info.State == 'Z':
		return Keepalived{}, fmt.Errorf("the pid file %s is stale: process %d has ended", pidFile, pid)
	}
	return Keepalived{Parent: pid, VRRP: vrrpProcess(pid, pidFile), Proven: proven}, nil
}

// search looks through all processes for a keepalived of which the VRRP process
// fulfils holds.
func search(pidFile string, holds func(pid int) bool) (Keepalived, bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Keepalived{}, false
	}
	var lone Keepalived // without a parent of its kind
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Most processes are told by this alone; those of the kernel have none.
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err == nil && !ours(exe) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		info, err := pidfd.Stat(pid)
		if err != nil || info.State == 'Z' {
			continue
		}
		is, proven := identify(info)
		if !is || !holds(pid) {
			continue
		}
		parent, err := pidfd.Stat(info.Parent)
		if err != nil || parent.State == 'Z' || !isKeepalived(parent) {
			lone = Keepalived{Parent: pid, VRRP: vrrpProcess(pid, pidFile), Proven: proven}
			continue
		}
		k := Keepalived{Parent: parent.PID, VRRP: vrrpProcess(parent.PID, pidFile), Proven: proven}
		if k.VRRP == 0 && len(children(parent.PID)) < 2 {
			k.VRRP = pid
		}
		return k, true
	}
	return lone, lone.Parent != 0
}

// vrrpProcess finds the VRRP process of keepalived's parent process, 0 if it is
// not known. A keepalived that runs VRRP alone has one child; beside a checker or
// BFD process the VRRP process's own pid file, in the directory of the parent's,
// tells which it is.
func vrrpProcess(parent int, pidFile string) int {
	children := children(parent)
	if len(children) == 1 {
		return children[0]
	}
	for _, file := range []string{"vrrp.pid", "keepalived_vrrp.pid"} {
		text, err := files.Read(filepath.Join(filepath.Dir(pidFile), file), maxPIDFile)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
		if err != nil {
			continue
		}
		for _, c := range children {
			if c == pid {
				return pid
			}
		}
	}
	return 0
}

// children returns the living children of pid that are keepalived's, from
// /proc/PID/task/PID/children, which proc(5) has since Linux 3.5.
func children(pid int) []int {
	p := strconv.Itoa(pid)
	text, err := os.ReadFile("/proc/" + p + "/task/" + p + "/children")
	if err != nil {
		return nil
	}
	var found []int
	for _, word := range bytes.Fields(text) {
		child, err := strconv.Atoi(string(word))
		if err != nil {
			continue
		}
		if info, err := pidfd.Stat(child); err == nil && info.State != 'Z' && isKeepalived(info) {
			found = append(found, child)
		}
	}
	return found
}

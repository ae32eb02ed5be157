package keepalived

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"berth/internal/files"
	"berth/internal/pidfd"
)

// Processes are those of a keepalived that runs.
type Processes struct {
	// Parent is the process that a pid file names.
	Parent int
	// VRRP is its child that runs the VRRP instances, 0 where it could not be
	// told which of the children that is.
	VRRP int
	// Proven is set if the executable of Parent is keepalived's. Where the executable
	// may not be read, the name of the process is all that is known.
	Proven bool
}

// pids returns the processes that are known.
func (k Processes) pids() []int {
	if k.VRRP == 0 {
		return []int{k.Parent}
	}
	return []int{k.Parent, k.VRRP}
}

// Writers returns the processes that may write events: the VRRP process, or the
// parent and all its children where it is not known which of them that is.
func (k Processes) Writers() []int {
	if k.VRRP != 0 {
		return []int{k.VRRP, k.Parent}
	}
	return append(children(k.Parent), k.Parent)
}

// maxPIDFile bounds a pid file, in bytes.
const maxPIDFile = 4096

// find finds a running keepalived by its pid file. belongs is as in Options. The error
// says why keepalived is not known.
func find(pidFile string, belongs func(pid int) bool) (Processes, error) {
	k, err := byPIDFile(pidFile)
	if belongs == nil {
		return k, err
	}
	if err == nil {
		for _, pid := range k.Writers() {
			if belongs(pid) {
				return k, nil
			}
		}
	}
	if found, ok := search(pidFile, belongs); ok {
		return found, nil
	}
	return k, err
}

// sender finds the keepalived that can have started a script: that of the pid
// file, or any that shares the script's mount namespace, which a script inherits.
// It runs, and did not start later than the script.
func sender(pidFile string, script pidfd.Info) (Processes, bool) {
	before := func(pid int) bool {
		info, err := pidfd.Stat(pid)
		return err == nil && info.Start <= script.Start
	}
	if k, err := byPIDFile(pidFile); err == nil && before(k.Parent) {
		return k, true
	}
	own, err := mountNamespace(script.PID)
	return search(pidFile, func(pid int) bool {
		theirs, err2 := mountNamespace(pid)
		return before(pid) && (err != nil || err2 != nil || theirs == own)
	})
}

// answers reports whether a process of keepalived's executable answers a question and
// ends, as the one that each berth asks for the version does, by its options
// (keepalived(8)). Its end is no death of a keepalived.
func answers(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return false
	}
	for i, word := range strings.Split(string(text), "\x00") {
		option, _, _ := strings.Cut(word, "=")
		switch option {
		case "-v", "--version", "-t", "--config-test", "-h", "--help", "--signum":
			if i > 0 {
				return true
			}
		}
	}
	return false
}

func mountNamespace(pid int) (string, error) {
	return os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
}

func byPIDFile(pidFile string) (Processes, error) {
	text, err := files.Read(pidFile, maxPIDFile)
	if err != nil {
		return Processes{}, fmt.Errorf("read keepalived's pid file: %w", err)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid < 1 {
		return Processes{}, fmt.Errorf("read keepalived's pid file %s: it holds no pid", pidFile)
	}
	info, err := pidfd.Stat(pid)
	if errors.Is(err, os.ErrNotExist) {
		return Processes{}, fmt.Errorf("the pid file %s is stale, or of another PID namespace: there is no process %d", pidFile, pid)
	}
	if err != nil {
		return Processes{}, err
	}
	is, proven := identify(info)
	switch {
	case !is:
		return Processes{}, fmt.Errorf("the pid file %s is stale, or of another PID namespace: process %d is %s", pidFile, pid, info.Name)
	case info.State == 'Z':
		return Processes{}, fmt.Errorf("the pid file %s is stale: process %d has ended", pidFile, pid)
	}
	return Processes{Parent: pid, VRRP: vrrpProcess(pid, pidFile), Proven: proven}, nil
}

// search searches all processes for a keepalived of which belongs reports that the VRRP
// process is the right one.
func search(pidFile string, belongs func(pid int) bool) (Processes, bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Processes{}, false
	}
	var lone Processes // without a parent of its kind
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The executable alone rules most processes out; threads of the kernel have none.
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err == nil && !isExecutable(exe) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		info, err := pidfd.Stat(pid)
		if err != nil || info.State == 'Z' {
			continue
		}
		is, proven := identify(info)
		if !is || answers(pid) || !belongs(pid) {
			continue
		}
		parent, err := pidfd.Stat(info.Parent)
		if err != nil || parent.State == 'Z' || !isKeepalived(parent) {
			lone = Processes{Parent: pid, VRRP: vrrpProcess(pid, pidFile), Proven: proven}
			continue
		}
		k := Processes{Parent: parent.PID, VRRP: vrrpProcess(parent.PID, pidFile), Proven: proven}
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

// name is keepalived's process name (comm). Its child processes have the same
// or, with process_names in its configuration, one that begins with it.
const name = "keepalived"

// isKeepalived tells keepalived from a script that is named after it. The name
// decides where the executable may not be read: for a script run as another
// user.
func isKeepalived(info pidfd.Info) bool {
	is, _ := identify(info)
	return is
}

// identify is isKeepalived; proven is set where the executable decided.
func identify(info pidfd.Info) (is, proven bool) {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(info.PID) + "/exe")
	if err != nil {
		return strings.HasPrefix(info.Name, name), false
	}
	return isExecutable(exe), true
}

// isExecutable reports whether a path is that of keepalived's executable, also after
// an upgrade has deleted it.
func isExecutable(exe string) bool { return strings.HasPrefix(filepath.Base(exe), name) }

package fifo

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// id tells one file from another that has, or had, the same path.
type id struct{ dev, ino uint64 }

var zero id

func idOf(st *unix.Stat_t) id { return id{st.Dev, st.Ino} }

// OpenIn reports whether a process has the FIFO at path open, which it need not
// have opened under that path. The error says that its descriptors may not be
// looked at, which takes the same user and, for a process of root, CAP_SYS_PTRACE;
// see proc(5). A process that has ended has nothing open.
func OpenIn(pid int, path string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false, fmt.Errorf("look at FIFO %s: %w", path, err)
	}
	return openIn(pid, idOf(&st))
}

func openIn(pid int, file id) (bool, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the descriptors of process %d: %w", pid, err)
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		target, err := os.Readlink(path)
		if errors.Is(err, os.ErrPermission) {
			return false, fmt.Errorf("look at the descriptors of process %d: %w", pid, err)
		}
		// Sockets and the like have no slash in front.
		if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/dev/") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && idOf(&st) == file {
			return true, nil
		}
	}
	return false, nil
}

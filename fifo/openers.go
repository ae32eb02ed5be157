package fifo

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// id tells apart two files that have, or had, the same path.
type id struct{ dev, ino uint64 }

func (i id) unset() bool { return i == id{} }

func idOf(st *unix.Stat_t) id { return id{st.Dev, st.Ino} }

// OpenIn reports whether a process has the FIFO at path open, under whatever path the
// process opened it. An error says that this process may not read the descriptors of
// the other: that takes the same user and, for a process of root, CAP_SYS_PTRACE; see
// proc(5). A process that has ended has no descriptor.
func OpenIn(pid int, path string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false, fmt.Errorf("stat FIFO %s: %w", path, err)
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
		return false, fmt.Errorf("read the descriptors of process %d: %w", pid, err)
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		target, err := os.Readlink(path)
		if errors.Is(err, os.ErrPermission) {
			return false, fmt.Errorf("read the descriptors of process %d: %w", pid, err)
		}
		// The names of sockets and pipes do not begin with a slash.
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

package reading

import (
	"slices"
	"time"

	"berth/keepalivedconf"

	"golang.org/x/sys/unix"
)

// stamp tells whether a file is still what was read. The zero value stands for
// a file that is not there.
type stamp struct {
	size              int64
	inode             uint64
	modified, changed unix.Timespec
}

func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	return stamp{size: st.Size, inode: st.Ino, modified: st.Mtim, changed: st.Ctim}
}

func stampAll(paths []string) map[string]stamp {
	stamps := make(map[string]stamp, len(paths))
	for _, path := range paths {
		stamps[path] = stampOf(path)
	}
	return stamps
}

// lastChange returns when the newest of the files was changed. It reports false
// if one of them is not there: when that one was removed is not known.
func lastChange(stamps map[string]stamp) (newest time.Time, ok bool) {
	for _, s := range stamps {
		if s == (stamp{}) || s.size < 0 {
			return time.Time{}, false
		}
		if at := time.Unix(s.changed.Unix()); at.After(newest) {
			newest = at
		}
	}
	return newest, len(stamps) > 0
}

// parseTries bounds how often a file is read again because it changed under
// the reading.
const parseTries = 3

// parse reads the file, and returns stamps that are surely those of what was
// read: taken before, and found the same after. Where that fails, because the file is
// written again and again, the stamps match nothing, and it is read again later.
func parse(path string, o keepalivedconf.Options) (*keepalivedconf.Config, map[string]stamp, error) {
	files := []string{path}
	for try := 1; ; try++ {
		before := stampAll(files)
		conf, err := keepalivedconf.ParseFile(path, o)
		if err != nil {
			return nil, before, err
		}
		files = slices.Concat(conf.Files, conf.Dirs)
		after := stampAll(files)
		same := true
		for path, is := range after {
			if was, known := before[path]; !known || was != is {
				same = false
				after[path] = stamp{size: -1}
			}
		}
		if same || try == parseTries {
			return conf, after, nil
		}
	}
}

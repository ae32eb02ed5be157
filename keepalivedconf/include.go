package keepalivedconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Limits that keepalived does not have, or has only by running out of memory or
// file descriptors. A configuration that exceeds a limit gets a message, and its
// reading never hangs.
const (
	// sizeLimit bounds the bytes of all files of one configuration.
	sizeLimit = 64 << 20
	// depthLimit bounds how deep files may include one another. keepalived
	// continues until it runs out of file descriptors.
	depthLimit = 100
	// extraLineLimit bounds the lines that loops, definitions of several
	// lines and repeated includes add to those that the files have.
	extraLineLimit = 500_000
	// matchLimit bounds the names that are compared with one pattern.
	matchLimit = 100_000
)

// includeCheck says which failures of an include end keepalived.
type includeCheck uint8

const (
	checkRead     includeCheck = 1 << iota // a match cannot be read, is executable or is not a regular file
	checkMatch                             // a plain name does not exist
	checkWildcard                          // a wildcard matches nothing
	checkBrace                             // a {} alternative does not exist
	checkAll      = checkRead | checkMatch | checkWildcard | checkBrace
)

// includeForms has the letter after "include" and what it checks. The plain
// form never fails by itself.
var includeForms = map[byte]includeCheck{
	'r': checkRead,
	'm': checkRead | checkMatch,
	'w': checkRead | checkMatch | checkWildcard,
	'b': checkRead | checkBrace,
	'a': checkAll,
}

// includePattern returns the pattern of an include line. The pattern reaches to
// the end of the line, and quotes and blanks inside belong to it, unless the version
// reads words.
func (r *reader) includePattern(line []byte) (pattern string, check includeCheck, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("include"))
	switch {
	case r.dialect.has[includeHasWords]:
		words, _ := appendWords(nil, line)
		if len(words) != 2 || string(words[0]) != "include" {
			return "", 0, false
		}
		return string(words[1]), 0, true
	case !ok || len(rest) == 0:
		return "", 0, false
	case !r.dialect.has[strictIncludes] && !isBlank(rest[0]):
		return "", 0, false
	case !isSpace(rest[0]):
		if check, ok = includeForms[rest[0]]; !ok || len(rest) < 2 || !isSpace(rest[1]) {
			return "", 0, false
		}
		rest = rest[1:]
	}
	return string(trimBlankLeft(rest[1:])), check, true
}

// text is the content of a file with a reading position. Two entries of the
// include stack can share one.
type text struct {
	data   []byte
	pos    int
	closed bool
	again  bool // it has been read before
	file   int  // index into reader.files
	line   int  // lines read so far
}

// opened is an entry of the include stack: the files that one pattern names,
// of which one is being read.
type opened struct {
	text    *text
	matches []string
	next    int
	check   includeCheck
	// Restored at the end of a file.
	savedCheck includeCheck
	savedDir   string
	movedDir   bool
}

// include opens the files that a pattern names. They are read before the
// rest of the current file.
func (r *reader) include(pattern string, check includeCheck) {
	if len(r.stack) >= depthLimit {
		r.warn("files are included more than %d deep: this include is ignored; look for a file that includes itself", depthLimit)
		return
	}
	if strings.ContainsRune(pattern, '"') && !r.dialect.has[includeHasWords] {
		r.warn("include %s: the quotes belong to the file name, because include takes none; remove them", pattern)
	}
	e := &opened{check: check, savedCheck: r.check}
	r.stack = append(r.stack, e)
	if !r.glob(e, pattern) || !r.openNext(e) {
		r.stack = r.stack[:len(r.stack)-1]
	} else if r.second {
		r.warn("include %s: keepalived carries out twice what a condition or a macro includes, so that its content counts twice; include it plainly", pattern)
	}
}

// glob finds the files of an include.
func (r *reader) glob(e *opened, pattern string) bool {
	found := expandGlob(r.dir, pattern)
	r.addDirs(found.dirs)
	if found.stopped {
		r.warn("include %s: the pattern has more than %d alternatives or is compared with more than %d names, and only the first are used; narrow it", pattern, bracesLimit, matchLimit)
	}
	e.matches = found.paths
	switch missing := found.missingFiles || found.missingDirs; {
	case len(found.paths) == 0 && missing && hasBrace(pattern):
		r.includeFailed(e, checkBrace, "include %s: no such file; create it or remove the line", pattern)
		return false
	case len(found.paths) == 0 && missing:
		r.includeFailed(e, checkMatch, "include %s: no such file; create it or remove the line", pattern)
		return false
	case len(found.paths) == 0:
		r.includeFailed(e, checkWildcard, "include %s: no file matches; check the pattern and the directory", pattern)
		return false
	case missing:
		r.includeFailed(e, checkBrace, "include %s: some of the files do not exist; create them or remove them from the line", pattern)
		return (r.check|e.check)&checkBrace == 0
	}
	return true
}

// includeFailed reports a failure that ends keepalived only where the form of
// the include, or include_check, makes the failure fatal.
func (r *reader) includeFailed(e *opened, kind includeCheck, format string, args ...any) {
	r.report.doubt(&r.report.failedIncludes, r.message(r.at), format, args...)
	if r.firstPass() && (r.check|e.check)&kind != 0 {
		r.refuse(format, args...)
		return
	}
	r.warn(format, args...)
}

// openNext opens the next file of an entry that can be read. It returns false at
// the end of the entry.
func (r *reader) openNext(e *opened) bool {
	for e.next < len(e.matches) {
		name := e.matches[e.next]
		e.next++
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.dir, name)
		}
		_, again := r.contents[path]
		data, err := r.readFile(path, len(r.stack) == 1)
		if err != nil {
			r.includeFailed(e, checkRead, "include %s: %v: the file is skipped", name, err)
			if len(r.stack) == 1 {
				r.mainError = err
			}
			continue
		}
		e.text = &text{data: data, again: again, file: r.fileIndex(path)}
		if r.firstPass() {
			r.copied.data = slices.Grow(r.copied.data, len(data)+len(name)+len("# \n!\n"))
			r.where = slices.Grow(r.where, bytes.Count(data, []byte{'\n'})+3)
			r.copyLine(append([]byte("# "), name...), border)
		}
		if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) && r.firstPass() {
			r.report.warn(Message{File: path, Line: 1}, "the file starts with a byte order mark, which makes the first word of the first line unknown; save the file without it")
		}
		r.enterDirOf(e, name)
		return true
	}
	return false
}

// enterDirOf makes the directory of a file the one that relative patterns
// start from. A name without a slash changes nothing.
func (r *reader) enterDirOf(e *opened, name string) {
	e.movedDir = strings.Contains(name, "/")
	if !e.movedDir {
		return
	}
	e.savedDir = r.dir
	if dir := filepath.Dir(name); filepath.IsAbs(dir) {
		r.dir = dir
	} else {
		r.dir = filepath.Join(r.dir, dir)
	}
}

// closeTop ends the file being read and opens the next file of its pattern, or
// takes the entry off the stack. It reports whether the stack has an entry left.
func (r *reader) closeTop() bool {
	e := r.stack[len(r.stack)-1]
	if e.text != nil && e.text != r.copied {
		e.text.closed = true
	}
	if r.firstPass() {
		r.copyLine([]byte("!"), border)
	}
	r.check = e.savedCheck
	if e.movedDir {
		r.dir = e.savedDir
		e.movedDir = false
	}
	if r.openNext(e) {
		return true
	}
	r.stack = r.stack[:len(r.stack)-1]
	return len(r.stack) > 0
}

// Reasons why keepalived, or this package, does not read a file.
var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = fmt.Errorf("the files of this configuration exceed %d MiB together", sizeLimit>>20)
	errExecutable = errors.New("it is executable, which keepalived does not accept (chmod a-x it)")
)

// readFile returns the content of a regular file. It never waits, also where path
// leads to a FIFO or a device. Only the main file may be executable: keepalived
// refuses to run with such a file, but its content can be read.
func (r *reader) readFile(path string, isMain bool) ([]byte, error) {
	if data, ok := r.contents[path]; ok {
		return data, nil
	}
	if data, ok := r.cached[path]; ok {
		r.contents[path] = data
		return data, nil
	}
	// Opening a device can have effects, so its kind is checked before opening, and
	// again after it, because the file can be replaced in between.
	info, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, cause(err)
	}
	switch executable := info.Mode()&0o111 != 0; {
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case executable && isMain:
		r.warnOrRefuseExecutable(path)
	case executable:
		return nil, errExecutable
	}
	// Some files of /proc are regular to stat(2) and block a read like a pipe. A file
	// whose reads cannot block takes no deadline.
	if err := f.SetReadDeadline(time.Now().Add(time.Second)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, cause(err)
	}
	var content bytes.Buffer
	left := int64(sizeLimit-r.size) + 1
	if info.Size() >= left {
		return nil, errTooLarge
	}
	content.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := content.ReadFrom(io.LimitReader(f, left)); err != nil {
		return nil, cause(err)
	}
	data := content.Bytes()
	if len(data) > sizeLimit-r.size {
		return nil, errTooLarge
	}
	r.size += len(data)
	r.contents[path] = data
	return data, nil
}

// cause takes the path off an error, because the message names it already.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

func (r *reader) warnOrRefuseExecutable(path string) {
	if r.firstPass() {
		r.report.refuse(Message{File: path}, "the file is executable, which keepalived does not accept; chmod -x it")
	}
}

package keepalivedconf

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// place is where a line comes from.
type place struct {
	file int32 // index into reader.files
	line int32
}

// replay is what is still to be read of a definition of several lines.
type replay struct {
	name  string // of the definition
	lines []byte
	depth uint32 // loopCount when it started
}

// reader turns files into the lines that the grammar is about: comments
// removed, files included, conditions applied, definitions replaced, loops
// run, and each brace on a line of its own.
//
// It works twice, as keepalived does. The first pass reads the files for the
// parent process and keeps a copy of each line without its comment. The
// second pass reads that copy for the VRRP process. Every line therefore
// loses its comments twice, and an include that only a condition or a macro
// brings forth is carried out in both passes.
type reader struct {
	configID string
	dialect  dialect

	// Input.
	stack    []*opened
	dir      string // that relative names start from
	check    includeCheck
	files    []string
	dirs     []string
	contents map[string][]byte
	size     int
	stopped  bool
	// What was done so far, for the limits.
	extraLines, substitutions int
	// mainError is why a main file could not be read.
	mainError error

	// The copy that the first pass leaves for the second.
	copied *text
	where  []place // of each line of the copy
	second bool
	// falseEnd is where the text last had what looks like the end of a file.
	falseEnd place

	// Macros.
	defs        map[string]*definition
	loops       []*loop
	loopCount   uint32 // keepalived's count of loops, see dropLoop
	replay      replay // what is being replayed
	replaying   bool
	replayDepth uint32   // loopCount when it started
	macros      []replay // definitions interrupted by the one being replayed

	rest    []byte // what follows a brace, to be read next
	hasRest bool
	at      place      // of the line given last
	letters lettersSet // that it may have
	depth   int        // braces that are open

	report *report
}

func newReader(o Options, d dialect, report *report) *reader {
	id := o.ConfigID
	if id == "" {
		id, _ = os.Hostname()
		id, _, _ = strings.Cut(id, ".")
	}
	return &reader{
		configID: id,
		dialect:  d,
		contents: map[string][]byte{},
		defs:     builtins(d),
		copied:   &text{},
		report:   report,
	}
}

// firstPass tells whether the files are read, not the copy of them.
func (r *reader) firstPass() bool { return !r.second }

// startSecondPass goes back to the beginning with the copy of the first.
func (r *reader) startSecondPass(dir string) {
	r.second = true
	r.dir = dir
	r.copied = &text{data: r.copied.data}
	r.stack = []*opened{{text: r.copied, savedCheck: r.check}}
	r.defs = builtins(r.dialect)
	r.loopCount -= uint32(len(r.loops))
	r.loops, r.macros = nil, nil
	r.replay, r.replaying, r.replayDepth = replay{}, false, 0
	r.rest, r.hasRest = nil, false
	r.depth, r.stopped = 0, false
	r.extraLines, r.substitutions = 0, 0
}

// next returns the next line of the grammar. It is valid until the following
// call. It reports false at the end of the configuration.
func (r *reader) next() ([]byte, bool) {
	line, ok := r.nextLine()
	if !ok {
		return nil, false
	}
	head, rest := line, []byte(nil)
	if r.letters&isBrace != 0 {
		head, rest = cutBrace(line)
	} else {
		head = trimBlankRight(head)
	}
	r.rest, r.hasRest = rest, len(rest) > 0
	switch {
	case len(head) != 1:
	case head[0] == '{':
		r.depth++
	case head[0] == '}':
		if r.depth--; r.depth < 0 {
			r.depth = 0
			r.warn("this } closes nothing; remove it, or look for a { that is missing above")
		}
	}
	return head, true
}

// nextLine returns the next line that is neither empty nor a definition, a
// loop, an include, or for another configuration id.
func (r *reader) nextLine() ([]byte, bool) {
	var collecting *definition // of several lines
	for !r.stopped {
		line, ok := r.fetch(collecting)
		if !ok {
			break
		}
		if collecting != nil && collecting.closed {
			collecting = nil
		}
		if collecting != nil {
			if !collecting.extend(line) {
				collecting = nil
			}
			continue
		}
		if r.extraLines > extraLineLimit {
			r.refuse("macros and includes add more than %d lines to those of the files; look for a loop", extraLineLimit)
			r.stopped = true
			break
		}
		line, collecting = r.expand(line)
		if len(line) == 0 {
			continue
		}
		if pattern, check, ok := includePattern(line); ok {
			r.include(pattern, check)
			continue
		}
		return line, true
	}
	return nil, false
}

// expand applies conditions, definitions, loops and substitution to a line,
// again from the start where substitution brings forth more of them. It
// returns nothing if nothing is left to be parsed, and the definition that
// the next lines belong to.
func (r *reader) expand(line []byte) ([]byte, *definition) {
	length := len(line)
	if r.letters&isDollar == 0 && len(line) > 0 && line[0] != '@' && line[0] != '~' {
		return line, nil
	}
	for {
		if len(line) > 0 && line[0] == '@' {
			rest, ok := r.condition(line)
			if !ok {
				return nil, nil
			}
			length -= len(line) - len(rest)
			line = r.afterCondition(line, rest, length)
		}
		if name, value, ok := definitionName(line); ok {
			return nil, r.define(name, value)
		}
		if bytes.HasPrefix(line, []byte("~SEQ")) || bytes.HasPrefix(line, []byte("~LST")) {
			if l, why := r.parseLoop(line); l != nil {
				r.loops = append(r.loops, l)
				r.loopCount++
			} else {
				r.dropLoop(line, why)
			}
			return nil, nil
		}
		if len(line) > 0 && line[0] == '~' {
			return line, nil
		}
		if bytes.IndexByte(line, '$') < 0 {
			return line, nil
		}
		out := r.substitute(line, lineLimit+1)
		if !out.changed {
			return out.text, nil
		}
		if out.several {
			r.replay, r.replaying = out.replay, true
		}
		r.letters = anyLetters
		line, _ = stripComment(out.text, anyLetters)
		if len(line) == 0 || line[0] != '@' && bytes.IndexByte(line, '$') < 0 {
			return line, nil
		}
	}
}

// afterCondition returns a line without its condition. Where the condition
// was brought forth by a macro, keepalived moves only as many letters to the
// front as the line had before: length is that number.
func (r *reader) afterCondition(line, rest []byte, length int) []byte {
	switch moved := length + 1; {
	case moved > len(rest):
		return rest
	case moved < 0:
		r.crash("an @id comes out of a definition that is longer than the line that uses it")
		return rest
	default:
		r.warn("keepalived garbles this line, because its @id comes out of a definition; write the @id itself")
		return append(append([]byte(nil), rest[:moved]...), line[moved:]...)
	}
}

// fetch returns the next line before macros: what follows a brace, the next
// turn of a loop, the next line of a definition, or the next line of a file
// that is not empty once its comment is gone.
func (r *reader) fetch(collecting *definition) ([]byte, bool) {
	r.letters = anyLetters
	switch {
	case r.hasRest:
		r.hasRest = false
		return r.rest, true
	case len(r.loops) > 0 && r.loopCount > r.replayDepth:
		r.extraLines++
		return r.nextOfLoop(), true
	case r.replaying:
		r.extraLines++
		return r.nextOfReplay(), true
	}
	return r.fetchFromFile(collecting)
}

// nextOfReplay returns the next line of the definition being replayed. After
// its last line the one that it interrupted goes on.
func (r *reader) nextOfReplay() []byte {
	line, rest, more := bytes.Cut(r.replay.lines, []byte{'\n'})
	switch {
	case more:
		r.replay.lines = rest
	case len(r.macros) > 0:
		r.replay = r.macros[len(r.macros)-1]
		r.macros = r.macros[:len(r.macros)-1]
		r.replayDepth = r.replay.depth
	default:
		r.replay, r.replaying, r.replayDepth = replay{}, false, 0
	}
	return line
}

// fetchFromFile returns the next line of the file on top of the include
// stack that is not empty once its comment is gone.
func (r *reader) fetchFromFile(collecting *definition) ([]byte, bool) {
	for len(r.stack) > 0 {
		e := r.stack[len(r.stack)-1]
		if e.text.closed {
			r.crash("a comment at the start of a line of a file that is included by a condition or a macro ends that file twice")
			r.stack = r.stack[:len(r.stack)-1]
			continue
		}
		line, whole, ok := r.physicalLine(e.text)
		if !ok {
			if !r.closeTop() {
				return nil, false
			}
			continue
		}
		if whole {
			e.text.line++
		}
		if e.text.again {
			r.extraLines++
		}
		if r.second && len(line) > 0 && (line[0] == '#' || line[0] == '!') {
			if !r.marker(e, line) {
				return nil, false
			}
			continue
		}
		r.setPlace(e.text)
		r.letters = lettersOf(line)
		if r.letters&isNUL != 0 {
			if r.firstPass() {
				r.warn("the line has a NUL byte, which hides what follows it; remove it")
			}
			line = line[:bytes.IndexByte(line, 0)]
			if r.dialect.dropsLongLines {
				line = nil
			}
		}
		if line = trimLineEnd(line); len(line) == 0 {
			if collecting != nil {
				collecting.close()
				collecting.closed = true
				collecting = nil
			}
			if r.firstPass() {
				r.copyLine(nil, r.at)
			}
			continue
		}
		text, openQuote := stripComment(line, r.letters)
		if r.firstPass() {
			if openQuote {
				r.warn("a double quote is not closed: comments are not recognised after it and its words are lost; close it")
			}
			if _, _, ok := includePattern(text); ok {
				r.copyLine(nil, r.at)
			} else {
				r.copyLine(text, r.at)
			}
		}
		if len(text) > 0 {
			return text, true
		}
	}
	return nil, false
}

// physicalLine returns the next line of a file. A line that does not fit
// keepalived's buffer is cut, and what remains is the next line, unless the
// version drops it. whole tells that the end of the line was reached.
func (r *reader) physicalLine(t *text) (line []byte, whole, ok bool) {
	left := t.data[t.pos:]
	if len(left) == 0 {
		return nil, false, false
	}
	n := bytes.IndexByte(left, '\n') + 1
	whole = n > 0
	if !whole {
		n = len(left)
	}
	if n > lineLimit && r.firstPass() && len(trimLineEnd(left[:n])) > lineLimit {
		r.at = place{int32(t.file), int32(t.line + 1)}
		if r.dialect.dropsLongLines {
			r.warn("the line is longer than %d bytes: keepalived ignores it; shorten it", lineLimit)
			t.pos += n
			return nil, whole, true
		}
		r.warn("the line is longer than %d bytes: keepalived reads the rest as a line of its own; shorten it", lineLimit)
	}
	if n > lineLimit {
		n, whole = lineLimit, false
	}
	t.pos += n
	return left[:n], whole, true
}

// border is the place of a line of the copy that marks the border of a file.
var border = place{file: -1}

// marker carries out a line of the copy that starts with # or !: the border
// of an included file. Such a line can also come from the text, as \# and
// \!, or from a file included in the second pass, where it is a comment; it
// is taken for a border all the same. It reports false where that ends
// keepalived.
func (r *reader) marker(e *opened, line []byte) bool {
	fromText := e.text != r.copied || r.where[min(e.text.line, len(r.where))-1] != border
	if fromText {
		r.setPlace(e.text)
	}
	if line[0] == '!' {
		if fromText {
			r.falseEnd = r.at
		}
		if e.movedDir {
			r.dir = e.savedDir
		}
		if r.stack = r.stack[:len(r.stack)-1]; len(r.stack) == 0 {
			r.at = r.falseEnd
			r.crash("keepalived takes a line that starts with \\! for the end of the file")
			return false
		}
		return true
	}
	line = bytes.TrimRight(line, "\n")
	if bytes.HasPrefix(line, []byte("#!")) {
		return true
	}
	if fromText {
		r.warn("the line is lost, because keepalived takes one that starts with # for the beginning of a file; do not start it so")
	}
	entry := &opened{text: e.text, savedCheck: r.check}
	r.stack = append(r.stack, entry)
	if len(line) > 2 {
		r.enterDirOf(entry, string(line[2:]))
	}
	return true
}

// crash reports what makes keepalived use memory that is not its own. Reading
// goes on as a version without that mistake would.
func (r *reader) crash(why string) {
	r.refuse("keepalived may crash here: %s; change that", why)
}

// copyLine adds a line to the copy that the second pass reads.
func (r *reader) copyLine(line []byte, from place) {
	r.copied.data = append(append(r.copied.data, line...), '\n')
	r.where = append(r.where, from)
}

// setPlace remembers where the current line comes from.
func (r *reader) setPlace(t *text) {
	if t != r.copied {
		r.at = place{int32(t.file), int32(t.line)}
		return
	}
	if n := t.line - 1; n >= 0 && n < len(r.where) {
		r.at = r.where[n]
	}
}

// fileIndex returns the index of a file that was read.
func (r *reader) fileIndex(path string) int {
	for i, f := range r.files {
		if f == path {
			return i
		}
	}
	r.files = append(r.files, path)
	return len(r.files) - 1
}

func (r *reader) addDirs(dirs []string) {
	for _, d := range dirs {
		seen := false
		for _, have := range r.dirs {
			seen = seen || have == d
		}
		if !seen {
			r.dirs = append(r.dirs, d)
		}
	}
}

// workingDirectory is what _PWD stands for: the directory of the current
// file, without symbolic links.
func (r *reader) workingDirectory() string {
	if dir, err := filepath.EvalSymlinks(r.dir); err == nil {
		return dir
	}
	return r.dir
}

// message returns a message about the current line.
func (r *reader) message(at place) Message {
	m := Message{Line: int(at.line)}
	if at.file >= 0 && int(at.file) < len(r.files) {
		m.File = r.files[at.file]
	}
	return m
}

func (r *reader) warn(format string, args ...any) {
	r.report.warn(r.message(r.at), format, args...)
}

func (r *reader) refuse(format string, args ...any) {
	r.report.refuse(r.message(r.at), format, args...)
}

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

// reader turns files into the lines that the grammar is about: comments
// removed, files included, conditions applied, definitions replaced, loops
// run, and each brace on a line of its own.
//
// It works twice, as keepalived does. The first pass reads the files for the
// parent process and keeps a copy of each line without its comment. The
// second pass reads that copy for the VRRP process. Every line therefore
// loses its comments twice, and an include that comes out of a condition or a
// macro happens in both passes.
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
	cached   map[string][]byte // of a reading before
	size     int
	stopped  bool
	// Work so far, for the limits.
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
	at      place      // of the last line that next returned
	letters lettersSet // that this line may have
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

// next returns the next line of the grammar, which is valid until the following
// call, or false at the end of the configuration.
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
		if pattern, check, ok := r.includePattern(line); ok {
			r.include(pattern, check)
			continue
		}
		return line, true
	}
	return nil, false
}

// expand applies conditions, definitions, loops and substitution to a line,
// again from the start where a substitution yields more of these. It returns the
// rest of the line, which may be empty, and the definition that the next lines
// belong to.
func (r *reader) expand(line []byte) ([]byte, *definition) {
	length := len(line)
	if r.letters&isDollar == 0 && len(line) > 0 && line[0] != '@' && line[0] != '~' {
		return line, nil
	}
	for replaced := false; ; replaced = true {
		if len(line) > 0 && line[0] == '@' {
			rest, ok := r.condition(line)
			if !ok {
				return nil, nil
			}
			if replaced && r.dialect.has[hangsAtCondition] {
				r.crash("the @id of the line comes out of a definition")
			}
			length -= len(line) - len(rest)
			line = r.afterCondition(line, rest, length)
		}
		if name, value, ok := definitionName(line); ok {
			return nil, r.define(name, value)
		}
		if r.startsLoop(line) {
			r.addLoop(line)
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
		line = out.text
		if !r.dialect.has[commentEndsDefinition] {
			line, _ = stripComment(line, anyLetters, r.dialect.has[commentHidesBackslash])
		}
		if len(line) == 0 || line[0] != '@' && bytes.IndexByte(line, '$') < 0 {
			return line, nil
		}
		if r.dialect.has[replacesOnce] {
			if _, _, ok := definitionName(line); ok || line[0] == '@' || line[0] == '~' {
				r.warn("keepalived takes the first word for a plain one, because the line comes out of a definition; write it without one")
			}
			return line, nil
		}
	}
}

// startsLoop reports whether a line starts a loop wherever it stands.
func (r *reader) startsLoop(line []byte) bool {
	return !r.dialect.has[loopsAreKeywords] && bytes.HasPrefix(line, []byte("~SEQ")) ||
		r.dialect.has[listLoops] && bytes.HasPrefix(line, []byte("~LST"))
}

// addLoop starts the loop of a line.
func (r *reader) addLoop(line []byte) {
	if l, why := r.parseLoop(line); l != nil {
		r.loops = append(r.loops, l)
		r.loopCount++
	} else {
		r.dropLoop(line, why)
	}
}

// crash reports a text that makes keepalived use memory that is not its own.
// Reading continues as a keepalived without that mistake would.
func (r *reader) crash(why string) {
	r.refuse("keepalived may crash here: %s; change that", why)
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

// workingDirectory returns the value of _PWD: the directory of the current file,
// without symbolic links.
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

package keepalivedconf

import "bytes"

// firstPass reports whether the files are read, rather than the copy of them.
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

// startAgain goes back to the beginning for a version whose VRRP process reads the files
// itself.
func (r *reader) startAgain(dir string) {
	r.startSecondPass(dir)
	r.second = false
	r.copied, r.where, r.stack = &text{}, nil, nil
	r.cached, r.contents = r.contents, map[string][]byte{}
	r.check = 0
}

// border is the place of a line of the copy that marks the border of a file.
var border = place{file: -1}

// marker handles a line of the copy that starts with # or !: the border of an
// included file. Such a line can also come from the text, as \# and \!, or from a
// file included in the second pass, where it is a comment; keepalived takes it for
// a border all the same. marker returns false where that ends keepalived.
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
		r.warn("the line is lost, because keepalived takes a line that starts with # for the beginning of a file; do not start it so")
	}
	entry := &opened{text: e.text, savedCheck: r.check}
	r.stack = append(r.stack, entry)
	if len(line) > 2 {
		r.enterDirOf(entry, string(line[2:]))
	}
	return true
}

// copyLine adds a line to the copy that the second pass reads.
func (r *reader) copyLine(line []byte, from place) {
	r.copied.data = append(append(r.copied.data, line...), '\n')
	r.where = append(r.where, from)
}

// setPlace records where the current line comes from.
func (r *reader) setPlace(t *text) {
	if t != r.copied {
		r.at = place{int32(t.file), int32(t.line)}
		return
	}
	if n := t.line - 1; n >= 0 && n < len(r.where) {
		r.at = r.where[n]
	}
}

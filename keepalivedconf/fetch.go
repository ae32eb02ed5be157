package keepalivedconf

import "bytes"

// replay is the unread rest of a definition of several lines.
type replay struct {
	name  string // of the definition
	lines []byte
	depth uint32 // loopCount when it started
}

// fetch returns the next line before macros: the text after a brace, the next
// turn of a loop, the next line of a definition, or the next line of a file
// that is not empty without its comment.
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
// its last line the definition that it interrupted continues.
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
// stack that is not empty without its comment.
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
				r.warn("the line has a NUL byte, which hides the text after it; remove it")
			}
			line = line[:bytes.IndexByte(line, 0)]
			if r.dialect.has[dropsLongLines] && (whole || e.text.pos < len(e.text.data)) {
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
		text, openQuote := stripComment(line, r.letters, r.dialect.has[commentHidesBackslash])
		if r.firstPass() {
			if openQuote {
				r.warn("a double quote is not closed: comments are not recognised after it and its words are lost; close it")
			}
			if _, _, ok := r.includePattern(text); ok {
				r.copyLine(nil, r.at)
			} else {
				r.copyLine(text, r.at)
			}
		}
		if len(text) > 0 {
			return text, true
		}
		if collecting != nil && r.dialect.has[commentEndsDefinition] {
			collecting.close()
			collecting.closed = true
			collecting = nil
		}
	}
	return nil, false
}

// physicalLine returns the next line of a file. A line that does not fit
// keepalived's buffer is cut, and the rest is the next line; some versions drop what is
// before the cut. whole reports that the end of the line was reached.
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
	if r.dialect.has[dropsLongLines] {
		return r.fullBuffer(t, left[:n], whole)
	}
	if n > lineLimit && r.firstPass() && len(trimLineEnd(left[:n])) > lineLimit {
		r.at = place{int32(t.file), int32(t.line + 1)}
		r.warn("the line is longer than %d bytes: keepalived reads the rest as a line of its own; shorten it", lineLimit)
	}
	if n > lineLimit {
		n, whole = lineLimit, false
	}
	t.pos += n
	return left[:n], whole, true
}

// fullBuffer is physicalLine for a version that drops a full buffer without the end of a
// line.
func (r *reader) fullBuffer(t *text, line []byte, whole bool) ([]byte, bool, bool) {
	if len(line) < lineLimit || len(line) == lineLimit && whole {
		t.pos += len(line)
		return line, whole, true
	}
	r.at = place{int32(t.file), int32(t.line + 1)}
	r.warn("the line is longer than %d bytes: keepalived ignores the first %d and reads the rest as a line of its own; shorten it", lineLimit-1, lineLimit)
	t.pos += lineLimit
	return nil, false, true
}

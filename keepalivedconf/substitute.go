package keepalivedconf

import (
	"bytes"
	"strings"
)

// lineSubstitutionLimit bounds the substitutions in one line, and substitutionLimit
// those in all lines together. keepalived has no such bounds, and a definition that
// names itself makes it loop for ever.
const (
	lineSubstitutionLimit = 10_000
	substitutionLimit     = 5_000_000
	// replayLimit bounds the definitions of several lines that interrupt one
	// another.
	replayLimit = 1000
)

// reference is a use of a definition: $NAME, ${NAME} or ${NAME params}.
type reference struct {
	def    *definition
	name   string
	params string
	length int // of the text that names it, with the dollar sign
	braces bool
}

// referenceAt returns the reference at the start of text, which is a dollar sign. Without braces a name must be followed by a blank, a
// comma, a closing parenthesis or nothing. Blanks without a parameter may
// precede the closing brace, but then the first of them ends the reference. A
// definition of several lines counts only at the end of the line.
func (r *reader) referenceAt(text []byte) (reference, bool) {
	ref := reference{}
	i := 1
	if i < len(text) && text[i] == '{' {
		ref.braces = true
		i++
	}
	start := i
	if i == len(text) || !isAlpha(text[i]) && text[i] != '_' {
		return ref, false
	}
	for i < len(text) && (isAlnum(text[i]) || text[i] == '_') {
		i++
	}
	ref.name = string(text[start:i])
	atEnd := i == len(text)
	hasParams := false
	if ref.braces {
		atEnd = i+1 == len(text)
		paramsFrom := i
		for i < len(text) && r.isParameter(text[i]) {
			i++
		}
		ref.params = strings.TrimLeft(string(text[paramsFrom:i]), " \t")
		hasParams = ref.params != ""
		if hasParams && isBlank(text[i-1]) {
			return ref, false
		}
		if i == len(text) || text[i] != '}' {
			return ref, false
		}
		if !hasParams {
			i = paramsFrom // the brace, or a blank in its place
		}
		i++
	} else if i < len(text) && !isBlank(text[i]) && (r.dialect.has[loopsAreKeywords] || text[i] != ',' && text[i] != ')') {
		return ref, false
	}
	ref.length = i
	ref.def = r.defs[ref.name]
	if ref.def == nil || ref.def.multiline && !atEnd || hasParams && !r.takes(ref.def, ref.params) {
		return ref, false
	}
	return ref, true
}

// isParameter reports whether a letter can stand between a name and its closing brace.
func (r *reader) isParameter(c byte) bool {
	return c == ' ' || isDigit(c) || r.dialect.has[environmentDefinition] && (c == '\t' || c == '_' || isAlpha(c))
}

// takes reports whether a definition is used with these parameters. Before the version
// that knows words as parameters nobody counts them.
func (r *reader) takes(d *definition, params string) bool {
	if d.maxParams == 0 || !r.dialect.has[environmentDefinition] {
		return d.maxParams > 0
	}
	words := strings.Fields(params)
	isWord := func(c rune) bool { return c != ' ' && c != '\t' && (c < '0' || c > '9') }
	return d.minParams <= len(words) && len(words) <= d.maxParams && (d.words || !strings.ContainsFunc(params, isWord))
}

// replaced is a line after substitution.
type replaced struct {
	text    []byte
	changed bool // something was substituted
	several bool // a definition of several lines was used
	replay  replay
}

// substitute replaces every definition that line uses, also inside quotes, and
// then those that the values use. A value that starts with ~ ends the
// substitution, because ~SEQ and ~LST must see their variable unreplaced.
// limit is the longest line that may result.
func (r *reader) substitute(line []byte, limit int) replaced {
	out := replaced{text: line}
	for at, uses := 0, 0; ; {
		n := bytes.IndexByte(out.text[at:], '$')
		if n < 0 || at+n+1 == len(out.text) {
			return out
		}
		at += n
		ref, ok := r.referenceAt(out.text[at:])
		if !ok {
			if ref.length > 0 || r.defs[ref.name] != nil {
				r.notReplaced(ref)
			}
			at++
			continue
		}
		uses++
		if r.substitutions++; uses > lineSubstitutionLimit || r.substitutions > substitutionLimit {
			r.refuse("$%s is replaced without end: keepalived never finishes reading this line; look for a definition that names itself", ref.name)
			r.stopped = true
			return replaced{}
		}
		d := ref.def
		value := d.value
		if d.builtin != nil {
			value = []byte(d.builtin(r, ref.params))
		}
		if d.multiline {
			first, rest, _ := bytes.Cut(value, []byte{'\n'})
			switch {
			case out.several:
				r.interrupt(out.replay)
			case r.replaying:
				r.interrupt(r.replay)
			}
			r.replayDepth = r.loopCount
			value, out.several = first, true
			out.replay = replay{name: ref.name, lines: rest}
		}
		if len(out.text)+len(value)-ref.length >= limit {
			r.warn("the line is longer than %d letters once $%s is replaced: keepalived leaves it unreplaced; shorten it", limit-1, ref.name)
			return replaced{text: out.text}
		}
		out.changed = true
		if ref.braces && out.text[at+ref.length-1] != '}' {
			r.warn("keepalived takes the first blank after ${%s for the }, which stays in the line and may end a block; write ${%s}", ref.name, ref.name)
		}
		tail := out.text[at+ref.length:]
		if r.dialect.has[garblesAfterParameters] && ref.params != "" && len(value) < ref.length && len(tail) > 0 {
			// keepalived moves only one letter of the text that follows; the other
			// letters stay where they were, over the rest of the reference.
			tail = append([]byte{tail[0]}, out.text[min(at+len(value)+1, len(out.text)):]...)
			r.warn("keepalived garbles the rest of a line after ${%s %s}; put it at the end of the line", ref.name, ref.params)
		}
		text := make([]byte, 0, at+len(value)+len(tail))
		text = append(text, out.text[:at]...)
		text = append(text, value...)
		out.text = append(text, tail...)
		if bytes.HasPrefix(trimBlankLeft(value), []byte{'~'}) {
			return out
		}
	}
}

// interrupt sets a definition aside while another one is replayed.
func (r *reader) interrupt(p replay) {
	if len(r.macros) == replayLimit {
		r.refuse("definitions of several lines use one another more than %d deep; look for one that uses itself", replayLimit)
		r.stopped = true
		return
	}
	p.depth = r.replayDepth
	r.macros = append(r.macros, p)
}

// notReplaced warns about a text that looks like a reference and was not replaced.
func (r *reader) notReplaced(ref reference) {
	switch d := r.defs[ref.name]; {
	case d == nil && ref.braces:
		r.warn("${%s} is not defined, and its braces count as a block; define it above or remove it", ref.name)
	case d == nil:
	case d.multiline:
		r.warn("$%s has several lines and is not replaced, because something follows it on the line; put it at the end", ref.name)
	case !ref.braces:
		r.warn("$%s is not replaced, because a letter follows it at once; write ${%s}", ref.name, ref.name)
	}
}

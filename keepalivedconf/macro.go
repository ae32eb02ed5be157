package keepalivedconf

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// definition is what $NAME=value stores. The value is kept as written; what
// it holds of other definitions is looked up when it is used.
type definition struct {
	value []byte
	// multiline tells a value of several lines, each but the last ended by a
	// newline. It can be used only where nothing follows on the line.
	multiline bool
	closed    bool // an empty line ended the collecting
	// builtin computes the value at each use. params is what stands after
	// the name inside the braces.
	builtin   func(r *reader, params string) string
	maxParams int
}

// lineSubstitutionLimit bounds what is replaced in one line and
// substitutionLimit what is in all lines together. keepalived has no such
// bounds and never comes back from a definition that names itself.
const (
	lineSubstitutionLimit = 10_000
	substitutionLimit     = 5_000_000
	// replayLimit bounds the definitions of several lines that interrupt one
	// another.
	replayLimit = 1000
)

// builtins returns the definitions that exist without being defined.
func builtins(v dialect) map[string]*definition {
	defs := map[string]*definition{
		"_PWD":      {builtin: func(r *reader, _ string) string { return r.workingDirectory() }},
		"_INSTANCE": {builtin: func(r *reader, _ string) string { return r.configID }},
		"_RANDOM":   {builtin: (*reader).random, maxParams: 2},
		"_HASH":     {value: []byte("#")},
		"_BANG":     {value: []byte("!")},
	}
	if v.envDefinition {
		defs["_ENV"] = &definition{builtin: func(r *reader, _ string) string {
			r.warn("${_ENV ...} stands for a variable of keepalived's own environment, which is not known here; write the value instead")
			return ""
		}}
	}
	return defs
}

// random stands for _RANDOM [min [max]]. Nobody can tell which number
// keepalived draws, so this is the smallest.
func (r *reader) random(params string) string {
	r.warn("${_RANDOM} is another number each time keepalived reads the file; read here as the smallest one")
	least, _ := cUint(params)
	return strconv.FormatUint(least, 10)
}

// definitionName returns the name of a definition line $NAME=value. There may
// be no blank before the equals sign.
func definitionName(line []byte) (name string, value []byte, ok bool) {
	if len(line) < 2 || line[0] != '$' || !isAlpha(line[1]) && line[1] != '_' {
		return "", nil, false
	}
	i := 2
	for i < len(line) && (isAlnum(line[i]) || line[i] == '_') {
		i++
	}
	if i == len(line) || line[i] != '=' {
		return "", nil, false
	}
	return string(line[1:i]), trimBlankLeft(line[i+1:]), true
}

// define stores a definition line. It returns the definition if the value
// goes on with the next line.
func (r *reader) define(name string, value []byte) *definition {
	d := r.redefine(name)
	if !bytes.HasSuffix(value, []byte{'\\'}) {
		d.value = bytes.Clone(value)
		return nil
	}
	d.multiline = true
	if first := trimBlankRight(value[:len(value)-1]); len(first) > 0 {
		d.value = append(bytes.Clone(first), '\n')
	}
	return d
}

// redefine returns a new definition in place of the one that a name has.
func (r *reader) redefine(name string) *definition {
	d := &definition{}
	if old := r.defs[name]; old != nil {
		d.maxParams = old.maxParams
		if old.multiline && r.replaying && (r.replay.name == name || slices.ContainsFunc(r.macros, func(p replay) bool { return p.name == name })) {
			r.refuse("keepalived may crash here: $%s is defined anew by one of its own lines; use another name", name)
		}
	}
	r.defs[name] = d
	return d
}

// extend adds a line to a definition of several lines. It reports whether the
// next line belongs to it too.
func (d *definition) extend(line []byte) (more bool) {
	if bytes.HasSuffix(line, []byte{'\\'}) {
		if text := trimBlankRight(line[:len(line)-1]); len(text) > 0 {
			d.value = append(append(d.value, text...), '\n')
		}
		return true
	}
	d.close()
	d.value = append(d.value, line...)
	return false
}

// close ends the collecting of lines. What has no line yet has none at all.
func (d *definition) close() {
	if len(d.value) == 0 {
		d.multiline = false
	}
}

// reference is a use of a definition: $NAME, ${NAME} or ${NAME params}.
type reference struct {
	def    *definition
	name   string
	params string
	length int // of the text that names it, with the dollar sign
	braces bool
}

// referenceAt returns the reference that text, which starts with a dollar
// sign, begins with. Without braces a name must be followed by a blank, a
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
		for i < len(text) && (text[i] == ' ' || isDigit(text[i])) {
			i++
		}
		ref.params = strings.TrimLeft(string(text[paramsFrom:i]), " ")
		hasParams = ref.params != ""
		if strings.HasSuffix(ref.params, " ") {
			return ref, false
		}
		if i == len(text) || text[i] != '}' {
			return ref, false
		}
		if !hasParams {
			i = paramsFrom // the brace, or a blank in its place
		}
		i++
	} else if i < len(text) && !isBlank(text[i]) && text[i] != ',' && text[i] != ')' {
		return ref, false
	}
	ref.length = i
	ref.def = r.defs[ref.name]
	if ref.def == nil || ref.def.multiline && !atEnd || hasParams && ref.def.maxParams == 0 {
		return ref, false
	}
	return ref, true
}

// replaced is a line after substitution.
type replaced struct {
	text    []byte
	changed bool // something was substituted
	several bool // a definition of several lines was used
	replay  replay
}

// substitute replaces every definition that line uses, also inside quotes,
// and again what the values bring along. A value that starts with ~ ends the
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
		if ref.params != "" && len(value) < ref.length && len(tail) > 0 {
			// keepalived moves only one letter of what follows; the others
			// stay where they were, over what is left of the reference.
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

// notReplaced says why a reference that looks like one was left as it is.
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

// loop is a ~SEQ or ~LST that still has values to give.
type loop struct {
	names []string
	text  string
	// ~SEQ
	next, step, last int64
	hex              bool
	// ~LST
	values [][]string
}

// parseLoop reads a line that starts with ~SEQ or ~LST. A reason is returned
// where keepalived drops the line.
func (r *reader) parseLoop(line []byte) (*loop, string) {
	if bytes.HasPrefix(line, []byte("~SEQ")) {
		return r.parseSequence(string(line[len("~SEQ"):]))
	}
	return parseList(string(line[len("~LST"):]))
}

// dropLoop reports a loop that is not valid. Such a ~LST is subtracted from
// keepalived's count of running loops without having been added to it, so
// that the loops after it run too late or not at all. The count goes on from
// the first pass to the second.
func (r *reader) dropLoop(line []byte, why string) {
	r.warn("%s is ignored: %s", line[:len("~SEQ")], why)
	if line[1] == 'L' {
		r.loopCount--
	}
}

func skipBlanks(s string) string { return strings.TrimLeft(s, " \t") }

// parseSequence reads (var, start, step, end) rest, (var, start, end) rest or
// (var, end) rest. A leading x asks for lower-case hexadecimal numbers. The
// numbers may come from definitions.
func (r *reader) parseSequence(s string) (*loop, string) {
	l := &loop{}
	s, l.hex = strings.CutPrefix(s, "x")
	s, ok := strings.CutPrefix(skipBlanks(s), "(")
	if !ok {
		return nil, "it has no ("
	}
	s = skipBlanks(s)
	n := strings.IndexAny(s, " \t,)")
	if n <= 0 {
		return nil, "it has no variable or no numbers"
	}
	l.names = []string{s[:n]}
	s = skipBlanks(s[n:])
	if s == "" || s[0] == ')' {
		return nil, "it has no numbers"
	}
	s = skipBlanks(s[1:])
	n = strings.IndexByte(s, ')')
	if n < 0 {
		return nil, "it has no )"
	}
	const numbersLimit = 3*20 + 3 + 1
	numbers := s[:n+1]
	l.text = skipBlanks(s[n+1:])
	if len(numbers)+1 > numbersLimit {
		return nil, "its numbers are too long"
	}
	if strings.Contains(numbers, "$") {
		macros, depth := r.macros, r.replayDepth
		replaced := r.substitute([]byte(numbers), numbersLimit)
		r.macros, r.replayDepth = macros, depth
		if replaced.several {
			return nil, "a number comes from a definition of several lines"
		}
		numbers = string(replaced.text)
	}
	var values []int64
	for len(values) < 3 {
		v, rest := cInt(numbers, 0)
		values = append(values, v)
		numbers = skipBlanks(rest)
		if strings.HasPrefix(numbers, ")") {
			break
		}
		if !strings.HasPrefix(numbers, ",") || len(values) == 3 {
			return nil, "it needs one to three numbers between commas"
		}
		numbers = numbers[1:]
	}
	switch len(values) {
	case 1:
		l.next, l.step, l.last = 1, 1, values[0]
		if l.last < 1 {
			l.step = -1
		}
		if l.last < 0 {
			l.next = -1
		}
	case 2:
		l.next, l.step, l.last = values[0], 1, values[1]
		if l.next > l.last {
			l.step = -1
		}
	case 3:
		l.next, l.step, l.last = values[0], values[1], values[2]
		if l.step == 0 || l.next < l.last && l.step < 0 || l.next > l.last && l.step > 0 {
			return nil, "the step, which is the second of three numbers, does not lead to the end"
		}
	}
	if l.hex && (l.next < 0 || l.last < 0) {
		return nil, "~SEQx has no negative numbers"
	}
	return l, ""
}

// parseList reads (var, a, b) rest or ({v, w}, {a, 1}, {b, 2}) rest. Members
// that a value leaves out are empty.
func parseList(s string) (*loop, string) {
	l := &loop{}
	s, ok := strings.CutPrefix(skipBlanks(s), "(")
	if !ok {
		return nil, "it has no ("
	}
	s = skipBlanks(s)
	var why string
	if l.names, s, why = listMembers(s, " \t,}", false); why != "" {
		return nil, why
	}
	if s, ok = strings.CutPrefix(s, ","); !ok {
		return nil, "it has no values"
	}
	for {
		var value []string
		if value, s, why = listMembers(skipBlanks(s), " \t,})", true); why != "" {
			return nil, why
		}
		if len(value) > len(l.names) {
			return nil, "a value has more members than there are variables"
		}
		for len(value) < len(l.names) {
			value = append(value, "")
		}
		l.values = append(l.values, value)
		if strings.HasPrefix(s, ")") {
			l.text = skipBlanks(s[1:])
			return l, ""
		}
		if s, ok = strings.CutPrefix(s, ","); !ok {
			return nil, "its values are not separated by commas or not closed by )"
		}
	}
}

// listMembers reads one word, or words between commas inside braces, and
// returns what follows them. ends has the letters that end a word.
func listMembers(s, ends string, value bool) (members []string, rest string, why string) {
	s, braces := strings.CutPrefix(s, "{")
	if braces {
		s = skipBlanks(s)
	}
	for {
		n := strings.IndexAny(s, ends)
		if n < 0 {
			return nil, "", "it is not closed"
		}
		members = append(members, s[:n])
		s = skipBlanks(s[n:])
		switch {
		case s == "":
			return nil, "", "it is not closed"
		case !braces && (s[0] == ',' || value && s[0] == ')'):
			return members, s, ""
		case braces && s[0] == '}':
			return members, skipBlanks(s[1:]), ""
		case s[0] != ',' || !braces:
			return nil, "", "its braces and commas do not match"
		}
		s = skipBlanks(s[1:])
	}
}

// nextOfLoop gives the variables of the innermost loop their next values and
// returns its text.
func (r *reader) nextOfLoop() []byte {
	l := r.loops[len(r.loops)-1]
	done := false
	if l.values == nil {
		base := 10
		if l.hex {
			base = 16
		}
		r.setVariable(l.names[0], strconv.FormatInt(l.next, base))
		before := l.next
		l.next += l.step
		done = l.step > 0 && (l.next > l.last || l.next < before) ||
			l.step < 0 && (l.next < l.last || l.next > before)
	} else {
		for i, name := range l.names {
			r.setVariable(name, l.values[0][i])
		}
		l.values = l.values[1:]
		done = len(l.values) == 0
	}
	if done {
		r.loops = r.loops[:len(r.loops)-1]
		r.loopCount--
	}
	return []byte(l.text)
}

func (r *reader) setVariable(name, value string) {
	r.redefine(name).value = []byte(value)
}

// condition applies @id and @^id at the start of a line. It returns the rest
// of the line, or false if the line is not for this configuration id. A line
// that has nothing after the id is dropped too.
func (r *reader) condition(line []byte) (rest []byte, ok bool) {
	word, reverse := bytes.CutPrefix(line[1:], []byte("^"))
	n := bytes.IndexAny(word, " \t")
	if id, _, _ := bytes.Cut(bytes.Fields(line)[0], []byte("/")); len(id) > 2 && id[len(id)-1] == '@' {
		const format = "%s is a condition for keepalived, which skips the line, but looks like a place that a template was to fill; fill it"
		r.warn(format, id)
		r.report.doubt(&r.report.skipped, r.message(r.at), format, id)
	}
	if n < 0 {
		return nil, false
	}
	if (string(word[:n]) == r.configID) == reverse {
		return nil, false
	}
	return trimBlankLeft(word[n:]), true
}

package keepalivedconf

import (
	"bytes"
	"strconv"
	"strings"
)

// loop is a ~SEQ or ~LST with values left.
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
	return r.parseList(string(line[len("~LST"):]))
}

// dropLoop reports a loop that is not valid. keepalived subtracts such a ~LST from
// its count of running loops without having added it, so that the loops after it
// run too late or not at all. The count continues from the first pass to the second.
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
	if r.dialect.has[hexLoops] {
		s, l.hex = strings.CutPrefix(s, "x")
	}
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
func (r *reader) parseList(s string) (*loop, string) {
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
		if len(value) < len(l.names) && r.dialect.has[crashesOnShortList] {
			r.crash("a value of ~LST has fewer members than there are variables")
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

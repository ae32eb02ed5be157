package keepalivedconf

import "bytes"

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

// afterCondition returns a line without its condition. Where the condition comes
// out of a macro, keepalived moves only as many letters to the front as the line
// had before: length is that number.
func (r *reader) afterCondition(line, rest []byte, length int) []byte {
	if !r.dialect.has[garblesCondition] {
		return rest
	}
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

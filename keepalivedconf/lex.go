package keepalivedconf

import "bytes"

// lineLimit is keepalived's line buffer without its closing NUL: the longest
// text that one line can have.
const lineLimit = 1023

// lettersSet has a bit for each kind of letter that the grammar gives a
// meaning, so that one pass over the letters of a line finds the rules that apply
// to it.
type lettersSet uint8

const (
	isComment lettersSet = 1 << iota // # and !
	isQuote                          // "
	isEscape                         // \
	isDollar                         // $
	isBrace                          // { and }
	isNUL
	anyLetters = ^lettersSet(0) // nothing is known about the line
)

var kinds = [256]lettersSet{
	'#': isComment, '!': isComment, '"': isQuote, '\\': isEscape,
	'$': isDollar, '{': isBrace, '}': isBrace, 0: isNUL,
}

// lettersOf returns the kinds of all letters in line.
func lettersOf(line []byte) lettersSet {
	var set lettersSet
	for _, c := range line {
		set |= kinds[c]
	}
	return set
}

// isBlank reports whether a letter is skipped between parts of a line.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isSpace reports whether a letter separates words, as isspace(3) does in the C
// locale. A no-break space and the other blanks of Unicode are ordinary letters.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool { return isAlpha(c) || isDigit(c) }

func trimBlankLeft(s []byte) []byte {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimLineEnd(s []byte) []byte {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

func trimBlankRight(s []byte) []byte {
	for len(s) > 0 && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// stripComment removes a comment, the blanks at both ends, and the backslash
// of \# and \! outside quotes. A backslash that is the last letter stays as
// such, without the blanks before it, even when a comment came between: it
// continues a definition. The second result reports a double quote that is not
// closed, after which comments are not recognised.
//
// The line itself is not changed; the result may share its memory. letters
// has the letters of the line, or more. hides means that such a backslash does not count
// in a comment.
func stripComment(line []byte, letters lettersSet, hides bool) (text []byte, openQuote bool) {
	line = trimBlankLeft(line)
	if letters&(isComment|isQuote|isEscape) == 0 {
		return trimBlankRight(line), false
	}
	end := -1 // where the comment starts
	continued, copied := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"' && end < 0:
			openQuote = !openQuote
		case c == '\\' && i+1 == len(line):
			line, continued = line[:i], true
		case c == '\\' && !openQuote && kinds[line[i+1]]&isComment != 0:
			if !copied {
				line, copied = bytes.Clone(line), true
			}
			line = append(line[:i], line[i+1:]...)
		case c == '\\':
			i++
		case kinds[c]&isComment != 0 && !openQuote && end < 0:
			if end = i; hides {
				return trimBlankRight(line[:end]), false
			}
		}
	}
	if end >= 0 && end < len(line) {
		line = line[:end]
	}
	line = trimBlankRight(line)
	if continued {
		line = append(line[:len(line):len(line)], '\\')
	}
	return line, openQuote
}

// cutBrace cuts a line at its first brace outside quotes: head is what comes
// before it, or the brace itself where the line starts with it; rest is read next
// as a line of its own. A quote that is not closed hides
// all braces after it.
func cutBrace(line []byte) (head, rest []byte) {
	at := -1
	if len(line) > 0 && kinds[line[0]]&isBrace != 0 {
		at = 0
	} else {
		for i := 0; i < len(line) && at < 0; i++ {
			switch {
			case line[i] == '"':
				n := bytes.IndexByte(line[i+1:], '"')
				if n < 0 {
					return trimBlankRight(line), nil
				}
				i += n + 1
			case kinds[line[i]]&isBrace != 0:
				at = i
			}
		}
	}
	switch {
	case at < 0:
		return trimBlankRight(line), nil
	case at == 0:
		return line[:1], trimBlankRight(trimBlankLeft(line[1:]))
	default:
		return trimBlankRight(line[:at]), trimBlankRight(line[at:])
	}
}

// appendWords splits a line into words. Double quotes make one word of what
// they enclose, end the word before them and start a new one after; nothing
// is escaped inside. A quote that is not closed drops the rest of the line,
// which the second result reports.
func appendWords(words [][]byte, line []byte) (_ [][]byte, openQuote bool) {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return words, false
		}
		if line[i] == '"' {
			n := bytes.IndexByte(line[i+1:], '"')
			if n < 0 {
				return words, true
			}
			words = append(words, line[i+1:i+1+n])
			i += n + 2
			continue
		}
		start := i
		for i < len(line) && !isSpace(line[i]) && line[i] != '"' {
			i++
		}
		words = append(words, line[start:i])
	}
}

// commandWords counts the words of a script's command line, which keepalived
// splits a second time in the manner of a shell: both kinds of quotes, and a
// backslash that takes away the meaning of the letter after it. It reports
// false if a quote or a backslash is left open.
func commandWords(line []byte) (n int, ok bool) {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return n, true
		}
		var quote byte
		for ; i < len(line) && (quote != 0 || !isSpace(line[i])); i++ {
			switch c := line[i]; {
			case c == '\\':
				if i++; i == len(line) {
					return n, false
				}
			case c == quote:
				quote = 0
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			}
		}
		if quote != 0 {
			return n, false
		}
		n++
	}
}

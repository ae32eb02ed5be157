package cluster

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes a text harmless for a terminal and a page, and bounds it, in bytes. Control
// characters, those that turn the direction of the writing, and what is not UTF-8 become
// the replacement character; breaks of a line become spaces.
func clean(text string, bytes int) string {
	if len(text) <= bytes && plain(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			r = ' '
		case !unicode.IsPrint(r):
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > bytes-len("…") {
			return b.String() + "…"
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain reports whether a text is made of printable characters of ASCII.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

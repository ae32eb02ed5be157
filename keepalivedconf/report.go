package keepalivedconf

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Limits that give a file of any size a result that a person can read.
const (
	messageLimit       = 500 // messages of one kind
	messageLengthLimit = 500 // letters of one message
)

// report collects messages, each once.
type report struct {
	warnings, refusals                []Message
	unclosed, skipped, failedIncludes []Message // some of these messages, see Config
	seen                              map[said]bool
}

// said is a message at its full length, which identifies it: a refusal must not
// get lost because a long name fills the part that is shown.
type said struct {
	Message
	refusal bool
}

func (r *report) warn(m Message, format string, args ...any) {
	r.warnings = r.add(r.warnings, said{m, false}, format, args)
}

func (r *report) refuse(m Message, format string, args ...any) {
	r.refusals = r.add(r.refusals, said{m, true}, format, args)
}

// doubt puts the newest message also into one of the lists of messages that may be
// the mark of an unfinished file.
func (r *report) doubt(list *[]Message, m Message, format string, args ...any) {
	m.Message = printable(fmt.Sprintf(format, args...))
	if len(*list) < messageLimit && !slices.Contains(*list, m) {
		*list = append(*list, m)
	}
}

func (r *report) add(list []Message, m said, format string, args []any) []Message {
	if len(list) > messageLimit {
		return list
	}
	if m.Message.Message = fmt.Sprintf(format, args...); r.seen[m] {
		return list
	}
	if r.seen == nil {
		r.seen = map[said]bool{}
	}
	r.seen[m] = true
	if m.Message.Message = printable(m.Message.Message); len(list) == messageLimit {
		m.Message.Message = fmt.Sprintf("there are more than %d messages; the rest is left out", messageLimit)
	}
	return append(list, m.Message)
}

// printable makes a message of one line and limited length out of any text. A text
// that is too long loses its middle, because a message begins with a name and ends
// with the cure.
func printable(s string) string {
	letters := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	if n := len(letters); n > messageLengthLimit {
		const half = messageLengthLimit / 2
		letters = slices.Concat(letters[:half], []rune("..."), letters[n-half:])
	}
	var b strings.Builder
	for _, c := range letters {
		if unicode.IsPrint(c) {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "\\u%04x", c)
		}
	}
	return b.String()
}

package keepalivedconf

import (
	"fmt"
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
	warnings, refusals []Message
	seen               map[Message]bool
}

func (r *report) warn(m Message, format string, args ...any) {
	r.warnings = r.add(r.warnings, m, format, args)
}

func (r *report) refuse(m Message, format string, args ...any) {
	r.refusals = r.add(r.refusals, m, format, args)
}

func (r *report) add(list []Message, m Message, format string, args []any) []Message {
	if len(list) > messageLimit {
		return list
	}
	if m.Message = printable(fmt.Sprintf(format, args...)); r.seen[m] {
		return list
	}
	if r.seen == nil {
		r.seen = map[Message]bool{}
	}
	r.seen[m] = true
	if len(list) == messageLimit {
		m.Message = fmt.Sprintf("there are more than %d messages; the rest is left out", messageLimit)
	}
	return append(list, m)
}

// printable makes a message of one line and limited length out of whatever a
// file may hold.
func printable(s string) string {
	var b strings.Builder
	n := 0
	for _, c := range strings.ToValidUTF8(s, "\uFFFD") {
		if n++; n > messageLengthLimit {
			b.WriteString("...")
			break
		}
		if unicode.IsPrint(c) {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "\\u%04x", c)
		}
	}
	return b.String()
}

package health

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// A reason is shown in a terminal, in a line of a table, also where it comes from another
// program.
func FuzzReasonIsOneShortLine(f *testing.F) {
	for _, s := range []string{"", "\n \n ill\nmore", "\x1b[2J\x00a\tb\r", "\xff\xfe", strings.Repeat("\u00e9", 200), "\u2028\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := line(text)
		if len(got) > maxReason+len("...") || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsGraphic(r) }) || strings.TrimSpace(got) != got {
			t.Errorf("got %q", got)
		}
		if again := line(got); again != got && len(got) <= maxReason {
			t.Errorf("got %q, and of that %q", got, again)
		}
	})
}

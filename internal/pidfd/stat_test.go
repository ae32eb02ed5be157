package pidfd

import (
	"strings"
	"testing"
)

// rest is fields 5 to 21 of proc(5) and the start time.
const rest = " 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 "

func TestParseStat(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       Info
		bad        bool
	}{
		{"plain", "7 (cat) S 3" + rest, Info{PID: 7, Parent: 3, Name: "cat", State: 'S', Start: 4711}, false},
		{"name with parentheses and spaces", "7 (a) R 1 (b) Z 3" + rest, Info{PID: 7, Parent: 3, Name: "a) R 1 (b", State: 'Z', Start: 4711}, false},
		{"no name", "7 cat S 3" + rest, Info{}, true},
		{"cut", "7 (cat) S 3 1 1", Info{}, true},
		{"parent is not a number", "7 (cat) S x" + rest, Info{}, true},
		{"empty", "", Info{}, true},
	} {
		got, err := parseStat(7, []byte(row.text))
		if got != row.want || (err != nil) != row.bad {
			t.Errorf("%s: got %+v, %v; want %+v, bad %v", row.name, got, err, row.want, row.bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (cat) S 3" + rest)
	f.Add("7 ()) (")
	f.Fuzz(func(t *testing.T, text string) {
		info, err := parseStat(7, []byte(text))
		if err == nil && !strings.Contains(text, info.Name) {
			t.Errorf("name %q is not in %q", info.Name, text)
		}
	})
}

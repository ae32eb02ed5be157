package hetzner

import (
	"testing"
)

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"1001", " 42\n", "-1", "0", "+7", "1e3", "<html>", "9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parseID(text)
		if err != nil {
			return
		}
		if again, err := parseID(id); err != nil || again != id || id[0] < '1' || id[0] > '9' {
			t.Errorf("%q: %q is not an id: reads back as %q, %v", text, id, again, err)
		}
	})
}

package keepalivedconf

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStripComment(t *testing.T) {
	tests := []struct {
		name, line, want string
		openQuote        bool
	}{
		{"nothing to remove", "a b", "a b", false},
		{"blanks at both ends", " \ta b \t", "a b", false},
		{"form feed is no blank", "\fa\f", "\fa\f", false},
		{"hash", "a # b", "a", false},
		{"exclamation mark inside a word", "a!b", "a", false},
		{"only a comment", "# a", "", false},
		{"quoted", `"a # b" # c`, `"a # b"`, false},
		{"quote inside a comment", `a # "b`, "a", false},
		{"open quote", `a "b # c`, `a "b # c`, true},
		{"escaped hash", `a\#b # c`, "a#b", false},
		{"escaped exclamation marks", `\!a\!`, "!a!", false},
		{"escaped hash in quotes", `"a\#b"`, `"a\#b"`, false},
		{"escaped quote", `a\"b # c`, `a\"b`, false},
		{"backslash before a letter", `a\nb`, `a\nb`, false},
		{"backslash at the end", `a  \`, `a\`, false},
		{"backslash at the end of a comment", `a # b \`, `a\`, false},
		{"backslash alone", `\`, `\`, false},
		{"two backslashes at the end", `a \\`, `a \\`, false},
		{"empty", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := []byte(tt.line)
			got, openQuote := stripComment(line, lettersOf(line), false)
			if string(got) != tt.want || openQuote != tt.openQuote {
				t.Errorf("stripComment(%q): want %q, %v, got %q, %v", tt.line, tt.want, tt.openQuote, got, openQuote)
			}
			if string(line) != tt.line {
				t.Errorf("stripComment(%q) changed its argument to %q", tt.line, line)
			}
		})
	}
}

func TestCutBrace(t *testing.T) {
	tests := []struct {
		name, line, head, rest string
	}{
		{"no brace", "a b ", "a b", ""},
		{"at the end", "a {", "a", "{"},
		{"glued", "a{b}", "a", "{b}"},
		{"at the start", "{  a }", "{", "a }"},
		{"alone", "}", "}", ""},
		{"two", "}}", "}", "}"},
		{"quoted", `"{" a }`, `"{" a`, "}"},
		{"after an open quote", `a " {`, `a " {`, ""},
		{"blanks around", "a \t{ \t", "a", "{"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			head, rest := cutBrace([]byte(tt.line))
			if string(head) != tt.head || string(rest) != tt.rest {
				t.Errorf("cutBrace(%q): want %q, %q, got %q, %q", tt.line, tt.head, tt.rest, head, rest)
			}
		})
	}
}

func TestWords(t *testing.T) {
	tests := []struct {
		name, line string
		want       []string
		openQuote  bool
	}{
		{"none", " \t", nil, false},
		{"white space of all kinds", "a b\tc\fd\ve\rf\ng", []string{"a", "b", "c", "d", "e", "f", "g"}, false},
		{"no-break space is a letter", "a\u00a0b", []string{"a\u00a0b"}, false},
		{"quoted", `a "b  c" d`, []string{"a", "b  c", "d"}, false},
		{"empty word", `""`, []string{""}, false},
		{"quotes separate", `a"b"c""d`, []string{"a", "b", "c", "", "d"}, false},
		{"single quotes are letters", `'a b'`, []string{"'a", "b'"}, false},
		{"no escapes", `"a\"b"`, []string{`a\`, "b"}, true},
		{"open quote", `a "b c`, []string{"a"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			words, openQuote := appendWords(nil, []byte(tt.line))
			var got []string
			for _, w := range words {
				got = append(got, string(w))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || openQuote != tt.openQuote {
				t.Errorf("words of %q (-want +got), open quote %v:\n%s", tt.line, openQuote, diff)
			}
		})
	}
}

func TestCommandWords(t *testing.T) {
	tests := []struct {
		line string
		n    int
		ok   bool
	}{
		{"notify", 1, true},
		{"notify /bin/x", 2, true},
		{`notify "/bin/x 'a b'" root`, 3, true},
		{`notify a\ b`, 2, true},
		{`notify ""`, 2, true},
		{`notify "a`, 1, false},
		{`notify 'a`, 1, false},
		{`notify a\`, 1, false},
		{`notify "a\"b"`, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			n, ok := commandWords([]byte(tt.line))
			if n != tt.n || ok != tt.ok {
				t.Errorf("commandWords(%q): want %d, %v, got %d, %v", tt.line, tt.n, tt.ok, n, ok)
			}
		})
	}
}

func TestNumbersAreReadAsTheCLibraryDoes(t *testing.T) {
	t.Run("unsigned", func(t *testing.T) {
		tests := []struct {
			text  string
			want  uint64
			exact bool
		}{
			{"", 0, true}, {" ", 0, true}, {"7", 7, true}, {"+7", 7, true}, {" \t7", 7, true}, {"007", 7, true},
			{"7x", 7, false}, {"x", 0, false}, {"-", 0, false}, {"+", 0, false}, {"-1", 1<<64 - 1, false}, {"-0", 0, false},
			{"0x10", 0, false}, {"7 ", 7, false}, {"18446744073709551615", 1<<64 - 1, true}, {"99999999999999999999", 1<<64 - 1, true},
		}
		for _, tt := range tests {
			if got, exact := cUint(tt.text); got != tt.want || exact != tt.exact {
				t.Errorf("cUint(%q): want %d, %v, got %d, %v", tt.text, tt.want, tt.exact, got, exact)
			}
		}
	})
	t.Run("signed", func(t *testing.T) {
		tests := []struct {
			text string
			base int
			want int64
			rest string
		}{
			{"7,8", 0, 7, ",8"}, {" -7)", 0, -7, ")"}, {"0x1F,", 0, 31, ","}, {"010)", 0, 8, ")"}, {"010)", 10, 10, ")"},
			{"0x,", 0, 0, "x,"}, {"08", 0, 0, "8"}, {"x", 0, 0, "x"}, {"", 0, 0, ""}, {"-", 0, 0, "-"},
			{"9223372036854775808", 10, 1<<63 - 1, ""}, {"-9223372036854775808", 10, -1 << 63, ""}, {"-99999999999999999999", 10, -1 << 63, ""},
		}
		for _, tt := range tests {
			if got, rest := cInt(tt.text, tt.base); got != tt.want || rest != tt.rest {
				t.Errorf("cInt(%q, %d): want %d, %q, got %d, %q", tt.text, tt.base, tt.want, tt.rest, got, rest)
			}
		}
	})
	t.Run("seconds", func(t *testing.T) {
		tests := []struct {
			text      string
			want      time.Duration
			ok, exact bool
		}{
			{"1", time.Second, true, true}, {"0.5", 500 * time.Millisecond, true, true}, {".25", 250 * time.Millisecond, true, true},
			{"1.", time.Second, true, true}, {"1.0000006", 1000001 * time.Microsecond, true, false}, {"256", 0, false, false},
			{"0.009", 0, false, false}, {"-1", 0, false, false}, {"1s", 0, false, false}, {"20000s", 20 * time.Millisecond, true, false},
		}
		for _, tt := range tests {
			got, ok, exact := lenientSeconds(tt.text, 10*time.Millisecond, 255*time.Second)
			if got != tt.want || ok != tt.ok || exact != tt.exact {
				t.Errorf("lenientSeconds(%q): want %v, %v, %v, got %v, %v, %v", tt.text, tt.want, tt.ok, tt.exact, got, ok, exact)
			}
		}
	})
}

func TestMatchName(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true}, {"*", ".a", false}, {".*", ".a", true}, {`\.a`, ".a", true}, {"?a", ".a", false}, {"[.]a", ".a", false},
		{"a*c", "abc", true}, {"a*c", "abcd", false}, {"a*b*c", "aXbYbZc", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"[a-c]", "b", true}, {"[!a-c]", "b", false}, {"[^a-c]", "d", true}, {"[]a]", "]", true}, {"[a-]", "-", true},
		{"[a", "[a", true}, {"[[:digit:]]", "7", true}, {"[[:digit:]]", "x", false}, {"[[:nope:]]", ":]", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {"**", "", true}, {"", "", true}, {"", "a", false},
	}
	for _, tt := range tests {
		if got := matchName(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchName(%q, %q): want %v, got %v", tt.pattern, tt.name, tt.want, got)
		}
	}
}

func TestExpandBraces(t *testing.T) {
	tests := []struct {
		pattern string
		want    []string
	}{
		{"a", []string{"a"}},
		{"a{b,c}d", []string{"abd", "acd"}},
		{"{a,b}{c,d}", []string{"ac", "ad", "bc", "bd"}},
		{"{a,{b,c}}", []string{"a", "b", "c"}},
		{"{a}", []string{"a"}},
		{"{,a}", []string{"", "a"}},
		{"{}", []string{"{}"}},
		{"{a", []string{"{a"}},
		{`\{a,b}`, []string{`\{a,b}`}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, expandBraces(tt.pattern, 100)); diff != "" {
			t.Errorf("expandBraces(%q) (-want +got):\n%s", tt.pattern, diff)
		}
	}
	if got := len(expandBraces("{a,b}{a,b}{a,b}{a,b}", 10)); got != 10 {
		t.Errorf("expandBraces with a limit of 10: got %d patterns", got)
	}
}

func TestDialect(t *testing.T) {
	tests := []struct {
		version string
		want    [3]int
	}{
		{"2.2.7", [3]int{2, 2, 7}}, {"v2.3.1", [3]int{2, 3, 1}}, {"2.4", [3]int{2, 4, 0}}, {"2.3.0-rc1", [3]int{2, 3, 0}}, {"odd", [3]int{}},
	}
	for _, tt := range tests {
		if got := dialectOf(tt.version).version; got != tt.want {
			t.Errorf("dialectOf(%q): want %v, got %v", tt.version, tt.want, got)
		}
	}
	if got, want := dialectOf("").version, dialectOf(Newest).version; got != want {
		t.Errorf("the dialect of no version is %v, want that of the newest %v", got, want)
	}
}

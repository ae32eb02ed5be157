package section

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Kind returns the kind of a value without the value: "a list", "a text of 40
// characters". For a nil node it is "nothing".
func Kind(node *yaml.Node) string {
	switch {
	case empty(node):
		return "nothing"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Kind == yaml.MappingNode:
		return "keys and values"
	case node.Tag == "!!int", node.Tag == "!!float":
		return "a number"
	case node.Tag == "!!bool":
		return "true or false"
	}
	return KindOfText(node.Value)
}

// KindOfText is Kind for a text.
func KindOfText(text string) string {
	if n := utf8.RuneCountInString(text); n != 1 {
		return fmt.Sprintf("a text of %d characters", n)
	}
	return "a text of 1 character"
}

// maxWord is how long a key of a configuration can be, misspelt or not.
const maxWord = 32

// IsWord reports whether a text looks like a key or a word of a configuration and
// not like a secret, so that a message may repeat it: it is short, and made of
// letters between dashes, underscores and dots, with two digits at most at the end
// of each part. Random letters are not a word either: upper case does not alternate
// with lower case in words.
func IsWord(text string) bool { return len(text) <= maxWord && wordly(text) }

func wordly(text string) bool {
	humps := 0
	lower := false
	for _, r := range text {
		if lower && unicode.IsUpper(r) {
			humps++
		}
		lower = unicode.IsLower(r)
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		letters := strings.TrimRight(part, "0123456789")
		if len(part)-len(letters) > 2 || strings.Trim(letters, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return false
		}
	}
	return text != "" && humps <= 2
}

// maxRelative bounds a relative path that does not begin with "./".
const maxRelative = 128

// IsPath reports whether a text is a path that a message may repeat: it begins
// with /, ./ or ../, or is a short relative path made of words, see IsWord. %s may
// stand in it.
func IsPath(text string) bool {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") {
		return true
	}
	if len(text) > maxRelative {
		return false
	}
	for part := range strings.SplitSeq(strings.ReplaceAll(text, "%s", "name"), "/") {
		if part != "" && !wordly(part) {
			return false
		}
	}
	return text != ""
}

// Nearest returns the word that a text was probably meant to be, or "". Differences
// in case do not count, nor do a few letters that are wrong, missing or too many.
func Nearest(text string, words []string) string {
	if len(text) > maxWord {
		return ""
	}
	best, least := "", len(text)/3+1
	for _, w := range words {
		if d := distance(strings.ToLower(text), strings.ToLower(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance returns the Levenshtein distance: how many letters to change, add or
// remove.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

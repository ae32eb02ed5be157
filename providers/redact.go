package providers

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"unicode"
)

// withheld stands for a text that repeated a secret.
const withheld = "(withheld: the answer repeats a credential)"

// secrets knows the credentials of a provider in the spellings in which a server
// might send them back.
type secrets []string // lower case

// window is how many characters of a secret in a row make a text unfit to be shown.
// Part of a token is found too, such as in an answer cut short.
const window = 8

func newSecrets(plain []string) secrets {
	var s secrets
	for _, p := range plain {
		if p == "" {
			continue
		}
		quoted, _ := json.Marshal(p) // of a string, which cannot fail
		s = append(s, p, string(quoted[1:len(quoted)-1]), url.QueryEscape(p), url.PathEscape(p), html.EscapeString(p), hex.EncodeToString([]byte(p)))
		// In base64 the secret looks different by where it starts in the text: after
		// 0, 1 or 2 characters of a group of three. The characters that depend on the
		// neighbours of the secret are cut off at both ends.
		for lead := range 3 {
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				e := enc.EncodeToString([]byte(strings.Repeat("x", lead) + p))
				if skip := (lead*8 + 5) / 6; len(e) > skip+1 {
					s = append(s, e[skip:len(e)-1])
				}
			}
		}
	}
	for i := range s {
		s[i] = strings.ToLower(s[i])
	}
	return s
}

// in tells whether text holds a secret or a good part of one, spaces or not.
func (s secrets) in(text string) bool {
	text = strings.ToLower(text)
	packed := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
	for _, secret := range s {
		n := min(window, len(secret))
		for i := 0; i+n <= len(secret); i++ {
			if part := secret[i : i+n]; strings.Contains(text, part) || strings.Contains(packed, part) {
				return true
			}
		}
	}
	return false
}

// clean returns the text as it may be shown: in one line, printable, at most max
// characters, and withheld if it holds a secret.
func (s secrets) clean(text string, max int) string {
	if s.in(text) {
		return withheld
	}
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if r := []rune(line); len(r) > max {
		line = string(r[:max]) + "..."
	}
	return line
}

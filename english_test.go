package main

import (
	"go/parser"
	"regexp"
	"strings"
	"testing"
)

// unnamed is a sentence without a subject, or with one that it does not name.
var unnamed = regexp.MustCompile(`(?:^|[.:;!?]\s+)((?:Who|What|Whoever|Of)\b[^.]{0,40})`)

func TestSentencesOfCommentsNameTheirSubject(t *testing.T) {
	for _, path := range sources(t) {
		f, err := parser.ParseFile(fileSet, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range f.Comments {
			if m := unnamed.FindStringSubmatch(strings.Join(strings.Fields(group.Text()), " ")); m != nil {
				t.Errorf("%s: the sentence %q does not name its subject", at(group.Pos()), m[1])
			}
		}
	}
}

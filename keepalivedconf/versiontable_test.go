package keepalivedconf

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// featureNames returns the names of the features in the order of their values.
func featureNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "version.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		d, ok := n.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST || !d.Lparen.IsValid() { // the others are Newest and Oldest
			return true
		}
		for _, s := range d.Specs {
			if name := s.(*ast.ValueSpec).Names[0].Name; name != "featureCount" {
				names = append(names, name)
			}
		}
		return false
	})
	if len(names) != int(featureCount) {
		t.Fatalf("version.go has %d features, want %d", len(names), featureCount)
	}
	return names
}

// TestEachFeatureIsUsedAndTested holds that each feature has a span of versions, is asked
// for by the code, and has a row in versionRows.
func TestEachFeatureIsUsedAndTested(t *testing.T) {
	var code, rows strings.Builder
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case file == "versionrows_test.go":
			rows.Write(text)
		case !strings.HasSuffix(file, "_test.go"):
			code.Write(text)
		}
	}
	for n, name := range featureNames(t) {
		spans := 0
		for _, d := range differences {
			if d.feature == feature(n) {
				spans++
			}
		}
		if spans == 0 {
			t.Errorf("%s: no version has it", name)
		}
		if !strings.Contains(code.String(), "has["+name+"]") {
			t.Errorf("%s: the code does not ask for it", name)
		}
		if !strings.Contains(rows.String(), `"`+name+`"`) {
			t.Errorf("%s: versionRows has no row for it", name)
		}
	}
}

// spanText writes the versions of a difference as the documentation does.
func spanText(since, until version) string {
	switch {
	case since == first:
		return "until " + until.String()
	case until == version{}:
		return "since " + since.String()
	}
	return since.String() + " to " + until.String()
}

// TestTheTableOfVersionsIsDocumented compares the differences with the table of the
// documentation.
func TestTheTableOfVersionsIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/keepalived-conf.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, d := range differences {
		fmt.Fprintf(&want, "| %s | %s |\n", spanText(d.since, d.until), d.what)
	}
	if !strings.Contains(string(text), want.String()) {
		t.Errorf("docs/keepalived-conf.md lacks these lines, in this order:\n%s", want.String())
	}
	for v := range newWords {
		if !strings.Contains(string(text), "\n| "+v.String()+" | ") {
			t.Errorf("docs/keepalived-conf.md lacks the new words of %s", v)
		}
		for _, w := range newWords[v] {
			if !strings.Contains(string(text), "`"+w+"`") {
				t.Errorf("docs/keepalived-conf.md lacks %s, a new word of %s", w, v)
			}
		}
	}
}

// TestSpansAreInOrder holds that a difference begins before it ends, within the described
// versions.
func TestSpansAreInOrder(t *testing.T) {
	newest := dialectOf(Newest)
	for _, d := range differences {
		if !newest.atLeast(d.since) || d.until != (version{}) && later(d.since, d.until) {
			t.Errorf("%q: from %s to %s", d.what, d.since, d.until)
		}
		if dialectOf(d.since.String()).has[d.feature] == false {
			t.Errorf("%q: %s does not have it", d.what, d.since)
		}
	}
}

package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/lab"
)

// migrating names, for each block of commands of docs/migrating.md in its order, what runs
// it: a test of this package, which gets it from documented, or a script of the tree, which
// has each of its lines.
var migrating = map[string][]string{
	"floaty": {"TestFloatyRollsOver", "TestFloatyRollsOver", "TestFloatyServiceRollsOver"},
	"yaim": {
		"TestYaimRollsOver", "TestYaimRollsOver", "TestYaimRollsOver", "TestYaimRollsOver", "TestYaimRollsOver",
		"TestYaimDocumentedCommands", "TestYaimDocumentedCommands", "TestYaimUserMayTouchItsDirectoryAlone",
	},
	"LinK": {
		"TestLinkRollsOver", "TestLinkRollsOver", "TestLinkRollsOver", "TestLinkRollsOver", "TestLinkRollsOver", "TestLinkRollsOver",
		"TestLinkDocumentedCommands", "TestLinkDocumentedCommands",
		"TestLinkDevelopmentLines", "TestLinkDevelopmentLines", "TestLinkDevelopmentLines",
	},
	"govip": {"TestGovipRollsOver"},
	"exoip": {"TestExoipRollsOver", "TestExoipRollsOver"},
	"vip-manager": {
		"TestVIPManagerRollsOver", "TestVIPManagerRollsOver",
		"TestVIPManagerRollsOverToAnElection", "TestVIPManagerRollsOverToAnElection", "TestVIPManagerRollsOverToAnElection",
	},
	"kube-vip": {"TestKubeVIPRollsOver", "TestKubeVIPRollsOver", "TestKubeVIPRollsOver", "TestKubeVIPRollsOver"},
}

// docBlock is a fenced block of a document.
type docBlock struct {
	section, language, above, text string // above is the line before it
}

// fence matches a fenced block with the line above it. In a list it is indented.
var fence = regexp.MustCompile("(?m)^(.*)\n( *)```(\\w*)\n((?s:.*?))^ *```$")

// docBlocks returns the blocks of docs/migrating.md.
func docBlocks(t *testing.T) (all []docBlock) {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ") {
		name, _, _ := strings.Cut(section, "\n")
		for _, m := range fence.FindAllStringSubmatch(section, -1) {
			var lines strings.Builder
			for line := range strings.Lines(m[4]) {
				lines.WriteString(strings.TrimPrefix(line, m[2]))
			}
			all = append(all, docBlock{name, m[3], strings.TrimSpace(m[1]), lines.String()})
		}
	}
	return all
}

// documented returns the blocks of commands of a section that the table gives to this test.
func documented(t *testing.T, section string) (all []string) {
	t.Helper()
	n := 0
	for _, b := range docBlocks(t) {
		if b.section != section || b.language != "sh" {
			continue
		}
		if n < len(migrating[section]) && migrating[section][n] == t.Name() {
			all = append(all, b.text)
		}
		n++
	}
	if len(all) == 0 {
		t.Fatalf("the section %s has no block for %s", section, t.Name())
	}
	return all
}

// configured returns the files of a section in a language, each whole.
func configured(t *testing.T, section, language string) (all []string) {
	t.Helper()
	for _, b := range docBlocks(t) {
		if b.section == section && b.language == language {
			all = append(all, b.text)
		}
	}
	return all
}

// Each block of commands of the document is run by a test, which exists and takes it from
// the document, and the document says which.
func TestEveryCommandOfTheMigrationIsRun(t *testing.T) {
	tests := testsThatCall(t, "documented")
	next := map[string]int{}
	for _, b := range docBlocks(t) {
		if !slices.Contains([]string{"sh", "yaml", "ini", "text"}, b.language) {
			t.Errorf("%s: want sh, yaml, ini or text as the language of\n%s", b.section, b.text)
		}
		if b.language != "sh" {
			continue
		}
		n := next[b.section]
		next[b.section]++
		if n >= len(migrating[b.section]) {
			t.Errorf("%s: nothing runs\n%s", b.section, b.text)
			continue
		}
		runner := migrating[b.section][n]
		if want := "<!-- Run by " + runner + " as it stands. -->"; b.above != want {
			t.Errorf("%s: want %s above\n%s", b.section, want, b.text)
		}
		switch {
		case strings.Contains(runner, "/"):
			isIn(t, runner, b.text)
		case !slices.Contains(tests, runner):
			t.Errorf("%s: there is no %s that takes its commands from documented", b.section, runner)
		}
	}
	for section, runners := range migrating {
		if next[section] != len(runners) {
			t.Errorf("%s: want %d blocks of commands, got %d", section, len(runners), next[section])
		}
	}
}

// isIn fails the test unless a script of the tree has each line of the commands.
func isIn(t *testing.T, path, commands string) {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(commands) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(string(script), line) {
			t.Errorf("%s does not run %s", path, line)
		}
	}
}

// testsThatCall returns the tests of this package in which a function is called by name.
func testsThatCall(t *testing.T, name string) (tests []string) {
	t.Helper()
	paths, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if id, ok := call.Fun.(*ast.Ident); ok && id.Name == name {
						tests = append(tests, fn.Name.Name)
					}
				}
				return true
			})
		}
	}
	return tests
}

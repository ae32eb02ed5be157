package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// forbidden are functions that the product does not call, and what it does instead.
// The packages in except may call them, for the reason that stands there.
var forbidden = []struct {
	name    *regexp.Regexp
	instead string
	except  map[string]string
}{
	{regexp.MustCompile(`^fmt\.Print(f|ln)?$`), "write to the io.Writer that the caller hands in", nil},
	{regexp.MustCompile(`^log\.`), "tell a journal.Kind", nil},
	{regexp.MustCompile(`^log/slog\.`), "tell a journal.Kind", nil},
	{regexp.MustCompile(`^os\.Exit$`), "return the error; only main exits", map[string]string{"berth": "main"}},
	{regexp.MustCompile(`^go\.uber\.org/zap\.(L|S)$`), "take a logger in the constructor", nil},
	{regexp.MustCompile(`^\(\*go\.uber\.org/zap\.Logger\)\.(Sugar|Fatal|Panic|DPanic)$`), "use typed fields, and return the error", nil},
	{regexp.MustCompile(`^time\.(Sleep|Tick)$`), "wait for a timer and for the context in one select", map[string]string{
		"berth/internal/cloudsim": "a simulated delay",
		"berth/internal/owner":    "addresses are removed after the context has ended, for a bounded time",
		"berth/notify":            "the goroutine has no context, and its listener shows no free descriptor",
		"berth/providers":         "the lock of the ids is waited for without a context, for a moment",
	}},
}

func TestProductCallsNothingThatTheStyleForbids(t *testing.T) {
	inspect(t, func(p *sourcePackage, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		f := p.callee(call)
		if f == nil {
			return
		}
		for _, rule := range forbidden {
			if rule.name.MatchString(f.FullName()) && rule.except[p.ImportPath] == "" {
				t.Errorf("%s: calls %s; %s", at(n.Pos()), f.FullName(), rule.instead)
			}
		}
	})
}

// exactErrors are packages that may compare errors by == and !=, for a reason.
var exactErrors = map[string]string{
	"berth/internal/owner": "Bind joins the cause with another error where addresses are left",
}

// A sentinel that is wrapped equals nothing.
func TestErrorsAreComparedByIs(t *testing.T) {
	failure := types.Universe.Lookup("error").Type()
	inspect(t, func(p *sourcePackage, n ast.Node) {
		f, ok := n.(*ast.FuncDecl)
		if !ok || f.Body == nil || f.Name.Name == "Is" || exactErrors[p.ImportPath] != "" {
			return // errors.Is itself calls a method Is
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			compared, ok := n.(*ast.BinaryExpr)
			if !ok || compared.Op != token.EQL && compared.Op != token.NEQ {
				return true
			}
			x, y := p.info.Types[compared.X], p.info.Types[compared.Y]
			if !x.IsNil() && !y.IsNil() && types.Identical(x.Type, failure) && types.Identical(y.Type, failure) {
				t.Errorf("%s: compares errors by %s; use errors.Is", at(n.Pos()), compared.Op)
			}
			return true
		})
	})
}

// State that no constructor hands out is shared by tests that run beside each other,
// and by two parts of one process.
func TestNoPackageHasInitOrVariablesThatChange(t *testing.T) {
	inspect(t, func(p *sourcePackage, n ast.Node) {
		global := func(x ast.Expr) {
			for {
				switch e := ast.Unparen(x).(type) {
				case *ast.SelectorExpr:
					if _, ok := p.info.Uses[e.Sel].(*types.Var); ok && p.info.Types[e.X].Type != nil {
						x = e.X // a field
						continue
					}
				case *ast.IndexExpr:
					x = e.X
					continue
				case *ast.Ident:
					if v, ok := p.info.Uses[e].(*types.Var); ok && v.Parent() == p.types.Scope() {
						t.Errorf("%s: changes the variable %s of the package", at(e.Pos()), v.Name())
					}
				}
				return
			}
		}
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				t.Errorf("%s: an init runs in every program that imports the package; use a constructor", at(n.Pos()))
			}
		case *ast.AssignStmt:
			for _, x := range n.Lhs {
				global(x)
			}
		case *ast.IncDecStmt:
			global(n.X)
		}
	})
}

// berth is for Linux alone, so a file for another system is never built.
func TestNoFileIsForAnotherSystem(t *testing.T) {
	other := regexp.MustCompile(`(?m)^//go:build .*(!linux|darwin|windows|bsd)`)
	for _, path := range sources(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if other.Match(text) || regexp.MustCompile(`_(other|others|unsupported|darwin|windows)\.go$`).MatchString(path) {
			t.Errorf("%s is for a system on which berth does not run", path)
		}
	}
}

// realSleeps are test files that may sleep in real time, for a reason.
var realSleeps = map[string]string{
	"netif/fake_test.go":     "the fake kernel sleeps in the bubbles of other files",
	"netif/lifetime_test.go": "the test measures at which phase of a second the kernel removes addresses",
}

// Tests wait for what they test, by a channel, a file descriptor or a ticker with an
// end. In a bubble of testing/synctest time.Sleep only lets virtual time pass.
func TestTestsSleepInBubblesOnly(t *testing.T) {
	for _, path := range sources(t) {
		if !strings.HasSuffix(path, "_test.go") || realSleeps[filepath.ToSlash(path)] != "" {
			continue
		}
		f, err := parser.ParseFile(fileSet, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		bubbles := false
		for _, i := range f.Imports {
			bubbles = bubbles || i.Path.Value == `"testing/synctest"`
		}
		if bubbles {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: sleeps in real time", at(n.Pos()))
				}
			}
			return true
		})
	}
}

// directive is a comment for a tool.
var directive = regexp.MustCompile(`^//[a-z]+:|^// Code generated`)

func TestDocCommentsEndWithAPeriod(t *testing.T) {
	for _, path := range sources(t) {
		f, err := parser.ParseFile(fileSet, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		docs := []*ast.CommentGroup{f.Doc}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				docs = append(docs, d.Doc)
			case *ast.GenDecl:
				docs = append(docs, d.Doc)
			}
		}
		for _, doc := range docs {
			if doc == nil || directive.MatchString(doc.List[len(doc.List)-1].Text) {
				continue
			}
			text := strings.TrimRight(doc.Text(), "\n")
			last := text[strings.LastIndex(text, "\n")+1:]
			if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "?") && !strings.HasPrefix(last, "\t") && !strings.HasPrefix(last, "  ") {
				t.Errorf("%s: the comment ends without a period: %q", at(doc.Pos()), last)
			}
		}
	}
}

package main

import (
	"go/ast"
	"go/parser"
	positions "go/token" // the tests have a constant called token
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// public are the packages that other programs may import. Everything else may
// change without notice.
var public = []string{"keepalivedconf", "vrrp"}

// TestPublicPackagesStandAlone holds that a program can use the public packages
// without any other package of berth: they import only vrrp, so that their API has
// no type of another package, and their documentation is complete.
func TestPublicPackagesStandAlone(t *testing.T) {
	for _, dir := range public {
		paths, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		set, said := positions.NewFileSet(), false
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			said = said || file.Doc != nil && strings.Contains(strings.Join(strings.Fields(file.Doc.Text()), " "), "is one of the two public packages of berth")
			for _, i := range file.Imports {
				if im, _ := strconv.Unquote(i.Path.Value); strings.HasPrefix(im, "berth/") && im != "berth/vrrp" {
					t.Errorf("%s: imports %s", set.Position(i.Pos()), im)
				}
			}
			for _, decl := range file.Decls {
				for name, at := range undocumented(decl) {
					t.Errorf("%s: %s has no doc comment", set.Position(at), name)
				}
			}
		}
		if !said {
			t.Errorf("the package comment of %s does not say that it is public", dir)
		}
	}
}

// undocumented returns the exported names of a declaration that have no comment.
func undocumented(decl ast.Decl) map[string]positions.Pos {
	missing := map[string]positions.Pos{}
	need := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		for _, c := range comments {
			if c.Text() != "" {
				return
			}
		}
		if name.IsExported() {
			missing[name.Name] = name.Pos()
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
			need(d.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				need(s.Name, s.Doc, d.Doc)
				if body, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
					for _, field := range body.Fields.List {
						for _, name := range field.Names {
							need(name, field.Doc, field.Comment)
						}
					}
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					need(name, s.Doc, s.Comment, d.Doc)
				}
			}
		}
	}
	return missing
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sourcePackage is a package of this module, as the tests of the project's style see
// it: its files without tests, with types.
type sourcePackage struct {
	ImportPath string
	Dir        string
	Export     string // file with the compiler's export data
	GoFiles    []string
	CgoFiles   []string
	Module     *struct{ Main bool }

	files []*ast.File
	types *types.Package
	info  types.Info
}

// product reports whether a package is linked into the program. The others only
// serve tests, see testOnly.
func (p *sourcePackage) product() bool {
	for _, prefix := range testOnly {
		if strings.HasPrefix(p.ImportPath, prefix) {
			return false
		}
	}
	return true
}

// fileSet has the positions of all files that the tests of the style have parsed.
var fileSet = token.NewFileSet()

// at returns a place as file:line, with the path from the root of the project.
func at(pos token.Pos) string {
	p := fileSet.Position(pos)
	if wd, err := os.Getwd(); err == nil {
		if name, err := filepath.Rel(wd, p.Filename); err == nil {
			p.Filename = name
		}
	}
	p.Column = 0
	return p.String()
}

// packages returns the packages of this module, read and checked once for all tests.
func packages(t *testing.T) []*sourcePackage {
	t.Helper()
	all, err := readPackages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var readPackages = sync.OnceValues(func() ([]*sourcePackage, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,CgoFiles,Module", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	var own []*sourcePackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := &sourcePackage{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main && len(p.GoFiles) > 0 {
			own = append(own, p)
		}
	}
	imports := importer.ForCompiler(fileSet, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, p := range own {
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fileSet, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			p.files = append(p.files, f)
		}
		p.info = types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
		if p.types, err = (&types.Config{Importer: imports}).Check(p.ImportPath, fileSet, p.files, &p.info); err != nil {
			return nil, err
		}
	}
	return own, nil
})

// inspect calls f for each node of the product's files.
func inspect(t *testing.T, f func(p *sourcePackage, n ast.Node)) {
	t.Helper()
	for _, p := range packages(t) {
		if !p.product() {
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				if n != nil {
					f(p, n)
				}
				return true
			})
		}
	}
}

// callee returns the function or method that a call names, nil for a value of a
// function type.
func (p *sourcePackage) callee(call *ast.CallExpr) *types.Func {
	name, _ := ast.Unparen(call.Fun).(*ast.Ident)
	if selector, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok {
		name = selector.Sel
	}
	if name == nil {
		return nil
	}
	f, _ := p.info.Uses[name].(*types.Func)
	return f
}

// sources returns the paths of all Go files in the project.
func sources(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

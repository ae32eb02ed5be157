package main

import (
	"go/ast"
	"regexp"
	"slices"
	"testing"
)

// A line at info or above is an event with a code, which the journal writes. Only main
// also writes the error with which the process ends.
func TestOnlyTheJournalWritesLinesOfTheLog(t *testing.T) {
	line := regexp.MustCompile(`^\(\*go\.uber\.org/zap\.Logger\)\.(Info|Warn|Error|Log)$`)
	inspect(t, func(p *sourcePackage, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || slices.Contains([]string{"berth", "berth/internal/journal", "berth/internal/logs"}, p.ImportPath) {
			return
		}
		if f := p.callee(call); f != nil && line.MatchString(f.FullName()) {
			t.Errorf("%s: calls %s; declare a journal.Kind in events.go", at(n.Pos()), f.FullName())
		}
	})
}

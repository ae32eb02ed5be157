package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/app"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var update = flag.Bool("update", false, "write the columns of docs/messages.md that the code has")

const messages = "docs/messages.md"

// row is the row of a kind without its last cell.
func row(k journal.Kind) string {
	var depends []string
	for _, code := range k.DependsOn {
		depends = append(depends, "`"+code+"`")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |", k.Code, k.Level, k.Text, k.Over, strings.Join(depends, ", "))
}

// The last cell says what an event means and what to do about it. The test wants
// one for each code; the others are written by "go test . -run Events -update".
func TestEventsAreInTheTableOfMessages(t *testing.T) {
	text, err := os.ReadFile(messages)
	if err != nil {
		t.Fatal(err)
	}
	meanings := map[string]string{}
	rows := map[string]string{}
	var begin, end int // of the table's rows
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "|---") {
			begin, end = i+1, i+1
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		end = i + 1
		cells := strings.Split(line, " | ")
		code := strings.Trim(cells[0], "|` ")
		meanings[code] = strings.TrimSpace(strings.TrimSuffix(cells[len(cells)-1], "|"))
		rows[code] = strings.TrimSpace(line[:strings.LastIndex(line[:len(line)-1], "|")+1])
	}
	kinds := app.Events()
	slices.SortFunc(kinds, func(a, b journal.Kind) int { return strings.Compare(a.Code, b.Code) })
	if *update {
		var table []string
		for _, k := range kinds {
			table = append(table, strings.TrimRight(row(k)+" "+meanings[k.Code], " ")+" |")
		}
		text := strings.Join(slices.Concat(lines[:begin], table, lines[end:]), "\n")
		if err := os.WriteFile(messages, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, k := range kinds {
		switch {
		case rows[k.Code] != row(k):
			t.Errorf("%s has\n%s\nwant\n%s\nrun: go test . -run Events -update", messages, rows[k.Code], row(k))
		case !regexp.MustCompile("^([A-Z`]|(berth|etcd|keepalived)\\b).*[.]$").MatchString(meanings[k.Code]):
			t.Errorf("%s: the last cell of %s must say in a sentence what the event means and what to do, got %q", messages, k.Code, meanings[k.Code])
		}
		delete(rows, k.Code)
	}
	for code := range rows {
		t.Errorf("%s has %s, which no package declares", messages, code)
	}
}

func TestEventsHaveCodesAndTextsOfTheAgreedForm(t *testing.T) {
	codes := map[string]bool{}
	for _, k := range app.Events() {
		if codes[k.Code] {
			t.Errorf("%s is declared twice", k.Code)
		}
		codes[k.Code] = true
	}
	for _, k := range app.Events() {
		if !regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`).MatchString(k.Code) {
			t.Errorf("%q: want lower-case words with hyphens", k.Code)
		}
		if !slices.Contains([]zapcore.Level{zap.InfoLevel, zap.WarnLevel, zap.ErrorLevel}, k.Level) {
			t.Errorf("%s has the level %v", k.Code, k.Level)
		}
		for _, text := range []string{k.Text, k.Over} {
			if strings.ContainsAny(text, "%\n|\t") || strings.TrimSpace(text) != text || strings.HasSuffix(text, ".") || strings.HasSuffix(text, ":") {
				t.Errorf("%s: %q: want a sentence without values and without a full stop", k.Code, text)
			}
		}
		if k.Text == "" {
			t.Errorf("%s has no text", k.Code)
		}
		for _, other := range k.DependsOn {
			if !codes[other] || other == k.Code {
				t.Errorf("%s depends on %s, which is not another code", k.Code, other)
			}
		}
	}
}

// Each kind that a package declares is in its Events, and each Events is collected.
func TestEventsAreCollected(t *testing.T) {
	collected := map[string]bool{}
	for _, k := range app.Events() {
		collected[k.Code] = true
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, ok := kv.Key.(*ast.Ident)
			value, literal := kv.Value.(*ast.BasicLit)
			if ok && key.Name == "Code" && literal && value.Kind == gotoken.STRING {
				if code := strings.Trim(value.Value, "`\""); !collected[code] {
					t.Errorf("%s declares %s, which internal/app/events.go does not collect", path, code)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"berth/internal/files"
	"berth/internal/section"

	"gopkg.in/yaml.v3"
)

// maxSize bounds the configuration file; the largest sensible one has a few
// kilobytes.
const maxSize = 1 << 20

// SectionCheck decodes a provider section strictly. Its error joins one
// *section.Problem for each thing that is wrong.
type SectionCheck func(*yaml.Node) error

// Problem is one thing wrong with the file.
type Problem struct {
	File string
	Line int // 0 when it is about the file as a whole
	Text string
}

// Error returns "file:line: text".
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Options are what the caller knows and the file does not say.
type Options struct {
	// Sections are the known providers, each with the check of its section. Each
	// section present in the file is checked, whatever provider is chosen.
	Sections map[string]SectionCheck
	// LockFileTemplate replaces the default, a directory below the run directory;
	// empty to leave it.
	LockFileTemplate string
}

// Load reads and checks the file at path, a regular one or a pipe such as
// /dev/stdin that is being written. The error joins one *Problem for each thing
// that is wrong.
func Load(path string, o Options) (*Config, error) {
	text, st, err := files.ReadInfo(path, maxSize)
	if errors.Is(err, files.ErrNotRegular) && st != nil && st.Mode()&fs.ModeNamedPipe != 0 {
		text, err = files.ReadPipe(path, maxSize)
	}
	if errors.Is(err, files.ErrTooLarge) {
		return nil, tooLarge(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parse(string(text), path, o)
	if err != nil {
		return nil, err
	}
	// A pipe from a secret store has no mode that means something.
	c.OthersCanRead = st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0
	return c, nil
}

// Parse reads and checks a configuration from r; path is for messages.
func Parse(r io.Reader, path string, o Options) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxSize {
		return nil, tooLarge(path)
	}
	return parse(string(text), path, o)
}

func tooLarge(path string) error {
	return &Problem{File: path, Text: fmt.Sprintf("larger than %d bytes; this is no berth configuration", maxSize)}
}

func parse(text, path string, o Options) (*Config, error) {
	c := defaults()
	c.Path = path
	c.LockFileTemplate = o.LockFileTemplate
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(path, err)
	}
	var problems []error
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		problems = append(problems, &Problem{path, more.Line, "a second YAML document; berth reads one document per file"})
	}
	for _, err := range fill(&c, &doc, o) {
		problems = append(problems, &Problem{path, err.Line, (&section.Problem{Key: err.Key, Text: err.Text}).Error()})
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b error) int { return lineOf(a) - lineOf(b) })
		return nil, errors.Join(problems...)
	}
	return &c, nil
}

func lineOf(err error) int {
	if pr, ok := errors.AsType[*Problem](err); ok {
		return pr.Line
	}
	return 0
}

// syntaxProblem puts into our words why a file is no YAML. yaml.v3 repeats the
// names of anchors, and a password that begins with * is one of these.
func syntaxProblem(path string, err error) error {
	p := &Problem{File: path, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
	if line, text, ok := strings.Cut(p.Text, ": "); ok && strings.HasPrefix(line, "line ") {
		if n, err := strconv.Atoi(strings.TrimPrefix(line, "line ")); err == nil {
			p.Line, p.Text = n, text
		}
	}
	if strings.HasPrefix(p.Text, "unknown anchor") || strings.HasPrefix(p.Text, "anchor") {
		p.Text = "an alias of an anchor that the file does not have"
	}
	p.Text += "; a value with other characters than letters and digits may need quotes around it"
	return p
}

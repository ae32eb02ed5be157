package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"berth/internal/files"

	"gopkg.in/yaml.v3"
)

// maxSize bounds the configuration file; the largest sensible one has a few
// kilobytes.
const maxSize = 1 << 20

// SectionCheck decodes a provider section strictly. Its error joins one
// *section.Problem for each thing that is wrong.
type SectionCheck func(*yaml.Node) error

// Options are what a configuration depends on beside its file.
type Options struct {
	// Sections are the known providers, each with the check of its section. Each
	// section present in the file is checked, whatever provider is chosen.
	Sections map[string]SectionCheck
	// LockFileTemplate replaces the default, a directory below the run directory;
	// empty leaves the default.
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
		return nil, &Problem{File: path, Text: fmt.Sprintf("larger than %d bytes; this is not a configuration of berth", maxSize)}
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parse(string(text), path, o)
	if err != nil {
		return nil, err
	}
	// The mode of a pipe, such as one from a secret store, says nothing about its
	// readers.
	c.OthersCanRead = st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0
	return c, nil
}

// parse reads and checks the text of a configuration; path is for messages.
func parse(text, path string, o Options) (*Config, error) {
	c := defaults()
	c.Path = path
	c.LockFileTemplate = o.LockFileTemplate
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(path, text, err)
	}
	var problems []*Problem
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		problems = append(problems, &Problem{path, more.Line, "a second YAML document; berth reads one document per file"})
	}
	for _, p := range fill(&c, &doc, o) {
		problems = append(problems, problem(path, p))
	}
	if len(problems) > 0 {
		return nil, join(problems)
	}
	c.doc = &doc
	return &c, nil
}

// syntaxProblem explains why a file is not YAML. The errors of yaml.v3 repeat the
// names of anchors, and a password that begins with * is taken for one.
func syntaxProblem(path, text string, err error) error {
	p := &Problem{File: path, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
	if line, rest, ok := strings.Cut(p.Text, ": "); ok && strings.HasPrefix(line, "line ") {
		if n, err := strconv.Atoi(strings.TrimPrefix(line, "line ")); err == nil {
			p.Line, p.Text = n, rest
		}
	}
	if strings.HasPrefix(p.Text, "unknown anchor") || strings.HasPrefix(p.Text, "anchor") {
		if _, name, ok := strings.Cut(p.Text, "'"); ok && p.Line == 0 {
			name, _, _ = strings.Cut(name, "'")
			p.Line = lineOf(text, "*"+name)
		}
		p.Text = "an alias of an anchor that the file does not have"
	}
	p.Text += "; a value with other characters than letters and digits may need quotes around it"
	return p
}

// lineOf returns the line on which a text has a part for the first time, 0 if it
// does not have it.
func lineOf(text, part string) int {
	before, _, found := strings.Cut(text, part)
	if !found {
		return 0
	}
	return strings.Count(before, "\n") + 1
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// Options are what a configuration depends on beside its file.
type Options struct {
	// Sections are the known providers, each with the check of its section. Each
	// section present in the file is checked, whatever provider is chosen.
	Sections map[string]SectionCheck
	// LockFileTemplate replaces the default, a directory below the run directory;
	// empty leaves the default.
	LockFileTemplate string
	// EtcdPassword is the password of etcd where the text has none.
	EtcdPassword Secret
	// APIPassword is the password of the management API where the text has none.
	APIPassword Secret
	// Secrets are those of provider sections where the text has none, by their keys such as
	// exoscale.secret.
	Secrets map[string]Secret
	// Explain, if not nil, returns what to report for a problem of a text that a program
	// has made of another file: a problem of that file.
	Explain func(*section.Problem) *Problem
}

// Load reads and checks the file at path, see Read. The error joins one *Problem for
// each thing that is wrong.
func Load(path string, o Options) (*Config, error) {
	text, readable, err := Read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(text, path, o)
	if err != nil {
		return nil, err
	}
	c.OthersCanRead = readable
	return c, nil
}

// Read returns the text of the file at path, a regular one or a pipe such as
// /dev/stdin that is being written, and whether the file's mode lets every user read
// it.
func Read(path string) (text string, othersCanRead bool, err error) {
	content, st, err := files.ReadInfo(path, maxSize)
	if errors.Is(err, files.ErrNotRegular) && st != nil && st.Mode()&fs.ModeNamedPipe != 0 {
		content, err = files.ReadPipe(path, maxSize)
	}
	if errors.Is(err, files.ErrTooLarge) {
		return "", false, &Problem{File: path, Text: fmt.Sprintf("larger than %d bytes; this is not a configuration of berth", maxSize)}
	}
	if err != nil {
		return "", false, fmt.Errorf("read configuration: %w", err)
	}
	// The mode of a pipe, such as one from a secret store, says nothing about its
	// readers.
	return string(content), st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0, nil
}

// Document reads the YAML of a configuration, which is one document; path is for
// messages. The error is a *Problem. A second document is one beside the first, so
// that the mistakes of both can be reported.
func Document(text, path string) (doc *yaml.Node, second *Problem, err error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	doc = &yaml.Node{}
	if err := dec.Decode(doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, syntaxProblem(path, text, err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		second = &Problem{path, more.Line, "a second YAML document; berth reads one document per file"}
	}
	return doc, second, nil
}

// Parse reads and checks the text of a configuration; path is for messages.
func Parse(text, path string, o Options) (*Config, error) {
	c := defaults()
	c.Path, c.explain = path, o.Explain
	c.LockFileTemplate = o.LockFileTemplate
	c.Etcd.Password = o.EtcdPassword
	c.API.Password = o.APIPassword
	c.secrets = o.Secrets
	doc, second, err := Document(text, path)
	if err != nil {
		return nil, err
	}
	var problems []*Problem
	if second != nil {
		problems = append(problems, second)
	}
	for _, p := range fill(&c, doc, o) {
		problems = append(problems, c.problem(p))
	}
	if len(problems) > 0 {
		return nil, Join(problems)
	}
	c.doc = doc
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

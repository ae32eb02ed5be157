// Package section reads the sections of berth's configuration, which are mappings
// of YAML (https://yaml.org/spec/1.2.2/), in one way for all of them: an unknown
// key is a problem, a key without content leaves its default, and all problems of
// a section are found at once.
//
// A problem names the line and the key, the kind of value that was found, and what
// to write instead. It never repeats a value, because a password may stand at the
// wrong key. It repeats an unknown key only if that looks like a key.
//
// A mistake is reported once. A key whose value could not be read is not checked
// further, and a key is not missing where a misspelt one was probably meant to be
// that key, nor in a section that could not be read at all.
package section

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Problem is one mistake in a section.
type Problem struct {
	Line int    // of the file, 0 if no line is to blame
	Key  string // with the section's name, such as etcd.endpoints; may be empty
	Text string // without a value of the file
}

// Error returns "line N: key: text".
func (p *Problem) Error() string {
	text := p.Text
	if p.Key != "" {
		text = p.Key + ": " + text
	}
	if p.Line == 0 {
		return text
	}
	return fmt.Sprintf("line %d: %s", p.Line, text)
}

// Keys are the keys of a section, each with the place of its value: a *string,
// *bool, *int, *float64, *[]string, *map[string]string or a Duration; or Any or
// List for a value that is read later.
type Keys map[string]any

// Duration is the place of a length of time as Go writes it, such as 1m30s. It is
// longer than 0, or with OrZero may be 0.
type Duration struct {
	To     *time.Duration
	OrZero bool
}

type undecoded int

// Places of values that are read later: Any by Node or Sub, List by Len and Item.
const (
	Any undecoded = iota
	List
)

// maxMerges bounds how many mappings a section may merge (YAML's "<<"); YAML lets
// a mapping merge itself.
const maxMerges = 64

// Section is a section that was read. The methods that report a problem are for checks
// that only the owner of the section can make; they add to the problems of reading.
type Section struct {
	name     string
	line     int  // of its key; where the file does not have it, of what is above it
	unread   bool // the section is not a mapping
	values   map[string]value
	wrong    map[string]bool // keys, and items of lists, whose value could not be read
	meant    map[string]bool // keys that a misspelt key was probably meant to be
	problems *[]error        // shared with the sections below
	merges   *int
}

type value struct {
	line int // of the key
	node *yaml.Node
}

// Read reads a section into the places of its keys. The node may be nil, for a
// section that the file does not have. The empty name is for the whole file.
func Read(name string, node *yaml.Node, keys Keys) *Section {
	s := newSection(name, 0, new([]error), new(int))
	s.read(resolve(node), keys)
	return s
}

func newSection(name string, line int, problems *[]error, merges *int) *Section {
	return &Section{name: name, line: line, values: map[string]value{}, wrong: map[string]bool{}, meant: map[string]bool{},
		problems: problems, merges: merges}
}

// Sub reads a section below this one. Its problems become problems of this one.
func (s *Section) Sub(key string, keys Keys) *Section {
	v := s.values[key]
	sub := newSection(s.path(key), cmp.Or(v.line, s.line), s.problems, s.merges)
	sub.read(v.node, keys)
	sub.unread = sub.unread || s.meant[key]
	return sub
}

// Item is Sub for one mapping of a list, counted from 0.
func (s *Section) Item(key string, i int, keys Keys) *Section {
	node := s.item(key, i)
	item := newSection(s.numbered(key, i), node.Line, s.problems, s.merges)
	if empty(node) {
		item.problem(node.Line, item.name, "found nothing; write keys and values")
		item.unread = true
	}
	item.read(node, keys)
	return item
}

// Len returns how long a list is.
func (s *Section) Len(key string) int {
	if node := s.values[key].node; node != nil && node.Kind == yaml.SequenceNode {
		return len(node.Content)
	}
	return 0
}

// Node returns the value of a key, nil if the file does not have it.
func (s *Section) Node(key string) *yaml.Node { return s.values[key].node }

// Line returns the line of a key, or of the section if the file does not have the
// key.
func (s *Section) Line(key string) int { return cmp.Or(s.values[key].line, s.line) }

// Name returns the name of a key with those of the sections above it, as in messages.
func (s *Section) Name(key string) string { return s.path(key) }

// Given reports whether the key has content, be it right or wrong, or was probably
// meant by a misspelt key.
func (s *Section) Given(key string) bool { return s.meant[key] || !empty(s.values[key].node) }

// Wrong reports whether the value of the key could not be read, which is a problem
// already.
func (s *Section) Wrong(key string) bool { return s.wrong[s.path(key)] }

// Empty reports whether the key has no content, or a list of items without content.
func (s *Section) Empty(key string) bool {
	node := s.values[key].node
	return empty(node) || node.Kind == yaml.SequenceNode && !slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return !empty(resolve(n)) })
}

// Err joins all problems, each a *Problem. It returns nil without problems.
func (s *Section) Err() error { return errors.Join(*s.problems...) }

// Refuse reports that the value of a key cannot be what it is. found says what was
// found and may show nothing that could be a secret; the empty text stands for the
// kind of value.
func (s *Section) Refuse(key, found, want string) {
	node := s.values[key].node
	s.refuse(node, s.lineOf(node, key), s.path(key), found, want)
}

// RefuseItem is Refuse for one item of a list, counted from 0.
func (s *Section) RefuseItem(key string, i int, found, want string) {
	node := s.item(key, i)
	s.refuse(node, s.lineOf(node, key), s.numbered(key, i), found, want)
}

// RefuseEntry is Refuse for one value of a *map[string]string.
func (s *Section) RefuseEntry(key, entry, found, want string) {
	node := s.values[key].node
	for i := 0; node != nil && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == entry {
			node = resolve(node.Content[i+1])
			break
		}
	}
	s.refuse(node, s.lineOf(node, key), s.path(key), found, want)
}

func (s *Section) refuse(node *yaml.Node, line int, path, found, want string) {
	if !s.wrong[path] {
		s.problem(line, path, expected(cmp.Or(found, Kind(node)), want))
	}
}

// Missing reports that a key, which the file does not have, is needed.
func (s *Section) Missing(key, want string) { s.MissingFor(s.line, key, want) }

// MissingFor is Missing for a key that something on another line needs.
func (s *Section) MissingFor(line int, key, want string) {
	if !s.unread && !s.meant[key] {
		s.problem(line, s.path(key), "missing; write "+want)
	}
}

// Exclusive reports that two keys are both given of which one makes the other
// meaningless.
func (s *Section) Exclusive(key, other string) {
	if s.Given(key) && s.Given(other) {
		s.problem(s.Line(other), s.path(other), "found beside "+s.path(key)+"; write one of the two")
	}
}

// Pair reports that of two keys, the paths of a certificate and of its key, one is given.
func (s *Section) Pair(cert, key string) {
	switch {
	case s.Given(cert) && !s.Given(key):
		s.Missing(key, "the path of the key of "+cert)
	case s.Given(key) && !s.Given(cert):
		s.Missing(cert, "the path of the certificate of "+key)
	}
}

// Choice sets to to the text if that is one of the words; an empty text leaves the
// default, and any other is a problem.
func (s *Section) Choice(key string, to *string, text string, words ...string) {
	if text == "" {
		return
	}
	for _, w := range words {
		if text == w {
			*to = w
			return
		}
	}
	found := ""
	if Nearest(text, words) != "" {
		found = fmt.Sprintf("%q", text)
	}
	s.Refuse(key, found, "one of "+strings.Join(words, ", "))
}

// Path refuses a text that does not look like a path, see IsPath; want is an
// example of a path.
func (s *Section) Path(key, text, want string) {
	if text != "" && !IsPath(text) {
		s.Refuse(key, "", "a path such as "+want)
	}
}

func expected(found, want string) string { return "found " + found + "; write " + want }

func (s *Section) problem(line int, key, text string) {
	*s.problems = append(*s.problems, &Problem{Line: line, Key: key, Text: text})
}

func (s *Section) lineOf(node *yaml.Node, key string) int {
	if node != nil {
		return node.Line
	}
	return s.Line(key)
}

func (s *Section) path(key string) string {
	switch {
	case s.name == "":
		return key
	case strings.Contains(s.name, ", number "):
		return s.name + ", " + key
	}
	return s.name + "." + key
}

func (s *Section) numbered(key string, i int) string {
	return fmt.Sprintf("%s, number %d", s.path(key), i+1)
}

func (s *Section) item(key string, i int) *yaml.Node {
	if node := s.values[key].node; node != nil && node.Kind == yaml.SequenceNode && i < len(node.Content) {
		return resolve(node.Content[i])
	}
	return nil
}

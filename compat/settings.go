package compat

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/config"
	"berth/internal/section"

	"gopkg.in/yaml.v3"
)

// setting is a value that the user has written.
type setting struct {
	name  string // the key as it is spelled in the file, or the variable, or the flag
	path  string // of what has it; empty: that of the settings
	line  int    // of the file, 0 for a variable and a flag
	shown bool   // a message may repeat the value: it cannot be a secret
	value string
	items []item // where the file has a list
}

// item is a value of a list.
type item struct {
	line  int
	value string
}

// settings are the values of a flat file, and those of the environment that stand
// before them.
type settings struct {
	path     string
	all      map[string]setting // by the key with dashes
	meant    map[string]bool    // keys that the file has, or has with a mistake in the name
	problems []*config.Problem
}

// readSettings reads a flat YAML file, in which a key may be spelled with dashes or with
// underscores. A variable of the environment, prefix and then the key in upper case with
// underscores, stands before a key of the file unless it is empty. The keys that are named
// in lists may have a list of texts.
func readSettings(text, path, prefix string, getenv func(string) string, keys, lists []string) (*settings, error) {
	doc, second, err := config.Document(text, path)
	if err != nil {
		return nil, err
	}
	s := &settings{path: path, all: map[string]setting{}, meant: map[string]bool{}}
	if second != nil {
		s.problems = append(s.problems, second)
	}
	spelled := dashes(doc, slices.Concat(keys, lists))
	values, places := map[string]*string{}, section.Keys{}
	for _, key := range keys {
		values[key] = new(string)
		places[key] = values[key]
	}
	for _, key := range lists {
		places[key] = section.Any
	}
	file := section.Read("", doc, places)
	for _, key := range keys {
		if !file.Empty(key) && !file.Wrong(key) {
			s.all[key] = setting{name: spelled(key), line: file.Line(key), value: *values[key]}
		}
		s.meant[key] = file.Given(key)
	}
	for _, key := range lists {
		if !file.Empty(key) {
			s.all[key] = s.list(setting{name: spelled(key), line: file.Line(key)}, file.Node(key))
		}
	}
	s.report(file.Err(), spelled)
	for _, key := range slices.Concat(keys, lists) {
		s.variable(key, prefix+strings.ToUpper(strings.ReplaceAll(key, "-", "_")), getenv)
	}
	return s, nil
}

// environment stands where messages have the path of a file.
const environment = "environment"

// readVariables reads variables of the environment, which are keys of their own.
func readVariables(getenv func(string) string, names []string) *settings {
	s := &settings{path: environment, all: map[string]setting{}, meant: map[string]bool{}}
	for _, name := range names {
		s.variable(name, name, getenv)
	}
	return s
}

// variable takes the value of a variable for a key, unless it is empty.
func (s *settings) variable(key, name string, getenv func(string) string) {
	v := getenv(name)
	if v == "" {
		return
	}
	s.all[key] = setting{name: name, value: v}
	s.printable(key)
}

// printable refuses a value that no file could have.
func (s *settings) printable(key string) {
	v := s.all[key].value
	if strings.ToValidUTF8(v, "") != v || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.refuse(key, "a text with control characters", "a text without them")
	}
}

// dashes spells the keys of a document with dashes, and returns how each was spelled. A
// second spelling of a key with the same value is left out.
func dashes(doc *yaml.Node, keys []string) (spelled func(string) string) {
	spellings := map[string]string{}
	if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
		top := doc.Content[0]
		values := map[string]string{}
		var content []*yaml.Node
		for i := 0; i+1 < len(top.Content); i += 2 {
			key, value := top.Content[i], top.Content[i+1]
			if name := strings.ReplaceAll(key.Value, "_", "-"); key.Kind == yaml.ScalarNode && slices.Contains(keys, name) {
				if former, twice := values[name]; twice && value.Kind == yaml.ScalarNode && former == value.Value && spellings[name] != key.Value {
					continue
				}
				spellings[name], values[name] = key.Value, value.Value
				key.Value = name
			}
			content = append(content, key, value)
		}
		top.Content = content
	}
	return func(key string) string {
		if s, ok := spellings[key]; ok {
			return s
		}
		return key
	}
}

// list reads a list, or a text that stands for one, into a setting.
func (s *settings) list(to setting, node *yaml.Node) setting {
	switch {
	case node.Kind == yaml.ScalarNode:
		to.value = node.Value
	case node.Kind == yaml.SequenceNode:
		for i, n := range node.Content {
			if n.Kind == yaml.AliasNode {
				n = n.Alias
			}
			if n.Kind != yaml.ScalarNode {
				s.add(n.Line, to.name+", number "+strconv.Itoa(i+1), "found "+section.Kind(n)+"; write a text")
			}
			to.items = append(to.items, item{n.Line, n.Value})
		}
	default:
		s.add(node.Line, to.name, "found "+section.Kind(node)+"; write a list, or texts with commas between them")
	}
	return to
}

// report takes the problems of reading, under the names that the user has spelled.
func (s *settings) report(err error, spelled func(string) string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, e := range joined.Unwrap() {
		p := e.(*section.Problem)
		s.add(p.Line, spelled(p.Key), p.Text)
	}
}

func (s *settings) add(line int, key, text string) {
	s.problems = append(s.problems, problem(s.path, line, key, text))
}

// wrong reports a mistake in a key that the user has written.
func (s *settings) wrong(key, text string) {
	of := s.all[key]
	s.problems = append(s.problems, problem(cmp.Or(of.path, s.path), of.line, of.name, text))
}

// given reports whether the user has written a key.
func (s *settings) given(key string) bool { return s.all[key].name != "" }

// text returns the value of a key, empty if the user has not written it.
func (s *settings) text(key string) string { return s.all[key].value }

// refuse reports that a key cannot have its value. found describes the value and shows
// nothing that could be a secret; "" stands for the value where it may be shown, and else
// for its kind.
func (s *settings) refuse(key, found, want string) {
	switch of := s.all[key]; {
	case found != "":
	case of.shown:
		found = strconv.Quote(of.value)
	default:
		found = section.KindOfText(of.value)
	}
	s.wrong(key, "found "+found+"; write "+want)
}

// missing reports that the user has to write a key, unless the key is there with a
// mistake, which is reported already.
func (s *settings) missing(key, want string) {
	if !s.meant[key] {
		s.add(0, key, "missing; write "+want)
	}
}

// number returns the value of a key, or the argument without if the key is not there or
// has a mistake.
func (s *settings) number(key string, without, least, most int, want string) int {
	if !s.given(key) {
		return without
	}
	n, err := strconv.Atoi(s.text(key))
	switch {
	case err != nil:
		s.refuse(key, "", want)
		return without
	case n < least || n > most:
		s.refuse(key, strconv.Itoa(n), want)
		return without
	}
	return n
}

// duration returns the value of a key, a length of time as Go writes it, or the argument
// without as number does.
func (s *settings) duration(key string, without, least, most time.Duration, want string) time.Duration {
	if !s.given(key) {
		return without
	}
	d, err := time.ParseDuration(s.text(key))
	switch {
	case err != nil:
		s.refuse(key, "", want)
		return without
	case d < least || d > most:
		s.refuse(key, d.String(), want)
		return without
	}
	return d
}

// choice returns the value of a key in lower case, which must be one of the words, or the
// argument without as number does.
func (s *settings) choice(key, without string, words ...string) string {
	if !s.given(key) {
		return without
	}
	if word := strings.ToLower(s.text(key)); slices.Contains(words, word) {
		return word
	}
	found := ""
	if section.IsWord(s.text(key)) {
		found = strconv.Quote(s.text(key))
	}
	s.refuse(key, found, "one of "+strings.Join(words, ", "))
	return without
}

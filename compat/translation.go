package compat

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/section"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"
)

// Translation is a configuration of berth that was made of another program's.
type Translation struct {
	// Text is the configuration, as the file of berth would have it.
	Text string
	// Config is what berth reads in Text. A mistake that config.Config.Located finds
	// later is one of the file from which the translation was made, too.
	Config *config.Config
	// Verbose tells that the log has the lines that --verbose gives.
	Verbose bool
	// JSONLog tells that the log has the form that --json-log gives.
	JSONLog bool
	// DryRun tells that nothing may be changed, as --dry-run does.
	DryRun bool
	// Print tells that the user wants to see Text, and nothing else.
	Print bool

	path    string
	notes   []note
	origins map[string]origin // by the key of berth
}

// origin is what a key of the translation was made of.
type origin struct {
	name string // the key, the variable or the flag, as the user has written it
	path string // of what has it; empty: that of the translation
	line int    // of the file, 0 if it does not have the key
	want string // what to write where the key is missing; empty: what berth says
	// value is what the user has written, where a message may repeat it; else it is empty.
	value string
}

// note is something that the user should know about what berth makes of the file.
type note struct {
	kind   journal.Kind
	fields []zap.Field
}

// draft is a configuration of another program under translation.
type draft struct {
	*settings
	t *Translation
}

func newDraft(s *settings) *draft {
	return &draft{s, &Translation{path: s.path, origins: map[string]origin{}}}
}

// made notes which key of the user's configuration a key of berth is made of.
func (d *draft) made(berths, theirs string) {
	from := origin{name: theirs}
	if s := d.all[theirs]; s.name != "" {
		from.name, from.path, from.line = s.name, s.path, s.line
		if s.shown {
			from.value = s.value
		}
	}
	d.t.origins[berths] = from
}

// copy writes a value under a key of berth.
func (d *draft) copy(to block, section, key, theirs string) {
	d.made(section+"."+key, theirs)
	to.text(key, d.text(theirs))
}

// note adds a note about a key that the user has written.
func (d *draft) note(n note, key string) {
	s := d.all[key]
	n.fields = append([]zap.Field{zap.String("key", s.name)}, n.fields...)
	if s.line > 0 {
		n.fields = append(n.fields, zap.String("file", d.path), zap.Int("line", s.line))
	}
	d.t.notes = append(d.t.notes, n)
}

// read reads the translation. known are mistakes of the file that were found before. o
// has what else the configuration depends on, such as the password, which the text lacks.
func (t *Translation) read(known []*config.Problem, o config.Options) (err error) {
	o.Explain = t.explain
	t.Config, err = config.Parse(t.Text, t.path, o)
	var all []*config.Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if p, ok := errors.AsType[*config.Problem](e); ok && !slices.ContainsFunc(known, func(k *config.Problem) bool { return key(k) == key(p) }) {
				all = append(all, p)
			}
		}
	} else if err != nil {
		return err
	}
	return config.Join(append(known, all...))
}

// Tell tells what berth does otherwise than the file may expect.
func (t *Translation) Tell(j *journal.Journal) {
	for _, n := range t.notes {
		j.Tell(n.kind, n.fields...)
	}
}

// explain returns a problem of the translation as one of the key of which the translation
// was made. A key below that one, such as an item of a list, has its place.
func (t *Translation) explain(p *section.Problem) *config.Problem {
	for key := p.Key; key != ""; {
		if from, ok := t.origins[key]; ok {
			text := p.Text
			if from.want != "" && strings.HasPrefix(text, "missing; ") {
				text = "missing; write " + from.want
			}
			if from.value != "" {
				text = strings.Replace(text, "found "+section.KindOfText(from.value)+";", "found "+strconv.Quote(from.value)+";", 1)
			}
			return problem(cmp.Or(from.path, t.path), from.line, from.name+p.Key[len(key):], text)
		}
		key = key[:max(0, strings.LastIndexAny(key, ".,"))]
	}
	return problem(t.path, 0, p.Key, p.Text)
}

// problem makes a mistake in a file, or in the environment if line is 0.
func problem(path string, line int, key, text string) *config.Problem {
	return &config.Problem{File: path, Line: line, Text: (&section.Problem{Key: key, Text: text}).Error()}
}

// key returns the key in the text of a problem, with which it begins.
func key(p *config.Problem) string {
	name, _, _ := strings.Cut(p.Text, ": ")
	return name
}

// block is a mapping of the translation, with its keys in the order of berth.yml.
type block struct{ node *yaml.Node }

func newBlock() block { return block{&yaml.Node{Kind: yaml.MappingNode}} }

// text adds a key, unless its value is empty.
func (b block) text(key, value string) {
	if value != "" {
		n := &yaml.Node{}
		n.SetString(value)
		b.add(key, n)
	}
}

// word adds a key whose value needs no quotes: a number, a duration, true.
func (b block) word(key, value string) {
	b.add(key, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
}

// empty adds a key for the user to fill, which counts for nothing as it is.
func (b block) empty(key string) {
	b.add(key, &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle})
}

// list adds a list of texts, on one line.
func (b block) list(key string, values []string) {
	l := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		n := &yaml.Node{}
		n.SetString(v)
		l.Content = append(l.Content, n)
	}
	b.add(key, l)
}

// block adds a mapping.
func (b block) block(key string) block {
	sub := newBlock()
	b.add(key, sub.node)
	return sub
}

// item adds a list with one mapping.
func (b block) item(key string) block {
	sub := newBlock()
	b.add(key, &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{sub.node}})
	return sub
}

func (b block) add(key string, value *yaml.Node) {
	b.node.Content = append(b.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

// comment puts a comment above the key that was added last.
func (b block) comment(text string) {
	b.node.Content[len(b.node.Content)-2].HeadComment = text
}

// encode returns the text of a configuration.
func encode(b block) (string, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(b.node); err != nil {
		return "", err
	}
	return out.String(), e.Close()
}

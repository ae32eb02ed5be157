package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/internal/section"
)

// Problem is one thing that is wrong with the file.
type Problem struct {
	File string
	Line int // 0 when the problem is about the file as a whole
	Text string
}

// Error returns "file:line: text".
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Located returns, each as a *Problem, the problems of a part that was made from
// the configuration: a secret that is missing, a certificate that is not one. A
// *section.Problem that err wraps or joins gets the line of its key, unless it has
// one; any other error gets the line of key, which may name a section. It returns
// nil for nil.
func (c *Config) Located(key string, err error) error {
	var all []error
	for _, p := range problemsOf(err) {
		if p.Line == 0 {
			at := key
			if p.Key != "" {
				at = p.Key
			}
			p.Line = c.line(at)
		}
		all = append(all, c.problem(p))
	}
	return errors.Join(all...)
}

// line returns the line of a key. A provider that needs no section may have none;
// the line is then that of its name.
func (c *Config) line(key string) int {
	name, _, _ := strings.Cut(key, ".")
	if _, there := c.Sections[name]; !there && name == c.Provider {
		key = "provider"
	}
	line, _ := section.Line(c.doc, key)
	return line
}

// problem puts the file's name to a problem of a section.
func (c *Config) problem(p *section.Problem) *Problem {
	if c.explain != nil {
		return c.explain(p)
	}
	return &Problem{c.Path, p.Line, (&section.Problem{Key: p.Key, Text: p.Text}).Error()}
}

// problemsOf takes joined problems apart.
func problemsOf(err error) []*section.Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*section.Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problemsOf(e)...)
		}
		return all
	}
	if p, ok := errors.AsType[*section.Problem](err); ok {
		copied := *p
		return []*section.Problem{&copied}
	}
	return []*section.Problem{{Text: err.Error()}}
}

// Join joins problems in the order of lines.
func Join(problems []*Problem) error {
	slices.SortStableFunc(problems, func(a, b *Problem) int { return a.Line - b.Line })
	var all []error
	for _, p := range problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

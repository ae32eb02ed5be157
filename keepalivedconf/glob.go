package keepalivedconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// globbed is what a pattern names, as glob(3) finds it with GLOB_BRACE and
// GLOB_MARK.
type globbed struct {
	paths        []string // as the pattern spells them: relative ones stay relative
	dirs         []string // directories that were searched, or lack a file
	missingFiles bool     // a name without wildcards does not exist
	missingDirs  bool     // a directory to be searched cannot be
	visited      int      // names read from directories
	stopped      bool     // before the end, at a limit
}

// visit counts a name that was read, and reports whether the limit allows more.
func (g *globbed) visit() bool {
	g.visited++
	g.stopped = g.stopped || g.visited > matchLimit
	return !g.stopped
}

// expandGlob finds the files that pattern names. dir is where relative ones
// start. Each brace alternative is sorted by itself.
func expandGlob(dir, pattern string) globbed {
	var g globbed
	patterns := expandBraces(pattern, bracesLimit+1)
	for _, p := range patterns[:min(len(patterns), bracesLimit)] {
		found := g.match(dir, p)
		slices.Sort(found)
		g.paths = append(g.paths, found...)
	}
	g.stopped = g.stopped || len(patterns) > bracesLimit
	return g
}

// bracesLimit bounds the patterns that the braces of one line may stand for.
const bracesLimit = 1000

// hasBrace reports whether a pattern has an opening brace that is not escaped.
func hasBrace(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '{':
			return true
		}
	}
	return false
}

// expandBraces returns the patterns that {a,b} stands for, at most limit. An
// unbalanced brace and {} are ordinary letters.
func expandBraces(pattern string, limit int) []string {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '{':
			alternatives, rest, ok := braceAlternatives(pattern[i:])
			if !ok {
				continue
			}
			var all []string
			for _, a := range alternatives {
				if len(all) >= limit {
					break
				}
				all = append(all, expandBraces(pattern[:i]+a+rest, limit-len(all))...)
			}
			return all
		}
	}
	return []string{pattern}
}

// braceAlternatives splits a text that starts with a brace at the commas of
// its own level.
func braceAlternatives(s string) (alternatives []string, rest string, ok bool) {
	if strings.HasPrefix(s, "{}") {
		return nil, "", false
	}
	depth, start := 0, 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return append(alternatives, s[start:i]), s[i+1:], true
			}
		case ',':
			if depth == 1 {
				alternatives = append(alternatives, s[start:i])
				start = i + 1
			}
		}
	}
	return nil, "", false
}

// match finds the files of a pattern without brace alternatives.
func (g *globbed) match(dir, pattern string) []string {
	if !hasWildcard(pattern) {
		name := unescape(pattern)
		info, err := os.Stat(resolve(dir, name))
		if err != nil || name == "" {
			if _, err = os.Lstat(resolve(dir, name)); err != nil || name == "" {
				g.missingFiles = true
				g.dirs = append(g.dirs, filepath.Dir(resolve(dir, name))) // where it may appear
				return nil
			}
		} else if info.IsDir() && !strings.HasSuffix(name, "/") {
			name += "/"
		}
		return []string{name}
	}
	parent, last := "", pattern
	if i := strings.LastIndexByte(pattern, '/'); i >= 0 {
		parent, last = pattern[:i+1], pattern[i+1:]
	}
	parents := []string{parent}
	switch trimmed := strings.TrimRight(parent, "/"); {
	case hasWildcard(trimmed):
		parents = g.match(dir, trimmed)
	case trimmed != "":
		parents = []string{unescape(parent)}
	}
	var found []string
	for _, p := range parents {
		if !g.visit() {
			break
		}
		if hasWildcard(parent) && !strings.HasSuffix(p, "/") {
			continue // not a directory
		}
		if !hasWildcard(last) {
			name := p + unescape(last)
			if info, err := os.Stat(resolve(dir, name)); err == nil {
				if info.IsDir() && !strings.HasSuffix(name, "/") {
					name += "/"
				}
				found = append(found, name)
			} else {
				g.missingFiles = true
			}
			continue
		}
		where := resolve(dir, p)
		g.dirs = append(g.dirs, where)
		entries, err := os.ReadDir(where)
		if err != nil {
			g.missingDirs = true
			continue
		}
		for _, entry := range entries {
			if !g.visit() {
				break
			}
			if matchName(last, entry.Name()) {
				name := p + entry.Name()
				if info, err := os.Stat(resolve(dir, name)); err == nil && info.IsDir() {
					name += "/"
				}
				found = append(found, name)
			}
		}
	}
	return found
}

func resolve(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

func hasWildcard(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?':
			return true
		case '[':
			if strings.IndexByte(pattern[i:], ']') > 0 {
				return true
			}
		}
	}
	return false
}

func unescape(pattern string) string {
	if !strings.Contains(pattern, `\`) {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// matchName matches one part of a path as fnmatch(3) does in the C locale. A
// dot at the start is matched by a dot only.
func matchName(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(unescape(pattern[:min(2, len(pattern))]), ".") {
		return false
	}
	return matchRest(pattern, name)
}

func matchRest(pattern, name string) bool {
	star, mark := -1, 0 // where to go on after the last asterisk
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) {
			switch pattern[p] {
			case '*':
				star, mark = p, n
				p++
				continue
			case '?':
				p++
				n++
				continue
			case '[':
				if matched, length, ok := matchSet(pattern[p:], name[n]); ok {
					if matched {
						p += length
						n++
						continue
					}
					break
				}
				if name[n] == '[' {
					p++
					n++
					continue
				}
			case '\\':
				if p+1 < len(pattern) && pattern[p+1] == name[n] {
					p += 2
					n++
					continue
				}
			default:
				if pattern[p] == name[n] {
					p++
					n++
					continue
				}
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchSet matches a letter with a set such as [a-z] or [!0-9_]. ok is false
// if the set is not closed, which makes [ an ordinary letter.
func matchSet(pattern string, c byte) (matched bool, length int, ok bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return matched != negated, i + 1, true
		}
		if class, n := setClass(pattern[i:]); n > 0 {
			matched = matched || class(c)
			i += n
			continue
		}
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		low, high := pattern[i], pattern[i]
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			i++
			if pattern[i] == '\\' && i+1 < len(pattern) {
				i++
			}
			high = pattern[i]
			i++
		}
		matched = matched || low <= c && c <= high
	}
	return false, 0, false
}

// setClasses has the named classes of POSIX, for example [[:digit:]].
var setClasses = map[string]func(byte) bool{
	"alnum": isAlnum,
	"alpha": isAlpha,
	"blank": isBlank,
	"digit": isDigit,
	"lower": func(c byte) bool { return 'a' <= c && c <= 'z' },
	"punct": func(c byte) bool { return '!' <= c && c <= '~' && !isAlnum(c) },
	"space": isSpace,
	"upper": func(c byte) bool { return 'A' <= c && c <= 'Z' },
	"xdigit": func(c byte) bool {
		return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
	},
}

func setClass(s string) (class func(byte) bool, length int) {
	rest, ok := strings.CutPrefix(s, "[:")
	if !ok {
		return nil, 0
	}
	name, _, ok := strings.Cut(rest, ":]")
	if class = setClasses[name]; !ok || class == nil {
		return nil, 0
	}
	return class, len("[:") + len(name) + len(":]")
}

package section

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// read takes the keys of a mapping that the section does not have yet. The node is
// resolved.
func (s *Section) read(node *yaml.Node, keys Keys) {
	if empty(node) {
		return
	}
	if s.line == 0 {
		s.line = node.Line
	}
	if node.Kind != yaml.MappingNode {
		s.unread = true
		s.problem(node.Line, s.name, expected(Kind(node), "keys and values"))
		return
	}
	var merged []*yaml.Node
	here := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, val := node.Content[i], resolve(node.Content[i+1])
		if key.Tag == "!!merge" {
			if val.Kind == yaml.SequenceNode {
				merged = append(merged, val.Content...)
			} else {
				merged = append(merged, val)
			}
			continue
		}
		to, known := keys[key.Value]
		if !known {
			s.unknown(key, keys)
			continue
		}
		if here[key.Value] {
			s.problem(key.Line, s.path(key.Value), "the key is there twice; keep one")
			continue
		}
		here[key.Value] = true
		if _, said := s.values[key.Value]; said {
			continue // by the mapping that merges this one
		}
		s.values[key.Value] = value{key.Line, val}
		if !empty(val) {
			s.decode(key.Value, val, to)
		}
	}
	for _, m := range merged {
		*s.merges++
		if *s.merges > maxMerges {
			if *s.merges == maxMerges+1 {
				s.problem(node.Line, s.name, fmt.Sprintf("merges more than %d mappings; write them out", maxMerges))
			}
			return
		}
		s.read(resolve(m), keys)
	}
}

func (s *Section) unknown(key *yaml.Node, keys Keys) {
	text := "unknown key (" + Kind(key) + ")"
	if key.Kind == yaml.ScalarNode && IsWord(key.Value) {
		text = fmt.Sprintf("unknown key %q", key.Value)
	}
	names := slices.Sorted(maps.Keys(keys))
	near := Nearest(key.Value, names)
	switch {
	case len(names) == 0:
		text += "; the section has no keys"
	case near != "":
		s.meant[near] = true
		text += "; did you mean " + near + "?"
	default:
		text += "; known are " + strings.Join(names, ", ")
	}
	s.problem(key.Line, s.name, text)
}

// decode puts the content of a node into its place, or reports why it cannot.
func (s *Section) decode(key string, node *yaml.Node, to any) {
	unreadable := func(found, want string) {
		s.problem(node.Line, s.path(key), expected(found, want))
		s.wrong[s.path(key)] = true
	}
	want := func(what string) { unreadable(Kind(node), what) }
	switch to := to.(type) {
	case undecoded:
		if to == List && node.Kind != yaml.SequenceNode {
			want("a list")
		}
	case *string:
		if node.Kind != yaml.ScalarNode {
			want("a text")
			return
		}
		*to = node.Value
	case *bool:
		if node.Kind != yaml.ScalarNode || node.Decode(to) != nil {
			want("true or false")
		}
	case *int:
		// yaml.v3 cuts 1.5 down to 1.
		if node.Kind != yaml.ScalarNode || node.Tag != "!!int" || node.Decode(to) != nil {
			want("a whole number")
		}
	case *float64:
		if node.Kind != yaml.ScalarNode || node.Decode(to) != nil {
			want("a number")
		}
	case Duration:
		v, err := time.ParseDuration(node.Value) // takes a bare 0
		switch {
		case node.Kind != yaml.ScalarNode || err != nil:
			want("a duration with its unit, such as 30s or 1m30s")
		case v < 0, v == 0 && !to.OrZero:
			unreadable(v.String(), "a longer duration, such as 30s")
		default:
			*to.To = v
		}
	case *[]string:
		if node.Kind != yaml.SequenceNode {
			want("a list")
			return
		}
		*to = []string{}
		for i, item := range node.Content {
			text, ok := scalar(resolve(item))
			if !ok {
				s.RefuseItem(key, i, "", "a text")
				s.wrong[s.numbered(key, i)] = true
			}
			*to = append(*to, text)
		}
	case *map[string]string:
		s.decodeMap(key, node, to)
	default:
		panic(fmt.Sprintf("section key with a place of type %T", to))
	}
}

func (s *Section) decodeMap(key string, node *yaml.Node, to *map[string]string) {
	if node.Kind != yaml.MappingNode {
		s.problem(node.Line, s.path(key), expected(Kind(node), "keys and values"))
		s.wrong[s.path(key)] = true
		return
	}
	*to = map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, val := node.Content[i], resolve(node.Content[i+1])
		if name.Kind != yaml.ScalarNode {
			s.problem(name.Line, s.path(key), expected(Kind(name)+" as a key", "a text"))
			continue
		}
		if _, twice := (*to)[name.Value]; twice {
			s.problem(name.Line, s.path(key), "a key of this line is there twice; keep one")
			continue
		}
		text, ok := scalar(val)
		if !ok {
			s.problem(val.Line, s.path(key), expected(Kind(val)+" as a value", "a text"))
		}
		(*to)[name.Value] = text
	}
}

// scalar returns a text; null is the empty one.
func scalar(node *yaml.Node) (string, bool) {
	if empty(node) {
		return "", true
	}
	return node.Value, node.Kind == yaml.ScalarNode
}

// resolve follows aliases and takes the content of a document.
func resolve(node *yaml.Node) *yaml.Node {
	for node != nil {
		switch {
		case node.Kind == yaml.AliasNode:
			node = node.Alias
		case node.Kind == yaml.DocumentNode && len(node.Content) == 1:
			node = node.Content[0]
		default:
			return node
		}
	}
	return nil
}

func empty(node *yaml.Node) bool {
	return node == nil || node.Kind == 0 || node.Kind == yaml.ScalarNode && (node.Tag == "!!null" || node.Value == "")
}

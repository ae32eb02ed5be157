package providers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Keys are the keys of a provider's section, each with where its value goes: a
// *string, a *[]string or a *map[string]string.
type Keys map[string]any

// DecodeSection reads a provider's section of the configuration. A section, key
// or value without content leaves the default. It reports all that is wrong:
// each error names line, section and key, and never shows a value.
func DecodeSection(name string, node *yaml.Node, keys Keys) error {
	return decodeSection(name, node, keys, maxMerges)
}

// maxMerges is how deep merges may go; YAML lets a mapping merge itself.
const maxMerges = 8

func decodeSection(name string, node *yaml.Node, keys Keys, depth int) error {
	node = resolve(node)
	if empty(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s: want keys and values, got %s", node.Line, name, kindName(node))
	}
	var errs []error
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		if key.Tag == "!!merge" {
			if depth == 0 {
				return fmt.Errorf("line %d: %s: merges too deep", key.Line, name)
			}
			continue
		}
		to, known := keys[key.Value]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("line %d: %s: unknown key %q, known are %s", key.Line, name, key.Value,
				strings.Join(slices.Sorted(maps.Keys(keys)), ", ")))
			continue
		case seen[key.Value]:
			errs = append(errs, fmt.Errorf("line %d: %s: key %q is there twice", key.Line, name, key.Value))
			continue
		}
		seen[key.Value] = true
		if err := decodeValue(value, to); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s.%s: %w", value.Line, name, key.Value, err))
		}
	}
	return errors.Join(append(errs, mergeSections(name, node, keys, seen, depth-1)...)...)
}

// mergeSections takes from merged mappings (YAML's "<<") what the section itself
// does not say.
func mergeSections(name string, node *yaml.Node, keys Keys, seen map[string]bool, depth int) []error {
	rest := maps.Clone(keys)
	for key := range seen {
		rest[key] = ignored(keys[key])
	}
	var errs []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Tag != "!!merge" {
			continue
		}
		merged := []*yaml.Node{resolve(node.Content[i+1])}
		if merged[0].Kind == yaml.SequenceNode {
			// The first has precedence, so it comes last.
			merged = slices.Clone(merged[0].Content)
			slices.Reverse(merged)
		}
		for _, m := range merged {
			errs = append(errs, decodeSection(name, m, rest, depth))
		}
	}
	return errs
}

// ignored returns a place of the same type that nobody reads.
func ignored(to any) any {
	switch to.(type) {
	case *string:
		return new(string)
	case *[]string:
		return new([]string)
	}
	return new(map[string]string)
}

func decodeValue(value *yaml.Node, to any) error {
	if empty(value) {
		return nil
	}
	switch to := to.(type) {
	case *string:
		if value.Kind != yaml.ScalarNode {
			return fmt.Errorf("want a text, got %s", kindName(value))
		}
		*to = value.Value
	case *[]string:
		if value.Kind != yaml.SequenceNode {
			return fmt.Errorf("want a list, got %s", kindName(value))
		}
		*to = make([]string, len(value.Content))
		for i, item := range value.Content {
			if err := decodeValue(resolve(item), &(*to)[i]); err != nil {
				return err
			}
		}
	case *map[string]string:
		if value.Kind != yaml.MappingNode {
			return fmt.Errorf("want keys and values, got %s", kindName(value))
		}
		*to = map[string]string{}
		for i := 0; i+1 < len(value.Content); i += 2 {
			key := value.Content[i].Value
			if _, twice := (*to)[key]; twice {
				return fmt.Errorf("key %q is there twice", key)
			}
			var text string
			if err := decodeValue(resolve(value.Content[i+1]), &text); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			(*to)[key] = text
		}
	default:
		panic(fmt.Sprintf("section key of type %T", to))
	}
	return nil
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

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys and values"
	}
	return "a text"
}

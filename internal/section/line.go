package section

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// Line returns the line of a key of a document, such as etcd.password-file, and
// whether the document has it. Without the key it is the line of the innermost
// section of it that is there, and of the first key of the document at the least; 0
// if the document is empty.
func Line(doc *yaml.Node, key string) (line int, found bool) {
	node := resolve(doc)
	if empty(node) {
		return 0, false
	}
	line = node.Line
	for part := range strings.SplitSeq(key, ".") {
		merges := 0
		name, val := lookup(node, part, &merges)
		if name == nil {
			return line, false
		}
		if node, line = val, name.Line; node.Kind == yaml.ScalarNode && !empty(node) {
			line = node.Line // the text may stand below its key
		}
	}
	return line, true
}

// lookup returns the key and the value that a mapping has under a name, by itself or
// by a mapping that it merges.
func lookup(node *yaml.Node, name string, merges *int) (key, val *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], resolve(node.Content[i+1])
		switch {
		case v == nil:
		case k.Tag == "!!merge" && v.Kind == yaml.SequenceNode:
			merged = append(merged, v.Content...)
		case k.Tag == "!!merge":
			merged = append(merged, v)
		case k.Kind == yaml.ScalarNode && k.Value == name:
			return k, v
		}
	}
	for _, m := range merged {
		if *merges++; *merges > maxMerges {
			break
		}
		if m = resolve(m); m != nil {
			if k, v := lookup(m, name, merges); k != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

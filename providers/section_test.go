package providers_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"berth/providers"
)

type section struct {
	Name  string
	Peers []string
	Hosts map[string]string
}

func decode(text string) (section, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return section{}, err
	}
	var node *yaml.Node
	if doc.Kind != 0 {
		node = doc.Content[0]
	}
	// As the configuration has it: the section is a value of the document.
	if node != nil && node.Kind == yaml.MappingNode {
		for i := 0; i < len(node.Content); i += 2 {
			if node.Content[i].Value == "sect" {
				node = node.Content[i+1]
				break
			}
		}
	}
	s := section{Name: "default"}
	err := providers.DecodeSection("sect", node, providers.Keys{"name": &s.Name, "peers": &s.Peers, "hosts": &s.Hosts})
	return s, err
}

func TestDecodeSection(t *testing.T) {
	def := section{Name: "default"}
	tests := []struct {
		name, text string
		want       section
		wantErr    string // all of it
	}{
		{"absent", "", def, ""},
		{"null", "sect:", def, ""},
		{"empty", "sect: {}", def, ""},
		{"empty text", `sect: ""`, def, ""},
		{"null and empty values", "sect: {name: , peers: null, hosts: ~}", def, ""},
		{"empty values of each type", `sect: {name: "", peers: [], hosts: {}}`, section{Name: "default", Peers: []string{}, Hosts: map[string]string{}}, ""},
		{"all keys", "sect:\n  name: x\n  peers: [a, b]\n  hosts: {h: 1, i: }", section{"x", []string{"a", "b"}, map[string]string{"h": "1", "i": ""}}, ""},
		{"a number is a text", "sect: {name: 0123}", section{Name: "0123"}, ""},
		{"alias", "x: &x {name: a}\nsect: *x", section{Name: "a"}, ""},
		{"merge gives what the section does not say", "x: &x {name: a, peers: [p]}\nsect:\n  <<: *x\n  name: b", section{Name: "b", Peers: []string{"p"}}, ""},
		{"of two merges the first counts", "x: &x {name: a}\ny: &y {name: b, peers: [q]}\nsect:\n  <<: [*x, *y]", section{Name: "a", Peers: []string{"q"}}, ""},
		{"unknown key", "sect:\n  name: x\n  nam: y", section{Name: "x"}, `line 3: sect: unknown key "nam", known are hosts, name, peers`},
		{"unknown key in a merge", "x: &x {nam: a}\nsect:\n  <<: *x", def, `line 1: sect: unknown key "nam", known are hosts, name, peers`},
		{"every problem at once", "sect:\n  nam: x\n  name: [secret]\n  peers: secret", def,
			"line 2: sect: unknown key \"nam\", known are hosts, name, peers\nline 3: sect.name: want a text, got a list\nline 4: sect.peers: want a list, got a text"},
		{"map is a text", "sect:\n  hosts: secret", def, "line 2: sect.hosts: want keys and values, got a text"},
		{"map has a list", "sect:\n  hosts: {h: [secret]}", section{Name: "default", Hosts: map[string]string{}}, "line 2: sect.hosts: h: want a text, got a list"},
		{"merge of itself", "sect: &s\n  <<: *s", def, "line 2: sect: merges too deep"},
		{"section is a text", "sect: secret", def, "line 1: sect: want keys and values, got a text"},
		{"section is a list", "sect: [secret]", def, "line 1: sect: want keys and values, got a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("want-, got+:\n%s", d)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.wantErr {
				t.Errorf("error: want %q, got %q", tt.wantErr, text)
			}
		})
	}
}

func TestKeyThatIsThereTwiceIsAnError(t *testing.T) {
	// The YAML library refuses this in a whole document already.
	key := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: 3} }
	node := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key("name"), key("a"), key("name"), key("b")}}
	var name string
	err := providers.DecodeSection("sect", node, providers.Keys{"name": &name})
	if err == nil || err.Error() != `line 3: sect: key "name" is there twice` || name != "a" {
		t.Errorf("want the first value and an error, got %q, %v", name, err)
	}
}

func FuzzDecodeSection(f *testing.F) {
	f.Add("sect: {name: x, peers: [a], hosts: {h: i}}")
	f.Add("x: &x {name: a}\nsect:\n  <<: [*x, *x]\n  nam: y")
	f.Add("sect: &a\n  <<: *a")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := decode(text); err == nil && len(s.Name) > len(text)+len("default") {
			t.Errorf("name is longer than what was read: %q", s.Name)
		}
	})
}

package section_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"berth/internal/section"
)

type places struct {
	Name  string
	On    bool
	Count int
	Part  float64
	Wait  time.Duration
	Peers []string
	Hosts map[string]string
	Below string
	Items []string
}

// read reads the section sect of a document.
func read(text string) (places, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return places{}, err
	}
	s, err := readDocument(&doc)
	return s, err
}

func readDocument(doc *yaml.Node) (places, error) {
	p := places{Name: "default", Wait: time.Second}
	top := section.Read("", doc, section.Keys{"sect": section.Any, "x": section.Any, "y": section.Any})
	s := top.Sub("sect", section.Keys{"name": &p.Name, "on": &p.On, "count": &p.Count, "part": &p.Part,
		"wait": section.Duration{To: &p.Wait}, "peers": &p.Peers, "hosts": &p.Hosts, "below": section.Any, "items": section.List})
	s.Sub("below", section.Keys{"name": &p.Below})
	for i := range s.Len("items") {
		var name string
		s.Item("items", i, section.Keys{"name": &name})
		p.Items = append(p.Items, name)
	}
	return p, top.Err()
}

func TestRead(t *testing.T) {
	def := places{Name: "default", Wait: time.Second}
	with := func(change func(*places)) places {
		p := def
		change(&p)
		return p
	}
	const known = "below, count, hosts, items, name, on, part, peers, wait"
	tests := []struct {
		name, text string
		want       places
		wantErr    string // all of it
	}{
		{"absent", "", def, ""},
		{"null", "sect:", def, ""},
		{"empty", "sect: {}", def, ""},
		{"empty text", `sect: ""`, def, ""},
		{"null and empty values", "sect: {name: , peers: null, hosts: ~, on: , count: '', part: ~, wait: }", def, ""},
		{"empty values of each type", `sect: {name: "", peers: [], hosts: {}}`, with(func(p *places) { p.Peers, p.Hosts = []string{}, map[string]string{} }), ""},
		{"all keys", "sect:\n  name: x\n  on: yes\n  count: 0x10\n  part: 1e1\n  wait: 1m30s\n  peers: [a, b]\n  hosts: {h: 1, i: }\n  below: {name: y}\n  items: [{name: z}]",
			places{"x", true, 16, 10, 90 * time.Second, []string{"a", "b"}, map[string]string{"h": "1", "i": ""}, "y", []string{"z"}}, ""},
		{"a number is a text", "sect: {name: 0123}", with(func(p *places) { p.Name = "0123" }), ""},
		{"alias", "x: &x {name: a}\nsect: *x", with(func(p *places) { p.Name = "a" }), ""},
		{"merge gives what the section does not say", "x: &x {name: a, peers: [p]}\nsect:\n  <<: *x\n  name: b", with(func(p *places) { p.Name, p.Peers = "b", []string{"p"} }), ""},
		{"of two merges the first counts", "x: &x {name: a}\ny: &y {name: b, peers: [q]}\nsect:\n  <<: [*x, *y]", with(func(p *places) { p.Name, p.Peers = "a", []string{"q"} }), ""},
		{"misspelt key", "sect:\n  name: x\n  nam: y", with(func(p *places) { p.Name = "x" }), `line 3: sect: unknown key "nam"; did you mean name?`},
		{"unknown key in a merge", "x: &x {other: a}\nsect:\n  <<: *x", def, `line 1: sect: unknown key "other"; known are ` + known},
		{"unknown key that may be a secret", "sect:\n  5up3rS3cretT0ken: x", def, `line 2: sect: unknown key (a text of 16 characters); known are ` + known},
		{"key that is a list", "sect:\n  ? [a]\n  : x", def, `line 2: sect: unknown key (a list); known are ` + known},
		{"key that is there twice", "sect: {name: a, name: b}", with(func(p *places) { p.Name = "a" }), "line 1: sect.name: the key is there twice; keep one"},
		{"every problem at once", "sect:\n  nam: x\n  name: [secret]\n  peers: secret\n  wait: 5\n  on: secret\n  count: 1.5\n  part: secret", def,
			"line 2: sect: unknown key \"nam\"; did you mean name?\n" +
				"line 3: sect.name: found a list; write a text\n" +
				"line 4: sect.peers: found a text of 6 characters; write a list\n" +
				"line 5: sect.wait: found a number; write a duration with its unit, such as 30s or 1m30s\n" +
				"line 6: sect.on: found a text of 6 characters; write true or false\n" +
				"line 7: sect.count: found a number; write a whole number\n" +
				"line 8: sect.part: found a text of 6 characters; write a number"},
		{"list of lists", "sect:\n  peers: [a, [secret]]", with(func(p *places) { p.Peers = []string{"a", ""} }), "line 2: sect.peers, number 2: found a list; write a text"},
		{"map is a text", "sect:\n  hosts: secret", def, "line 2: sect.hosts: found a text of 6 characters; write keys and values"},
		{"map has a list", "sect:\n  hosts: {secret: [secret]}", with(func(p *places) { p.Hosts = map[string]string{"secret": ""} }), "line 2: sect.hosts: found a list as a value; write a text"},
		{"map has a key twice", "sect:\n  hosts: {secret: a, secret: b}", with(func(p *places) { p.Hosts = map[string]string{"secret": "a"} }), "line 2: sect.hosts: a key of this line is there twice; keep one"},
		{"section below is a text", "sect: {below: secret}", def, "line 1: sect.below: found a text of 6 characters; write keys and values"},
		{"item is a text", "sect: {items: [secret]}", with(func(p *places) { p.Items = []string{""} }), "line 1: sect.items, number 1: found a text of 6 characters; write keys and values"},
		{"item has a wrong value", "sect: {items: [{}, {name: [secret]}]}", with(func(p *places) { p.Items = []string{"", ""} }), "line 1: sect.items, number 2, name: found a list; write a text"},
		{"merge of itself", "sect: &s\n  <<: *s", def, "line 1: sect: merges more than 64 mappings; write them out"},
		{"section is a text", "sect: secret", def, "line 1: sect: found a text of 6 characters; write keys and values"},
		{"section is a list", "sect: [secret]", def, "line 1: sect: found a list; write keys and values"},
		{"document is a list", "[secret]", def, "line 1: found a list; write keys and values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.text)
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

func TestWordsThatMessagesMayRepeat(t *testing.T) {
	for text, want := range map[string]bool{
		"lock-timout":                          true,
		"Refresh_Interval":                     true,
		"refreshInterval":                      true,
		"endpoint1":                            true,
		"etcd.endpoints":                       true,
		"":                                     false,
		"hunter2hunter":                        false,
		"S3CRET":                               false,
		"aBcDeFgHiJ":                           false,
		"correcthorsebatterystaplesandmore":    false, // longer than a key
		"a b":                                  false,
		"11111111-1111-4111-8111-111111111111": false,
		"user:password":                        false,
	} {
		if got := section.IsWord(text); got != want {
			t.Errorf("%q: word %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		"/run/berth":                           true,
		"./x y":                                true,
		"../S3CRET":                            true,
		"keepalived.conf":                      true,
		"conf.d/berth-%s.lock":                 true,
		"":                                     false,
		"S3CRET-T0KEN":                         false,
		"https://u:p@h/":                       false,
		"11111111-1111-4111-8111-111111111111": false,
	} {
		if got := section.IsPath(text); got != want {
			t.Errorf("%q: path %v, want %v", text, got, want)
		}
	}
}

func TestNearestWord(t *testing.T) {
	words := []string{"refresh-interval", "refresh-timeout", "url"}
	for text, want := range map[string]string{
		"refresh-intervall": "refresh-interval",
		"REFRESH_TIMEOUT":   "refresh-timeout",
		"timeout":           "",
		"uri":               "url",
		"x":                 "",
		"":                  "",
	} {
		if got := section.Nearest(text, words); got != want {
			t.Errorf("%q: nearest %q, want %q", text, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("sect: {name: x, peers: [a], hosts: {h: i}}")
	f.Add("x: &x {name: a}\nsect:\n  <<: [*x, *x]\n  nam: y")
	f.Add("sect: &a\n  <<: *a")
	f.Add("sect: {items: &i [*i, {name: [*i]}], wait: 1h, below: {name: 5}}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := read(text)
		if err == nil && len(p.Name) > len(text)+len("default") {
			t.Errorf("name is longer than what was read: %q", p.Name)
		}
		if _, ok := errors.AsType[*section.Problem](err); err != nil && !ok {
			var doc yaml.Node
			if yaml.Unmarshal([]byte(text), &doc) == nil {
				t.Errorf("want problems, got %v", err)
			}
		}
	})
}

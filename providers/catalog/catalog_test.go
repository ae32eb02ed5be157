package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/providers/catalog"
)

func TestErrorForAnUnknownProviderListsThoseThatAreKnown(t *testing.T) {
	_, err := catalog.Providers.Entry("claudscale")
	want := "unknown provider; known are " + strings.Join(catalog.Providers.Names(), ", ")
	if err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
}

func TestEachProviderIsComplete(t *testing.T) {
	codes := map[string]bool{}
	for _, name := range catalog.Providers.Names() {
		e, err := catalog.Providers.Entry(name)
		if err != nil || e.Check == nil || e.New == nil {
			t.Errorf("%s: incomplete: %v", name, err)
			continue
		}
		if err := e.Check(nil); err != nil {
			t.Errorf("%s: without a section: %v", name, err)
		}
		for _, k := range e.Events {
			if codes[k.Code] || k.Code == "" || k.Text == "" {
				t.Errorf("%s: event without text, or with the code of another: %+v", name, k)
			}
			codes[k.Code] = true
		}
	}
}

// floatysExample has the provider sections of floaty's documented example.
const floatysExample = `
cloudscale:
  token: HELPIMTRAPPEDINATOKENGENERATOR
  hostname-to-server-uuid:
    lb1.example.net: 96defb88-002c-4985-b795-5c929bab23da
    lb2.example.net: 7d37a073-e84c-4fc6-b631-cc2e29d9d4ea
exoscale:
  key: EXOLICIOUS
  secret: NomNomNom
`

func TestSectionsOfAnotherProviderAreCheckedToo(t *testing.T) {
	check := func(text string) error {
		var sections map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(text), &sections); err != nil {
			t.Fatal(err)
		}
		var errs []error
		for name, node := range sections {
			e, err := catalog.Providers.Entry(name)
			if err == nil {
				err = e.Check(&node)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	if err := check(floatysExample); err != nil {
		t.Errorf("floaty's example: %v", err)
	}
	full := `exoscale: {endpoint: "https://x/v2", zone: ch-gva-2, key: k, key-file: f, secret: s, secret-file: f, ca-file: c,
  instance-id: 11111111-1111-4111-8111-111111111111, peers: [22222222-2222-4222-8222-222222222222]}`
	if err := check(full); err != nil {
		t.Errorf("all keys of exoscale: %v", err)
	}
	for text, want := range map[string]string{
		"exoscale:\n  secrt: x":   `line 2: exoscale: unknown key "secrt"`,
		"cloudscale:\n  tokn: x":  `line 2: cloudscale: unknown key "tokn"`,
		"exoscale:\n  peers: one": "line 2: exoscale.peers: found a text of 3 characters; write a list",
	} {
		if err := check(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

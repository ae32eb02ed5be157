package none_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/providers"
	"berth/providers/none"
)

func TestThereIsNothingToDo(t *testing.T) {
	p, err := none.Entry.New(providers.Deps{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("192.0.2.10")
	got, err := p.Observe(t.Context(), []netip.Addr{a})
	if err != nil || got[a].Kind != providers.Mine {
		t.Errorf("want mine, got %+v, %v", got, err)
	}
	fenced := errors.New("fenced")
	if err := p.Claim(t.Context(), a, func(context.Context) error { return fenced }); err != fenced {
		t.Errorf("want the permit's own error, got %v", err)
	}
	if got, err := p.Self(t.Context()); err != nil || got.ID == "" {
		t.Errorf("want an id for people, got %+v, %v", got, err)
	}
}

func TestSectionHasNoKeys(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("token: x"), &doc); err != nil {
		t.Fatal(err)
	}
	if err := none.Entry.Check(&doc); err == nil {
		t.Error("want the key refused, got no error")
	}
}

package cluster_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"berth/internal/cluster"

	"github.com/google/go-cmp/cmp"
)

// testdata/view.json is what the tests of page and client show. It has exactly the fields
// of a View.
func TestTheExampleOfAViewHasTheFieldsOfAView(t *testing.T) {
	text, err := os.ReadFile("testdata/view.json")
	if err != nil {
		t.Fatal(err)
	}
	var v cluster.View
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the file (-) and what a View makes of it (+):\n%s", d)
	}
}

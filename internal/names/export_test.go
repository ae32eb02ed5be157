package names

import (
	"encoding/json"
	"testing"
)

// CheckFile reads a file's text: what is accepted can be written and is accepted
// again.
func CheckFile(t *testing.T, text []byte) {
	f, err := parse(text)
	if err != nil {
		return
	}
	again, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(again); err != nil {
		t.Errorf("want %s to be read again: %v", again, err)
	}
}

package main

import (
	"os"
	"regexp"
	"testing"

	"berth/config"
)

// The configurations of berth in docs/migrating.md are complete.
func TestConfigurationsForUsersOfOtherProgramsAreComplete(t *testing.T) {
	text, err := os.ReadFile("docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Error("docs/migrating.md has no configuration")
	}
	for _, m := range blocks {
		if _, err := config.Parse(m[1], "docs/migrating.md", config.Options{}); err != nil {
			t.Errorf("%v, in\n%s", err, m[1])
		}
	}
}

package main

import (
	"strings"
	"testing"
)

// The page stands alone, and shows an error's text as text.
func TestPage(t *testing.T) {
	var page strings.Builder
	if err := pageTemplate.Execute(&page, report{
		Failure: "got <html>",
		Steps:   []stepRow{{Number: 1, Title: "start"}},
		Bands:   []band{{W: 10, Number: 1, Class: "odd"}},
		Ticks:   []tick{{Label: "0 s"}},
		Rows:    []row{{Label: "host1", Head: "CALLS", Bars: []bar{{W: 1, Class: "host1", Title: "call"}}}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "got &lt;html&gt;", "<title>call</title>"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("want %s in the page, got none", want)
		}
	}
	for _, no := range []string{"http:", "https:", "<script", "@import", "url("} {
		if strings.Contains(page.String(), no) {
			t.Errorf("want nothing loaded from elsewhere, got %s", no)
		}
	}
}

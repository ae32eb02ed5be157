package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"berth/api"
)

func TestPageIsServedUnderAStrictPolicy(t *testing.T) {
	o, _, _ := newWorld().options(t)
	got := send(api.New(o).Handler(), "GET", "/", "")
	text, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	if got.Code != 200 || got.Body.String() != string(text) {
		t.Fatalf("want the page, got status %d and %d bytes", got.Code, got.Body.Len())
	}
	hash := func(element string) string {
		all := regexp.MustCompile(`(?s)<`+element+`\b([^>]*)>(.*?)</`+element+`>`).FindAllSubmatch(text, -1)
		if len(all) != 1 || len(all[0][1]) != 0 {
			t.Fatalf("want one %s without attributes, got %d", element, len(all))
		}
		sum := sha256.Sum256(all[0][2])
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src " + hash("script") + "; style-src " + hash("style") +
			"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if is := got.Header().Get(name); is != want {
			t.Errorf("want the header %s: %s, got %q", name, want, is)
		}
	}
	for method, want := range map[string]int{"HEAD": 200, "POST": 405} {
		if got := send(api.New(o).Handler(), method, "/", ""); got.Code != want {
			t.Errorf("%s: want status %d, got %d", method, want, got.Code)
		}
	}
}

// The policy would stop each of these, and the page would not work.
func TestPageHasNothingThatThePolicyStops(t *testing.T) {
	text, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	markup := regexp.MustCompile(`(?s)<(script|style)>.*?</(script|style)>|<!--.*?-->`).ReplaceAllString(page, "")
	for what, found := range map[string]*regexp.Regexp{
		"a style attribute":  regexp.MustCompile(`(?i)<[^>]*\sstyle\s*=`),
		"a handler":          regexp.MustCompile(`(?i)<[^>]*\son[a-z]+\s*=`),
		"a foreign resource": regexp.MustCompile(`(?i)\s(src|href|action|srcset|poster|data)\s*=\s*["']?(?:[a-z][a-z0-9+.-]*:)?//`),
		"an element that loads or sends something": regexp.MustCompile(`(?i)<(img|iframe|object|embed|form|base|video|audio|source|meta http-equiv)\b`),
	} {
		if got := found.FindString(markup); got != "" {
			t.Errorf("the markup has %s: %s", what, got)
		}
	}
	for what, found := range map[string]*regexp.Regexp{
		"markup from a text":      regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML`),
		"a script from a text":    regexp.MustCompile(`\beval\(|new Function|setTimeout\("|javascript:`),
		"a resource of the style": regexp.MustCompile(`@import|\burl\(`),
		"an address of elsewhere": regexp.MustCompile(`(fetch|EventSource)\(["'](/|[a-z]+:)`),
	} {
		if got := found.FindString(page); got != "" {
			t.Errorf("the page makes %s: %s", what, got)
		}
	}
	if n := strings.Count(page, "\n"); n > 1200 {
		t.Errorf("the page has %d lines", n)
	}
}

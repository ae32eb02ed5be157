package api

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// pageHTML is the status page: one file with its style, its script and its icon.
//
//go:embed page.html
var pageHTML string

// page answers with the status page, under a policy that lets nothing apply but the one
// style and the one script of the file, by their hashes. The page fetches from this
// server alone, no other page frames it, and its script cannot make markup from text
// (W3C Content Security Policy Level 3; Trusted Types).
func page() http.Handler {
	policy := strings.Join([]string{
		"default-src 'none'",
		"script-src " + hashOf(pageHTML, "script"),
		"style-src " + hashOf(pageHTML, "style"),
		"connect-src 'self'",
		"img-src data:", // the icon
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(pageHTML)))
		_, _ = io.WriteString(w, pageHTML) // a client that has gone needs no answer
	})
}

// hashOf returns the source expression of CSP for the first element of that name in the
// page: the hash of the text between its tags.
func hashOf(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

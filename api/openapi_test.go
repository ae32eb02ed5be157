package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/api"
	"berth/election"
	"berth/ips"
)

// schema is what a value is described by (JSON Schema, as OpenAPI 3.1 uses it), as far as
// the description of this API needs it.
type schema struct {
	Ref                  string             `json:"$ref"`
	AllOf                []schema           `json:"allOf"`
	Type                 any                `json:"type"` // a text or a list of these
	Format               string             `json:"format"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties bool               `json:"additionalProperties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	Enum                 []string           `json:"enum"`
	Const                *string            `json:"const"`
}

type response struct {
	Ref         string `json:"$ref"`
	Description string `json:"description"`
	Content     map[string]struct {
		Schema *schema `json:"schema"`
	} `json:"content"`
}

type operation struct {
	Summary     string              `json:"summary"`
	OperationID string              `json:"operationId"`
	Security    *[]any              `json:"security"`
	Responses   map[string]response `json:"responses"`
	Parameters  []struct {
		Name, In string
		Required bool
	} `json:"parameters"`
}

type document struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas   map[string]*schema  `json:"schemas"`
		Responses map[string]response `json:"responses"`
	} `json:"components"`
}

func described(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("%v, version %q", err, d.OpenAPI)
	}
	return &d
}

// fits returns what is wrong with a value, "" for nothing.
func (d *document) fits(s *schema, v any, at string) string {
	if name, is := strings.CutPrefix(s.Ref, "#/components/schemas/"); is {
		if d.Components.Schemas[name] == nil {
			return "no schema " + s.Ref
		}
		return d.fits(d.Components.Schemas[name], v, at)
	}
	if len(s.AllOf) > 0 {
		return d.fits(d.joined(s), v, at)
	}
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); s.Format == "date-time" && (err != nil || !strings.HasSuffix(v, "Z")) {
			return at + " is not a time in UTC: " + v
		}
		if s.Enum != nil && !slices.Contains(s.Enum, v) || s.Const != nil && *s.Const != v {
			return at + " is not one of its words: " + v
		}
		return s.is(at, "string")
	case float64:
		return s.is(at, "integer")
	case bool:
		return s.is(at, "boolean")
	case []any:
		for i, item := range v {
			if p := d.fits(s.Items, item, fmt.Sprintf("%s[%d]", at, i)); p != "" {
				return p
			}
		}
		return s.is(at, "array")
	case map[string]any:
		for _, name := range s.Required {
			if _, there := v[name]; !there {
				return at + " has no " + name
			}
		}
		for name, inner := range v {
			p := s.Properties[name]
			if p == nil && s.Properties != nil && !s.AdditionalProperties {
				return at + " has " + name + ", which is not described"
			}
			if p != nil && !s.AdditionalProperties {
				if problem := d.fits(p, inner, at+"."+name); problem != "" {
					return problem
				}
			}
		}
		return s.is(at, "object")
	}
	return s.is(at, "null")
}

// joined returns a schema of objects with what all parts have.
func (d *document) joined(s *schema) *schema {
	all := schema{Type: "object", Properties: map[string]*schema{}}
	for _, part := range s.AllOf {
		if name, is := strings.CutPrefix(part.Ref, "#/components/schemas/"); is {
			part = *d.Components.Schemas[name]
		}
		for name, p := range part.Properties {
			all.Properties[name] = p
		}
		all.Required = append(all.Required, part.Required...)
	}
	return &all
}

func (s *schema) is(at, kind string) string {
	if list, is := s.Type.([]any); is && slices.Contains(list, any(kind)) || s.Type == kind {
		return ""
	}
	return fmt.Sprintf("%s is %s, not %v", at, kind, s.Type)
}

// The description has each route, and no other.
func TestTheDescriptionHasEachRoute(t *testing.T) {
	d := described(t)
	var want, got []string
	for path, operations := range d.Paths {
		for method, o := range operations {
			want = append(want, strings.ToUpper(method)+" "+path)
			if o.Summary == "" || o.OperationID == "" {
				t.Errorf("%s %s has no summary or no operationId", method, path)
			}
			var named []string
			for _, p := range o.Parameters {
				if (p.In != "path" || !p.Required) && (p.In != "query" || p.Required) {
					t.Errorf("%s %s: parameter %s is not one of the path, and not one that can be left out", method, path, p.Name)
				}
				if p.In == "path" {
					named = append(named, "{"+p.Name+"}")
				}
			}
			for part := range strings.SplitSeq(path, "/") {
				if strings.HasPrefix(part, "{") != slices.Contains(named, part) {
					t.Errorf("%s %s: %s is not a parameter", method, path, part)
				}
			}
			for status, r := range o.Responses {
				if name, is := strings.CutPrefix(r.Ref, "#/components/responses/"); is && d.Components.Responses[name].Description == "" || !is && r.Description == "" {
					t.Errorf("%s %s: status %s is not described", method, path, status)
				}
			}
			// Without credentials only these two.
			if public := o.Security != nil; public != (path == "/healthz" || path == "/readyz") {
				t.Errorf("%s %s: security is %v", method, path, o.Security)
			}
		}
	}
	for _, pattern := range api.Patterns() {
		got = append(got, strings.TrimSuffix(pattern, "{$}"))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("described are\n%s\nserved are\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// check compares an answer with what is described for its request.
func (d *document) check(t *testing.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	if method == "HEAD" {
		method = "GET"
	}
	for template, operations := range d.Paths {
		o, has := operations[strings.ToLower(method)]
		if !has || !matches(template, path) {
			continue
		}
		r, there := o.Responses[fmt.Sprint(w.Code)]
		if !there {
			t.Errorf("%s %s: status %d is not described", method, path, w.Code)
			return
		}
		if name, is := strings.CutPrefix(r.Ref, "#/components/responses/"); is {
			r = d.Components.Responses[name]
		}
		kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		content, there := r.Content[kind]
		if w.Body.Len() == 0 && len(r.Content) == 0 {
			return
		}
		if !there {
			t.Errorf("%s %s: status %d with content %q is not described", method, path, w.Code, kind)
			return
		}
		if kind != "application/json" {
			return
		}
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		} else if p := d.fits(content.Schema, v, "the body"); p != "" {
			t.Errorf("%s %s: status %d: %s, in %s", method, path, w.Code, p, w.Body)
		}
		return
	}
	t.Errorf("%s %s is not described", method, path)
}

// matches reports whether a path is one of a template.
func matches(template, path string) bool {
	parts, want := strings.Split(path, "/"), strings.Split(template, "/")
	return len(parts) == len(want) && !slices.ContainsFunc(want, func(w string) bool {
		part := parts[0]
		parts = parts[1:]
		return !strings.HasPrefix(w, "{") && w != part
	})
}

// Each answer of a session is as described.
func TestAnswersAreAsDescribed(t *testing.T) {
	d := described(t)
	w := newWorld()
	text, err := os.ReadFile("../internal/cluster/testdata/view.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &w.view); err != nil {
		t.Fatal(err)
	}
	o, _, _ := w.options(t)
	o.Username, o.Password = "admin", "pw"
	h := api.New(o).Handler()
	const auth = "Authorization: Basic YWRtaW46cHc="
	requests := []struct{ method, path, body string }{
		{"GET", "/ips", ""}, {"POST", "/ips", `{"ip":"192.0.2.1","checks":[{"type":"TCP","host":"h","port":80}]}`}, {"POST", "/ips", `{"ip":"192.0.2.1"}`}, {"POST", "/ips", "x"},
		{"POST", "/ips", strings.Repeat(" ", api.MaxBody+1)},
		{"GET", "/ips", ""}, {"GET", "/ips/192.0.2.1", ""}, {"GET", "/ips/192.0.2.2", ""}, {"PUT", "/ips/192.0.2.1", "{}"}, {"PUT", "/ips/192.0.2.1", `{"checks":1}`}, {"PATCH", "/ips/192.0.2.1", "{}"},
		{"POST", "/ips/192.0.2.1/lock", ""}, {"POST", "/ips/192.0.2.1/failover", ""}, {"POST", "/ips/192.0.2.9/failover", ""}, {"GET", "/version", ""},
		{"POST", "/instances/api/failover", ""}, {"POST", "/instances/nobody/failover", ""},
		{"GET", "/pool", ""}, {"POST", "/pool/ips", `{"addresses":["192.0.2.7"]}`}, {"POST", "/pool/ips", `{}`}, {"DELETE", "/pool/ips/192.0.2.7%2F32", ""}, {"DELETE", "/pool/ips/192.0.2.99", ""},
		{"PUT", "/pool/drained/lb2", ""}, {"DELETE", "/pool/drained/lb2", ""},
		{"GET", "/cluster", ""}, {"GET", "/status", ""}, {"GET", "/healthz", ""}, {"GET", "/readyz", ""}, {"GET", "/metrics", ""}, {"GET", "/openapi.json", ""}, {"HEAD", "/events", ""},
		{"DELETE", "/ips/192.0.2.1", ""},
	}
	for _, r := range requests {
		d.check(t, r.method, r.path, send(h, r.method, r.path, r.body, auth))
		d.check(t, r.method, r.path, send(h, r.method, r.path, r.body))
		d.check(t, r.method, r.path, send(h, r.method, r.path, r.body, auth, "Origin: http://evil.example"))
		d.check(t, r.method, r.path, send(h, r.method, r.path, "{}", auth, "Content-Encoding: gzip"))
	}
	if _, err := o.IPs.Add(t.Context(), ips.Spec{IP: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{election.ErrNoAnswer, &ips.ConflictError{Text: "not now"}} {
		w.err = err
		for _, r := range requests {
			d.check(t, r.method, r.path, send(h, r.method, r.path, r.body, auth))
		}
	}
	if w := send(h, "GET", "/openapi.json", "", auth); w.Body.Len() < 10000 {
		t.Errorf("got %d bytes of the description", w.Body.Len())
	}
}

package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"berth/api"
	"berth/internal/journal"
	"berth/ips"
)

// A body is read into something valid, or refused with a sentence.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"ip":"192.0.2.1/24","checks":[{"type":"TCP","host":"h","port":80}],"keepalive_interval":3,"healthcheck_interval":null}`,
		`{"ip":"2001:db8::1","healthchecks":[]}`, `{"addresses":["192.0.2.1"]}`, `[]`, `null`, ``, `{"ip":1e400}`, `{"checks":[{"port":-1}]}`, "{\"ip\":\"\xff\"}", `{"IP":"192.0.2.1","ip":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if spec, err := api.ParseSpec(text); err == nil {
			if _, err := spec.Parse(); err != nil {
				t.Errorf("%s is taken for a spec, and %v", text, err)
			}
		} else if err.Error() == "" {
			t.Error("refused without a reason")
		}
		for _, whole := range []bool{true, false} {
			change, err := api.ParseChange(text, whole)
			if err == nil && change.Valid() != nil {
				t.Errorf("%s is taken for a change", text)
			}
			if err == nil && whole && !strings.Contains(strings.ToLower(string(text)), "healthchecks") && !strings.Contains(string(text), `\`) && (change.Checks == nil || change.KeepaliveInterval == nil || change.HealthcheckInterval == nil) {
				t.Errorf("%s leaves something as it was", text)
			}
		}
		if all, err := api.ParseAddresses(text); err == nil && len(all) == 0 {
			t.Errorf("%s is taken for addresses", text)
		}
	})
}

// The answer is an address, or that there is none, for all ends of a path.
func FuzzID(f *testing.F) {
	for _, seed := range []string{"vip-192.0.2.1", "192.0.2.1", "192.0.2.1/24", "vip-2001:db8::1", "..", ".", "", "%", "vip-vip-192.0.2.1", "::ffff:192.0.2.1", "a/b", "\x00"} {
		f.Add(seed)
	}
	w := newWorld()
	w.ips["vip-192.0.2.1"] = ips.Address{ID: "vip-192.0.2.1", IP: "192.0.2.1/32"}
	o := api.Options{Listen: "127.0.0.1:0", IPs: service{w}, Meters: api.NewMetrics(nil), Metrics: http.NotFoundHandler(), Journal: journal.New(nil)}
	h := api.New(o).Handler()
	f.Fuzz(func(t *testing.T, id string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = "localhost"
		r.URL = &url.URL{Path: "/ips/" + id, RawPath: "/ips/" + url.PathEscape(id)}
		got := httptest.NewRecorder()
		h.ServeHTTP(got, r)
		_, err := ips.ParseID(id)
		switch {
		case id == "" || id == ".": // the list
		case got.Code == 200 && err != nil && id != "..":
			t.Errorf("%q: got %s", id, got.Body)
		case got.Code != 200 && got.Code != 404:
			t.Errorf("%q: got %d %s", id, got.Code, got.Body)
		case got.Code == 404 && !errors.Is(err, ips.ErrUnknown) && id != ".." && err != nil:
			t.Errorf("%q: got 404, and %v", id, err)
		}
	})
}

// A Host is one of this server only if it is an address or a name of this server, and an
// Origin is the same only if its host is that of the request.
func FuzzHostAndOrigin(f *testing.F) {
	for _, seed := range [][2]string{{"localhost:1313", "http://localhost:1313"}, {"[::1]", "null"}, {"LB.example.com.", "https://lb.example.com"}, {"evil.example", "http://evil.example"},
		{"localhost", "http://localhost@evil.example"}, {"127.0.0.1", "http://127.0.0.1:80"}, {"[::1]:x", "://"}, {"", ""}, {"a:b:c", "file:///etc"}} {
		f.Add(seed[0], seed[1])
	}
	o := api.Options{Listen: "127.0.0.1:1313", ServerNames: []string{"lb.example.com"}}
	f.Fuzz(func(t *testing.T, host, origin string) {
		name, port, ok := api.SplitHost(host)
		if api.Own(o, host) && host != "" {
			if _, err := netip.ParseAddr(name); !ok || err != nil && !api.Own(o, name) {
				t.Errorf("%q is taken for this server", host)
			}
			if strings.Trim(port, "0123456789") != "" {
				t.Errorf("%q has the port %q", host, port)
			}
		}
		r := httptest.NewRequest("POST", "/ips", nil)
		r.Host = host
		r.Header.Set("Origin", origin)
		if !api.SameOrigin(r) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil {
			t.Fatalf("%q is taken for %q", origin, host)
		}
		if other, _, ok := api.SplitHost(u.Host); !ok || other != name {
			t.Errorf("%q is taken for %q", origin, host)
		}
	})
}

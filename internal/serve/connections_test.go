package serve

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request that comes while the server ends was not carried out, and no answer may say
// otherwise.
func TestARequestAfterTheEndGetsNoAnswer(t *testing.T) {
	c := connections{max: maxConnections, active: map[net.Conn]bool{}}
	s := httptest.NewServer(c.handler(hello))
	defer s.Close()
	c.end()
	if resp, err := http.Post(s.URL, "", strings.NewReader("x")); err == nil {
		resp.Body.Close()
		t.Errorf("want no answer, got %s", resp.Status)
	}
}

// The handler has the checks, so that nothing is answered without it.
func TestEveryRequestIsForTheHandler(t *testing.T) {
	address := listening(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = "*"
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTeapot {
		t.Errorf("OPTIONS *: want the handler's answer, got %s", resp.Status)
	}
}

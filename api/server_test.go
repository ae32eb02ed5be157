package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/api"
	"berth/ips"
)

// get returns the body of an answer of a server, over a connection of its own.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// A change of the configuration with the same address keeps the listener, and the
// connections.
func TestAReloadKeepsTheListener(t *testing.T) {
	w := newWorld()
	o, _, lines := w.options(t)
	s := api.New(o)
	defer running(t, s)()
	address := <-w.listens
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := range 5 {
		o.Version = fmt.Sprint(i)
		s.Change(o)
		if _, err := fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != fmt.Sprintf("{\"version\":%q}\n", o.Version) {
			t.Errorf("got %s, %v", text, err)
		}
	}
	o.Username, o.Password = "u", "p"
	s.Change(o) // the listener may be reached from elsewhere now, so that it is another one
	next := <-w.listens
	if status, _ := get(t, "http://"+next+"/version"); status != 401 {
		t.Errorf("want the new credentials asked for, got %d", status)
	}
	if n := lines.FilterField(zapCode("api-open")).Len(); n != 1 {
		t.Errorf("want one warning about missing credentials, got %d", n)
	}
	o.Listen = ""
	s.Change(o)
	for status := 200; status != 0; { // until it is gone
		status, _ = get(t, "http://"+next+"/healthz")
	}
}

// An address that another program has is a condition, and is tried again.
func TestAnAddressInUseIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := newWorld()
	o, _, lines := w.options(t)
	o.Listen = l.Addr().String()
	s := api.New(o)
	stop := running(t, s)
	w.await(t, "api-unservable")
	if n := lines.FilterField(zapCode("api-unservable")).Len(); n != 1 {
		t.Errorf("want one warning, got %d", n)
	}
	o.Listen = "127.0.0.1:0"
	s.Change(o)
	if status, _ := get(t, "http://"+<-w.listens+"/healthz"); status != 200 {
		t.Errorf("elsewhere: got %d", status)
	}
	stop()
}

// Without credentials the server refuses to listen where other hosts reach it, whatever
// the name in api.listen has become.
func TestWithoutCredentialsNoOtherHostIsServed(t *testing.T) {
	w := newWorld()
	o, _, lines := w.options(t)
	o.Listen = "0.0.0.0:0"
	s := api.New(o)
	defer running(t, s)()
	w.await(t, "api-unservable")
	if all := lines.FilterField(zapCode("api-unservable")).All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()["error"]), "other hosts can reach") {
		t.Errorf("got %v", lines.All())
	}
}

func TestCredentialsInClearTextAreAWarning(t *testing.T) {
	for listen, want := range map[string]int{"127.0.0.1:0": 0, "0.0.0.0:0": 1} {
		w := newWorld()
		o, _, lines := w.options(t)
		o.Listen, o.Username, o.Password = listen, "u", "p"
		s := api.New(o)
		stop := running(t, s)
		<-w.listens
		stop()
		if n := lines.FilterField(zapCode("api-unencrypted")).Len(); n != want {
			t.Errorf("%s: want %d warnings, got %d", listen, want, n)
		}
	}
}

// Thousands of clients that send a part of a request, of its header or of its body, or
// nothing, keep no other client out.
func TestSlowClientsKeepNoOtherClientOut(t *testing.T) {
	w := newWorld()
	o, _, _ := w.options(t)
	s := api.New(o)
	defer running(t, s)()
	address := <-w.listens
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	begun := time.Now()
	for i := range 3000 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		io.WriteString(c, []string{"", "GET /ips HTTP/1.1\r\nX-Half: ", "POST /ips HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"}[i%3])
		if len(conns) > 300 { // descriptors
			conns[0].Close()
			conns = conns[1:]
		}
		if i%500 == 499 {
			if status, body := get(t, "http://"+address+"/version"); status != 200 {
				t.Errorf("after %d slow clients: got %d %s", i+1, status, body)
			}
		}
	}
	t.Logf("3000 slow clients in %v", time.Since(begun))
}

// The time of a request's own deadline does not end a change that takes longer.
func TestAChangeMayTakeLongerThanTheRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes eight seconds")
	}
	w := newWorld()
	o, _, _ := w.options(t)
	if _, err := o.IPs.Add(t.Context(), ips.Spec{IP: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	w.wait = true
	s := api.New(o)
	defer running(t, s)()
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Post("http://"+<-w.listens+"/ips/192.0.2.1/lock", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 503 || !strings.Contains(string(text), "etcd does not answer") {
		t.Errorf("got %d %s, %v", resp.StatusCode, text, err)
	}
}

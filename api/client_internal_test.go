package api

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"berth/internal/cluster"
	"berth/ips"
	"berth/pool"
)

// A server that takes the request and does not answer, or not to the end, is given up.
func TestACallEndsAfterTenSeconds(t *testing.T) {
	for name, begin := range map[string]string{"no answer": "", "half of an answer": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := NewClient(Access{URL: DefaultURL})
				if err != nil {
					t.Fatal(err)
				}
				near, far := net.Pipe()
				defer far.Close()
				c.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
				go func() {
					if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil && begin != "" {
						_, _ = far.Write([]byte(begin)) // the end of the pipe is that of the test
					}
				}()
				began := time.Now()
				_, err = c.IPs(t.Context())
				if err == nil || !strings.Contains(err.Error(), "no whole answer within 10s") || time.Since(began) != callTimeout {
					t.Errorf("want the limit after %v, got %v after %v", callTimeout, err, time.Since(began))
				}
			})
		})
	}
}

// The texts that a command prints are one line each, for all texts of an answer.
func FuzzAnswer(f *testing.F) {
	f.Add("\x1b[2J")
	f.Add("\u009b2J\u202e\U000e0041\xff\n\t\x7f")
	f.Fuzz(func(t *testing.T, text string) {
		answer := cluster.View{Note: text, Addresses: []cluster.AddressView{{Candidates: []string{text}}}, Members: []cluster.MemberView{{Health: []cluster.HealthView{{Reason: text}}}}}
		address := struct{ IP ips.Address }{ips.Address{Status: ips.State(text), LastEvent: &ips.Happened{Event: ips.Event(text)}}}
		overview := pool.Overview{Strays: []pool.StrayView{{Key: text}}}
		harmless(reflect.ValueOf(&answer))
		harmless(reflect.ValueOf(&address))
		harmless(reflect.ValueOf(&overview))
		for _, text := range []string{answer.Note, answer.Addresses[0].Candidates[0], answer.Members[0].Health[0].Reason,
			string(address.IP.Status), string(address.IP.LastEvent.Event), overview.Strays[0].Key} {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("got %q", text)
			}
		}
	})
}

// The error is one short line, for all answers of a server.
func FuzzRefused(f *testing.F) {
	f.Add(404, []byte(`{"error":"not found","msg":"not found"}`))
	f.Add(503, []byte(`{"msg":"etcd\n\u001b[2J does not answer"}`))
	f.Add(302, []byte("<html>"))
	f.Add(401, []byte(nil))
	c, err := NewClient(Access{URL: DefaultURL})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		answer := &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Location": {string(body)}}, Request: &http.Request{}}
		text := c.refused(DefaultURL, answer, body).Error()
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 5*maxText || text == DefaultURL+": " {
			t.Errorf("%d %q: got %q", status, body, text)
		}
	})
}

package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
					_, _ = far.Write([]byte(begin))
				}()
				go func() { _, _ = io.Copy(io.Discard, far) }()
				began := time.Now()
				_, err = c.IPs(t.Context())
				if err == nil || !strings.Contains(err.Error(), "no whole answer within 10s") || time.Since(began) != callTimeout {
					t.Errorf("want the limit after %v, got %v after %v", callTimeout, err, time.Since(began))
				}
			})
		})
	}
}

package health_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/health"
)

// serves answers each connection with some pieces, and then, with open, says no more.
func serves(t *testing.T, network, address string, open bool, pieces ...string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for _, p := range pieces {
				_, _ = c.Write([]byte(p))
			}
			if conns = append(conns, c); !open {
				c.Close()
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	if network == "unix" {
		return "unix:" + address
	}
	return l.Addr().String()
}

func TestTCP(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name  string
		check health.TCP
		want  string
	}{
		{"accepts", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true)}, ""},
		{"IPv6", health.TCP{Address: serves(t, "tcp", "[::1]:0", true)}, ""},
		{"socket", health.TCP{Address: serves(t, "unix", filepath.Join(dir, "s"), true)}, ""},
		{"no socket", health.TCP{Address: "unix:" + filepath.Join(dir, "none")}, "no such file or directory"},
		{"refuses", health.TCP{Address: "127.0.0.1:1"}, "dial tcp 127.0.0.1:1: connect: connection refused"},
		{"banner", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true, "220 mail ESMTP\r\n"), Banner: "ESMTP"}, ""},
		{"banner in pieces", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true, "220 ES", "MTP"), Banner: "ESMTP"}, ""},
		{"banner, and closed", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", false, "220 ESMTP"), Banner: "ESMTP"}, ""},
		{"other banner, and closed", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", false, "421 S3CRET"), Banner: "ESMTP"}, "the server closed the connection after 10 bytes, without the banner"},
		{"other banner", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true, "421 busy"), Banner: "ESMTP"}, "timed out after 500ms"},
		{"no banner", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true), Banner: "ESMTP"}, "timed out after 500ms"},
		{"banner after the bound", health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true, strings.Repeat("x", 5000), "ESMTP"), Banner: "ESMTP"}, "the banner is not in the first 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := within(t, tt.check.Check, timeFor(tt.want))
			if tt.want == "" && got != "" || !strings.HasSuffix(got, tt.want) {
				t.Errorf("got the reason %q, want %q", got, tt.want)
			}
		})
	}
}

// A server that accepts the connection and says nothing is not waited for in the end.
func TestTCPEndsWithItsContext(t *testing.T) {
	check := health.TCP{Address: serves(t, "tcp", "127.0.0.1:0", true, "220 "), Banner: "ESMTP"}
	ctx, cancel := context.WithCancelCause(t.Context())
	errEnd := errors.New("the test ends")
	done := make(chan error, 1)
	go func() { done <- check.Check(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("want it to wait for the banner, got %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	cancel(errEnd)
	select {
	case err := <-done:
		if err != errEnd {
			t.Errorf("want the cause, got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the check did not end")
	}
}

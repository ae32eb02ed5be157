package etcdtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"berth/internal/etcdtest"
)

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

func TestDataOutlivesTheLeaderAndItsReturn(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{})
	ctx := within(t, 30*time.Second)
	if err := c.Call(ctx, "kv/put", pair{[]byte("a"), []byte("1")}, nil); err != nil {
		t.Fatal(err)
	}
	first := c.Leader(ctx)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if c.Leader(ctx) == first {
		t.Errorf("want another leader than the one that was killed, got %s", first.Name)
	}
	var found struct {
		KVs []pair `json:"kvs"`
	}
	if err := c.Call(ctx, "kv/range", pair{Key: []byte("a")}, &found); err != nil || len(found.KVs) != 1 || string(found.KVs[0].Value) != "1" {
		t.Errorf("want the value 1, got %v, %v", found, err)
	}
	if err := first.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if !first.Running() {
		t.Error("want the member to run again, got not")
	}
}

func TestPausedLeaderIsReplaced(t *testing.T) {
	c := etcdtest.Start(t, 3, etcdtest.Options{})
	ctx := within(t, 30*time.Second)
	first := c.Leader(ctx)
	if err := first.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to the member through its proxy.
func ask(ctx context.Context, client *http.Client, m *etcdtest.Member, method string, request any) (int, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Endpoint()+"/v3/"+method, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, nil
}

func TestProxyFailsAsToldAndHeals(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	m := c.Member(0)
	const slow = 100 * time.Millisecond
	for _, tt := range []struct {
		name  string
		fault func()
		ok    bool
		least time.Duration
		most  time.Duration // until an answer or an error, 0 for the context's end
	}{
		{"cut", m.Cut, false, 0, 5 * time.Second},
		{"hung", m.Hang, false, slow, 0},
		{"slow", func() { m.Delay(slow) }, true, 2 * slow, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{}} // with a connection of before the fault
			defer client.CloseIdleConnections()
			get := pair{Key: []byte("a")}
			if _, err := ask(within(t, 10*time.Second), client, m, "kv/range", get); err != nil {
				t.Fatal(err)
			}
			tt.fault()
			limit := tt.most
			if limit == 0 {
				limit = 3 * slow
			}
			begin := time.Now()
			_, err := ask(within(t, limit), client, m, "kv/range", get)
			took := time.Since(begin)
			if (err == nil) != tt.ok || took < tt.least || tt.most != 0 && took >= tt.most {
				t.Errorf("want an answer: %t, after %v to %v; got %v after %v", tt.ok, tt.least, tt.most, err, took)
			}
			if err := m.Heal(); err != nil {
				t.Fatal(err)
			}
			if _, err := ask(within(t, 10*time.Second), client, m, "kv/range", get); err != nil {
				t.Errorf("after healing: want an answer, got %v", err)
			}
		})
	}
}

func TestTLSAsksForACertificateOfItsCA(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{TLS: true})
	ca, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	try := func(certificates ...tls.Certificate) error {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}}}
		_, err := ask(within(t, 10*time.Second), client, c.Member(0), "kv/range", pair{Key: []byte("a")})
		return err
	}
	if err := try(); err == nil {
		t.Error("without a certificate: want a refusal, got none")
	}
	for name, lifetime := range map[string]time.Duration{"valid": time.Hour, "expired": -time.Second} {
		cert, key, err := c.ClientCertificate("berth", lifetime)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := try(loaded); (err == nil) != (lifetime > 0) {
			t.Errorf("with a certificate that is %s: got %v", name, err)
		}
	}
}

func TestAuthenticationAsksForUserAndPassword(t *testing.T) {
	for name, o := range map[string]etcdtest.Options{
		"open":     {User: "berth", Password: "secret"},
		"with TLS": {User: "berth", Password: "secret", TLS: true},
		"as root":  {User: "root", Password: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			c := etcdtest.Start(t, 1, o)
			ctx := within(t, 10*time.Second)
			var token struct {
				Token string `json:"token"`
			}
			if err := c.Call(ctx, "auth/authenticate", map[string]string{"name": o.User, "password": o.Password}, &token); err != nil || token.Token == "" {
				t.Errorf("with the password: want a token, got %q, %v", token.Token, err)
			}
			if err := c.Call(ctx, "auth/authenticate", map[string]string{"name": o.User, "password": "guess"}, nil); err == nil {
				t.Error("with another password: want a refusal, got none")
			}
			if err := c.Call(ctx, "kv/range", pair{Key: []byte("a")}, nil); err == nil {
				t.Error("without a user: want a refusal, got none")
			}
		})
	}
}

package election_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
)

// lead campaigns with these options and returns a channel that gets each grant.
func lead(t *testing.T, o election.Options) <-chan election.Grant {
	t.Helper()
	s := &stage{T: t, events: make(chan event, 100)}
	grants := make(chan election.Grant, 100)
	s.playWith(o, "a", 0, nil)
	go func() {
		for {
			select {
			case e := <-s.events:
				if e.what == "holds" {
					grants <- e.Grant
				}
			case <-t.Context().Done():
				return
			}
		}
	}()
	return grants
}

func TestClientCertificatesAreReadAgainAtEachHandshake(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{TLS: true})
	const life = 6 * time.Second
	cert, key, err := c.ClientCertificate("berth", life)
	if err != nil {
		t.Fatal(err)
	}
	issued := time.Now()
	dir := t.TempDir()
	install := func(cert, key string) {
		for name, from := range map[string]string{"cert.pem": cert, "key.pem": key} {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	install(cert, key)
	grants := lead(t, election.Options{Endpoints: c.Endpoints(), CAFile: c.CAFile(), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")})
	select {
	case <-grants:
	case <-time.After(patience):
		t.Fatal("want to be elected by client certificate")
	}
	cert, key, err = c.ClientCertificate("berth-renewed", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	install(cert, key)
	// The first certificate is of no use any more, and every connection ends.
	<-time.After(time.Until(issued.Add(life)))
	if err := c.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	<-time.After(ttl + time.Second) // the term ends, so that another grant is news
	if err := c.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-grants:
	case <-time.After(patience):
		t.Fatal("want to be elected with the renewed certificate")
	}
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{User: "root", Password: "S3CRET"})
	select {
	case <-lead(t, election.Options{Endpoints: c.Endpoints(), Username: "root", Password: "S3CRET"}):
	case <-time.After(patience):
		t.Fatal("want to be elected by user and password")
	}
	// A wrong one is said at once.
	etcd, err := election.NewEtcd(election.Options{Endpoints: c.Endpoints(), Username: "root", Password: "WR0NG"})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if err := election.Takeover(t.Context(), etcd, prefix, instance, "a"); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("want a refusal of the wrong password, got %v", err)
	}
}

func TestUnusableCertificatesAreMistakesAtStart(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.pem")
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]election.Options{
		"client certificate missing": {CertFile: none, KeyFile: none},
		"client certificate of text": {CertFile: text, KeyFile: text},
		"authorities missing":        {CAFile: none},
		"authorities of text":        {CAFile: text},
	} {
		o.Endpoints = []string{"https://127.0.0.1:1"}
		if _, err := election.NewEtcd(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

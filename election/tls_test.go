package election_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	c := start(t, 1, etcdtest.Options{TLS: true})
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
	case <-time.After(limit):
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
	<-time.After(ttl + time.Second) // the term ends, so that a new grant comes
	if err := c.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-grants:
	case <-time.After(limit):
		t.Fatal("want to be elected with the renewed certificate")
	}
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	c := start(t, 1, etcdtest.Options{User: "root", Password: "S3CRET"})
	select {
	case <-lead(t, election.Options{Endpoints: c.Endpoints(), Username: "root", Password: "S3CRET"}):
	case <-time.After(limit):
		t.Fatal("want to be elected by user and password")
	}
	// A wrong one is said at once.
	etcd, err := election.NewEtcd(election.Options{Endpoints: c.Endpoints(), Username: "root", Password: "WR0NG"})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if err := election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "a"}); err == nil || !strings.Contains(err.Error(), "authentication failed") {
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

// ownAuthority returns a certificate for names and addresses, and the path of a file
// with the authority that made it, which it is itself.
func ownAuthority(t *testing.T, names []string, addresses ...net.IP) (certificate tls.Certificate, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		DNSNames: names, IPAddresses: addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

func TestACertificateOfAnotherHostIsRefused(t *testing.T) {
	t.Parallel()
	certificate, ca := ownAuthority(t, []string{"other.example"}, net.IPv4(192, 0, 2, 1))
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{"h2"}, Certificates: []tls.Certificate{certificate}})
			if err != nil {
				t.Fatal(err)
			}
			handshakes := make(chan error, 100)
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					// The client's refusal comes with the first that is read.
					_, err = c.Read(make([]byte, 1))
					handshakes <- err
					c.Close()
				}
			})
			t.Cleanup(func() { l.Close(); serving.Wait() })
			_, port, _ := net.SplitHostPort(l.Addr().String())
			etcd, err := election.NewEtcd(election.Options{Endpoints: []string{"https://" + net.JoinHostPort(host, port)}, CAFile: ca})
			if err != nil {
				t.Fatal(err)
			}
			defer etcd.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := etcd.Ask(ctx, prefix)[0].Err; err == nil || !strings.Contains(err.Error(), "certificate is valid for") {
				t.Errorf("want it said what is wrong with the certificate, got %v", err)
			}
			select {
			case err := <-handshakes:
				if err == nil {
					t.Error("want the certificate refused, got a request")
				}
			default:
				t.Error("want an attempt to connect")
			}
		})
	}
}

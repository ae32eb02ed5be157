package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/certs"
)

// write writes a certificate for a name and its key, and returns the certificate.
func write(t *testing.T, dir, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

// New connections get the files as they are now, and the former ones while these cannot be
// used.
func TestPairIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := certs.NewPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if _, err := p.Certificate(); !errors.Is(err, fs.ErrNotExist) || p.Names("a.example") {
			t.Errorf("before there is one: got %v", err)
		}
		want := write(t, dir, "a.example")
		is := func(when string) {
			t.Helper()
			time.Sleep(time.Second)
			if got, err := p.Certificate(); err != nil || !bytes.Equal(got.Certificate[0], want) {
				t.Errorf("%s: want another certificate, got %v", when, err)
			}
		}
		is("at first")
		if !p.Names("A.example") || p.Names("b.example") {
			t.Error("want the names of the certificate")
		}
		key := filepath.Join(dir, "key.pem")
		good, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "5up3rS3cret"} {
			if err := os.WriteFile(key, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			is("with a key that is none")
			for range 2 { // it lasts
				if err := p.Read(); err == nil || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "5up3rS3cret") {
					t.Errorf("want an error with the file, got %v", err)
				}
			}
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		is("without a key")
		if err := p.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a key: got %v", err)
		}
		if err := os.WriteFile(key, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Read(); err != nil {
			t.Errorf("with the key again: %v", err)
		}
		want = write(t, dir, "b.example")
		is("the next one")
		if !p.Names("b.example") || p.Names("a.example") {
			t.Error("want the names of the next certificate")
		}
	})
}

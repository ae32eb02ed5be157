package etcdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// An authority signs the certificates of one cluster.
type authority struct {
	dir  string
	file string // of the CA's certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template("berth test CA", time.Hour)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, file: filepath.Join(dir, "ca.crt"), key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, writePEM(a.file, "CERTIFICATE", der, 0o644)
}

func template(name string, lifetime time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // does not fail since Go 1.24
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(lifetime),
	}
}

// issue writes a certificate and its key, in place of those it wrote before
// to the same files, each by rename. The common name is not that of the files.
func (a *authority) issue(file, name string, lifetime time.Duration, hosts ...netip.Addr) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := template(name, lifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		template.IPAddresses = append(template.IPAddresses, h.AsSlice())
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(a.dir, file+".crt"), filepath.Join(a.dir, file+".key")
	return certFile, keyFile, errors.Join(writePEM(keyFile, "PRIVATE KEY", secret, 0o600), writePEM(certFile, "CERTIFICATE", der, 0o644))
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// client returns a client that members of the cluster accept.
func (a *authority) client(dial func(context.Context, string, string) (net.Conn, error)) (*http.Client, error) {
	// The gateway refuses a certificate with a common name when there are users.
	certFile, keyFile, err := a.issue("gateway", "", time.Hour)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}, nil
}

// CAFile returns the path of the certificate that signs all others. Empty
// without TLS.
func (c *Cluster) CAFile() string {
	if c.ca == nil {
		return ""
	}
	return c.ca.file
}

// ClientCertificate writes a certificate that lasts for some time from now, with
// name as its common name, and its key. A second call with the same name
// replaces both files, as a rotation does.
func (c *Cluster) ClientCertificate(name string, lifetime time.Duration) (certFile, keyFile string, err error) {
	if c.ca == nil {
		return "", "", errors.New("issue client certificate: the cluster has no TLS")
	}
	if certFile, keyFile, err = c.ca.issue(name, name, lifetime); err != nil {
		return "", "", fmt.Errorf("issue client certificate: %w", err)
	}
	return certFile, keyFile, nil
}

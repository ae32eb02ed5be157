// Package certs has certificates in files, which are read again at a handshake:
// certificates are rotated while berth runs. It makes the TLS configuration of a client,
// and has the certificate of a server.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"berth/internal/files"
	"berth/internal/section"
)

// Client are the files of a client. Any may be empty.
type Client struct {
	Section  string // of the configuration that names the files, for errors; may be empty
	CAFile   string // instead of the system's certificate authorities
	CertFile string // certificate of the client, with KeyFile
	KeyFile  string
}

// Check returns the problem of a file that cannot be used now.
func (c Client) Check() error {
	if c.CertFile != "" {
		if _, err := c.keyPair(); err != nil {
			return err
		}
	}
	if c.CAFile == "" {
		return nil
	}
	_, err := c.pool()
	return err
}

// Config returns the configuration for a server whose certificate must be for name, a
// host name or an address. Without CAFile ServerName counts, which the caller or its library sets.
func (c Client) Config(name string) *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CertFile != "" {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.keyPair() }
	}
	if c.CAFile == "" {
		return conf
	}
	// The usual verification is switched off because its pool is fixed; this is the same
	// one.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		pool, err := c.pool()
		if err != nil {
			return err
		}
		// Not cs.ServerName, which is empty where an address was dialled.
		v := x509.VerifyOptions{Roots: pool, DNSName: name, Intermediates: x509.NewCertPool()}
		for _, c := range cs.PeerCertificates[1:] {
			v.Intermediates.AddCert(c)
		}
		_, err = cs.PeerCertificates[0].Verify(v)
		return err
	}
	return conf
}

// Now returns the configuration with the files as they are now, for a client that makes
// one connection.
func (c Client) Now() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pool, err := c.pool()
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	if c.CertFile != "" {
		pair, err := c.keyPair()
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{*pair}
	}
	return conf, nil
}

// maxPEM bounds a file of certificates or of a key, in bytes.
const maxPEM = 8 << 20

func (c Client) keyPair() (*tls.Certificate, error) {
	cert, err := files.Read(c.CertFile, maxPEM)
	if err != nil {
		return nil, c.wrong("cert-file", err)
	}
	key, err := files.Read(c.KeyFile, maxPEM)
	if err != nil {
		return nil, c.wrong("key-file", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, c.wrong("cert-file", fmt.Errorf("read client certificate of %s with the key of %s: %w", c.CertFile, c.KeyFile, err))
	}
	return &pair, nil
}

func (c Client) pool() (*x509.CertPool, error) {
	pem, err := files.Read(c.CAFile, maxPEM)
	if err != nil {
		return nil, c.wrong("ca-file", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, c.wrong("ca-file", errors.New(c.CAFile+" has no certificate"))
	}
	return pool, nil
}

// wrong returns an error about the value of a key of the configuration.
func (c Client) wrong(key string, err error) error {
	if c.Section != "" {
		key = c.Section + "." + key
	}
	return &section.Problem{Key: key, Text: err.Error()}
}

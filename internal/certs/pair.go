package certs

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/internal/files"
)

// Pair is the certificate of a server and its key, from files that are read again while
// the server runs. While these cannot be used, the former ones stay in use. Its methods may
// be called by several goroutines at once.
type Pair struct {
	certFile, keyFile string

	mu        sync.Mutex
	current   *tls.Certificate // nil before the first that can be used
	cert, key []byte           // that were read last
	err       error            // about these
	read      time.Time        // when that was
}

// NewPair returns a pair of which nothing has been read yet.
func NewPair(certFile, keyFile string) *Pair {
	return &Pair{certFile: certFile, keyFile: keyFile}
}

// For returns the pair of these files: p itself if it is, with the certificate in use, else
// a new one. p may be nil.
func (p *Pair) For(certFile, keyFile string) *Pair {
	if p != nil && p.certFile == certFile && p.keyFile == keyFile {
		return p
	}
	return NewPair(certFile, keyFile)
}

// Read reads the files. The error says why they cannot be used.
func (p *Pair) Read() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.again()
}

// again is called with the lock held.
func (p *Pair) again() error {
	p.read = time.Now()
	cert, err := files.Read(p.certFile, maxPEM)
	if err != nil {
		return err
	}
	key, err := files.Read(p.keyFile, maxPEM)
	if err != nil {
		return err
	}
	if p.cert != nil && bytes.Equal(cert, p.cert) && bytes.Equal(key, p.key) {
		return p.err
	}
	p.cert, p.key, p.err = cert, key, nil
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		p.err = fmt.Errorf("read the certificate of %s with the key of %s: %w", p.certFile, p.keyFile, err)
		return p.err
	}
	p.current = &pair
	return nil
}

// pairInterval is how often connections have the files read again.
const pairInterval = time.Second

// Certificate returns the newest certificate that could be used, for a new connection.
func (p *Pair) Certificate() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.read) >= pairInterval {
		if err := p.again(); err != nil && p.current == nil {
			return nil, err
		}
	}
	if p.current == nil {
		return nil, errors.New("no certificate could be read yet")
	}
	return p.current, nil
}

// Names reports whether the certificate in use is for a host.
func (p *Pair) Names(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current != nil && p.current.Leaf.VerifyHostname(host) == nil
}

package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"berth/internal/cloudsim"
)

// The account at Exoscale, see Options.Exoscale. All hosts are in the security group.
// ElasticIP is the address in the documentation of exoip.
const (
	Zone        = "ch-gva-2"
	ExoscaleKey = "EXO5d1c9f0a7b"
	Group       = "load-balancer"

	groupID      = "00000000-1111-4222-8333-9000000000a1"
	exoscaleName = "api-" + Zone + ".exoscale.com"
	exoscaleAddr = "10.77.0.1:443"
)

// ElasticIP is an elastic IP of that account; no instance has it at first.
var ElasticIP = netip.MustParseAddr("198.51.100.50")

// exoscale makes the account one of Exoscale, whose API the hosts reach by its name, with
// TLS, as they do outside the lab. The secret is Token.
func (l *Lab) exoscale(account *cloudsim.Config) error {
	account.Key, account.Secret = ExoscaleKey, Token
	account.SecurityGroups = []cloudsim.SecurityGroup{{ID: groupID, Name: Group}}
	for i := range account.Servers {
		account.Servers[i].Region, account.Servers[i].Groups = Zone, []string{groupID}
	}
	account.FloatingIPs = nil
	account.ElasticIPs = []cloudsim.ElasticIP{{ID: "00000000-1111-4222-8333-9000000000e1", Network: Network(ElasticIP), Zone: Zone}}
	certificate, ca, err := authority(exoscaleName)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	l.tls = &tls.Config{Certificates: []tls.Certificate{certificate}}
	for _, h := range l.Hosts {
		if err := errors.Join(
			h.WriteFile("/etc/ssl/certs/ca-certificates.crt", ca, 0o644),
			h.WriteFile("/etc/hosts", "127.0.0.1 localhost "+h.Name+"\n10.77.0.1 "+exoscaleName+"\n", 0o644),
		); err != nil {
			return err
		}
	}
	return nil
}

// authority makes a certificate for a name, which is its own authority.
func authority(name string) (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(ca), nil
}

// Attached returns the hosts that have an elastic IP at the provider, in the order in
// which they got it.
func (l *Lab) Attached(ip netip.Addr) (hosts []*Host) {
	for _, uuid := range l.Sim.Holders(ip) {
		if i := slices.IndexFunc(l.Hosts, func(h *Host) bool { return h.UUID == uuid }); i >= 0 {
			hosts = append(hosts, l.Hosts[i])
		}
	}
	return hosts
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/api"
	"berth/internal/cluster"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/ips"
	"berth/pool"

	"github.com/rogpeppe/go-internal/testscript"
)

// member is a member lb1 with addresses, which lb2 has as well, and a pool of two members.
type member struct {
	mu  sync.Mutex
	all []ips.Address // by address
}

// cmdAPI serves the management API of a member: api [NAME VALUE]... with the options
// username, password and tls, which is the file for the certificate. $API is its URL.
func cmdAPI(ts *testscript.TestScript, _ bool, args []string) {
	m := &member{}
	o := api.Options{IPs: m, Pool: members{}, Cluster: alone{}, Version: "1.2.3", Metrics: http.NotFoundHandler(), Meters: api.NewMetrics(&metrics.Registry{}), Journal: journal.New(nil)}
	certificate := ""
	for pair := range slices.Chunk(args, 2) {
		switch pair[0] {
		case "username":
			o.Username = pair[1]
		case "password":
			o.Password = pair[1]
		case "tls":
			certificate = ts.MkAbs(pair[1])
		default:
			ts.Fatalf("api has no option %s", pair[0])
		}
	}
	s := httptest.NewUnstartedServer(api.New(o).Handler())
	if certificate == "" {
		s.Start()
	} else {
		s.StartTLS()
		ts.Check(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	}
	ts.Defer(s.Close)
	ts.Setenv("API", s.URL)
}

// cmdPort sets $PORT to a port of 127.0.0.1 at which nobody listens.
func cmdPort(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// cmdPair writes a certificate for 127.0.0.1, which is its own authority, and its key:
// pair CERT KEY.
func cmdPair(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: pair CERT KEY")
	}
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}, {Type: "PRIVATE KEY", Bytes: key}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

func (m *member) find(id string) (int, error) {
	a, err := ips.ParseID(id)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(m.all, func(ip ips.Address) bool { return ip.ID == ips.ID(a) })
	if i < 0 {
		return 0, ips.ErrUnknown
	}
	return i, nil
}

// List, and the methods after it, are those of ips.Service.
func (m *member) List() []ips.Address {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]ips.Address{}, m.all...)
}

// on calls f with an address.
func (m *member) on(id string, f func(a *ips.Address) error) (ips.Address, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.find(id)
	if err != nil {
		return ips.Address{}, err
	}
	err = f(&m.all[i])
	return m.all[i], err
}

func (m *member) Get(id string) (ips.Address, error) {
	return m.on(id, func(*ips.Address) error { return nil })
}

func (m *member) Add(_ context.Context, s ips.Spec) (ips.Address, error) {
	ip, err := s.Parse()
	if err != nil {
		return ips.Address{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find(ip.Addr().String()); err == nil {
		return ips.Address{}, ips.ErrAssigned
	}
	a := ips.Address{ID: ips.ID(ip.Addr()), IP: ip.String(), Checks: s.Checks, KeepaliveInterval: s.KeepaliveInterval, HealthcheckInterval: s.HealthcheckInterval,
		Status: ips.Standby, Owner: "lb2", Since: time.Now(), Reason: "lb2 owns it"}
	m.all = append(m.all, a)
	slices.SortFunc(m.all, func(a, b ips.Address) int {
		return netip.MustParsePrefix(a.IP).Addr().Compare(netip.MustParsePrefix(b.IP).Addr())
	})
	return a, nil
}

func (m *member) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.find(id)
	if err == nil {
		m.all = slices.Delete(m.all, i, i+1)
	}
	return err
}

func (m *member) Update(_ context.Context, id string, c ips.Change) (ips.Address, error) {
	return m.on(id, func(a *ips.Address) error {
		if c.Checks != nil {
			a.Checks = *c.Checks
		}
		return nil
	})
}

func (m *member) Lock(_ context.Context, id string) error {
	_, err := m.Get(id)
	return err
}

// Failover moves an address to lb1 alone, so that the next one is refused.
func (m *member) Failover(_ context.Context, id string) error {
	_, err := m.on(id, func(a *ips.Address) error {
		if a.Owner == "lb1" {
			return &ips.ConflictError{Text: "no other member is able to have the address; start berth on one"}
		}
		a.Owner, a.Status, a.Reason = "lb1", ips.Activated, ""
		return nil
	})
	return err
}

// members are a pool.
type members struct{}

func (members) List(context.Context) (*pool.Overview, error) {
	return &pool.Overview{Prefix: "/berth/pool/", Addresses: []pool.AddressView{{Address: "192.0.2.1/32", Holder: "lb1", Assigned: "lb1"}},
		Members: []pool.MemberView{{Member: "lb1", Weight: 1, State: "able", Held: 1, Assigned: 1}, {Member: "lb2", State: "drained"}}, Strays: []pool.StrayView{}}, nil
}

func (members) Add(_ context.Context, texts []string) (changes []pool.Change, err error) {
	for _, text := range texts {
		changes = append(changes, pool.Change{What: text, Done: "added"})
	}
	return changes, nil
}

func (members) Remove(_ context.Context, texts []string) ([]pool.Change, error) {
	if texts[0] != "192.0.2.1" {
		return nil, pool.ErrAbsent
	}
	return []pool.Change{{What: texts[0], Done: "removed"}}, nil
}

func (members) Drain(_ context.Context, member string, own, _ bool) (pool.Change, error) {
	if own {
		return pool.Change{What: member, Done: "drained", Note: "no other member can serve the addresses now"}, nil
	}
	return pool.Change{What: member, Done: "drained"}, nil
}

// alone is a cluster of which nothing is known but the name of this member.
type alone struct{}

func (alone) View() cluster.View         { return cluster.View{This: "lb1"} }
func (alone) Watch(func()) (stop func()) { return func() {} }

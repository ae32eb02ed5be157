package election_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/internal/names"
)

// nameServers are what one host asks for the names of etcd's members: one that
// does not answer, which costs delay, and then one that does.
type nameServers struct {
	delay time.Duration
	mute  atomic.Bool // the second does not answer either
	hosts map[string]netip.Addr
}

func (n *nameServers) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	answer := n.delay
	if n.mute.Load() {
		answer = names.Budget
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(answer):
	}
	a, ok := n.hosts[host]
	if !ok || network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{a}, nil
}

// byName returns the endpoints of a cluster by names, and the name servers that know
// them.
func byName(t *testing.T, c *etcdtest.Cluster, delay time.Duration) (election.Options, *nameServers) {
	t.Helper()
	n := &nameServers{delay: delay, hosts: map[string]netip.Addr{}}
	r := names.New("", nil)
	r.Lookup = n.lookup
	t.Cleanup(r.Close)
	o := election.Options{Names: r}
	for i, text := range c.Endpoints() {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("etcd%d.example.net", i+1)
		n.hosts[name] = netip.MustParseAddr(u.Hostname())
		o.Endpoints = append(o.Endpoints, u.Scheme+"://"+name+":"+u.Port())
	}
	return o, n
}

func TestEtcdByNameGivesALeaseBehindAMuteNameServer(t *testing.T) {
	s := newStage(t, 1)
	o, _ := byName(t, s.cluster, 5*time.Second)
	s.playWith(o, "a", 0, nil)
	s.next("a", "holds")
}

func TestAnOwnerGoesOnWhenMembersOfEtcdAreRestartedAndNoNameServerAnswers(t *testing.T) {
	s := newStage(t, 3)
	o, n := byName(t, s.cluster, 0)
	s.playWith(o, "a", 0, nil)
	s.next("a", "holds")
	n.mute.Store(true)
	for i := range 3 {
		if err := s.cluster.Member(i).Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.Member(i).Restart(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := s.cluster.Ready(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A connection that was made anew serves for a whole lease.
	select {
	case e := <-s.events:
		t.Errorf("want it to go on, got that it %s (%v)", e.what, e.why)
	case <-time.After(ttl + time.Second):
	}
}

func TestAskWaitsForTheNameBeforeItCountsTheTimeOfTheAnswer(t *testing.T) {
	s := newStage(t, 1)
	o, _ := byName(t, s.cluster, 4*time.Second)
	etcd, err := election.NewEtcd(o)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if a := etcd.Ask(t.Context(), prefix)[0]; a.Err != nil || a.Took > 4*time.Second {
		t.Errorf("want an answer, timed from when the name was known, got %v after %v", a.Err, a.Took)
	}
}

// A password over plain HTTP goes to no address that was only written down once,
// while a name server can still tell the one of today.
func TestAPasswordInClearTextGoesToNoFormerAddress(t *testing.T) {
	t.Parallel()
	c := start(t, 1, etcdtest.Options{User: "root", Password: "S3CRET"})
	o, n := byName(t, c, time.Second)
	u, err := url.Parse(o.Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	// Where another machine listens by now.
	former, err := net.Listen("tcp", "127.117.254.254:"+u.Port())
	if err != nil {
		t.Fatal(err)
	}
	var visits atomic.Int32
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		for {
			conn, err := former.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() { former.Close(); <-serving })
	dir := t.TempDir()
	text := fmt.Sprintf(`{"names": {%q: {"addresses": ["127.117.254.254"], "time": "2026-01-01T00:00:00Z"}}}`, u.Hostname())
	if err := os.WriteFile(filepath.Join(dir, "names.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Names = names.New(dir, nil)
	o.Names.Lookup = n.lookup
	t.Cleanup(o.Names.Close)
	o.Username, o.Password = "root", "S3CRET"
	select {
	case <-lead(t, o):
	case <-time.After(limit):
		t.Fatal("want to be elected by the address of today")
	}
	if v := visits.Load(); v > 0 {
		t.Errorf("want no connection to the former address, got %d", v)
	}
}

func TestTheCertificateOfAnEndpointByNameIsThatOfTheName(t *testing.T) {
	t.Parallel()
	certificate, ca := ownAuthority(t, []string{"etcd1.example.net"})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{"h2"}, Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan error, 100) // the first byte of HTTP/2 on each connection
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, err = c.Read(make([]byte, 1))
			begun <- err
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-serving })
	r := names.New("", nil)
	t.Cleanup(r.Close)
	r.Lookup = (&nameServers{hosts: map[string]netip.Addr{"etcd1.example.net": netip.MustParseAddr("127.0.0.1")}}).lookup
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := election.NewEtcd(election.Options{Endpoints: []string{"https://etcd1.example.net:" + port}, CAFile: ca, Names: r})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = etcd.Ask(ctx, prefix) // no endpoint answers; the handshake is what matters
	select {
	case err := <-begun:
		if err != nil {
			t.Errorf("want the certificate accepted, got %v", err)
		}
	default:
		t.Error("want an attempt to connect")
	}
}

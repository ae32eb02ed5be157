package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/testnet"
	"berth/ips"
)

// apiPassword is that of the API of a host.
const apiPassword = "correct-horse-battery-staple"

// certificate makes a certificate for an address, signed by itself, and its key, as PEM.
func certificate(address string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "berth"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(address)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})), err
}

// client runs berth on a host, checks its exit status and that its output is as a regular
// expression, and returns it.
func (s *swarm) client(n *testnet.Node, status int, want string, command ...string) string {
	s.t.Helper()
	p, err := n.Start("client", "/usr/bin/env", command...)
	s.must(err)
	select {
	case <-p.Said():
		<-p.Done()
	case <-time.After(waitLimit):
		s.t.Fatalf("%q has not ended", command)
	}
	out := p.Log.String()
	if code := p.ExitCode(); code != status || !regexp.MustCompile(want).MatchString(out) {
		s.t.Errorf("%q: want exit status %d and %s, got %d and\n%s", command, status, want, code, out)
	}
	if strings.Contains(out, apiPassword) {
		s.t.Errorf("%q printed the password", command)
	}
	return out
}

// serves starts berth on a host without instances, with an API for all hosts.
func (s *swarm) serves(n *testnet.Node, address string) (url string) {
	s.t.Helper()
	cert, key, err := certificate(address)
	s.must(err)
	for path, text := range map[string]string{"/etc/api.pem": cert, "/etc/api-key.pem": key, "/etc/api-password": apiPassword + "\n"} {
		s.must(n.WriteFile(path, text, 0o600))
	}
	// Another host knows it by its certificate.
	s.must(s.hosts[2].WriteFile("/etc/"+n.Name+".pem", cert, 0o644))
	s.must(n.WriteFile(swarmConf, fmt.Sprintf(`etcd: {endpoints: [%q], member: %s, lease-ttl: 4s}
election: {interface: eth0}
api: {listen: "%s:1313", username: admin, password-file: /etc/api-password, tls-cert-file: /etc/api.pem, tls-key-file: /etc/api-key.pem}
`, swarmEtcd, n.Name, address), 0o600))
	p, err := n.Start("berth", "/usr/bin/berth", "elect", swarmConf)
	s.must(err)
	s.Record(p.Log)
	s.berth[n] = p
	url = "https://" + address + ":1313"
	s.answers(n, address+":1313")
	return url
}

// answers waits until a host takes connections at an address.
func (s *swarm) answers(n *testnet.Node, address string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	s.must(s.Wait(ctx, "connections to "+address, func() bool {
		return n.Do(func() error {
			c, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				c.Close()
			}
			return err
		}) == nil
	}))
}

// awaits waits until a member has an address in a status, as a command shows it whose id is
// missing.
func (s *swarm) awaits(command []string, id string, status ips.State, owner string) {
	s.t.Helper()
	late := time.After(waitLimit)
	for {
		out := s.client(s.hosts[2], 0, "", slices.Concat(command, []string{id, "--output", "json"})...)
		var now struct{ IP ips.Address }
		s.must(json.Unmarshal([]byte(out), &now))
		if now.IP.Status == status && now.IP.Owner == owner {
			return
		}
		select {
		case <-late:
			s.t.Fatalf("want %s %s by %s, got\n%s", id, status, owner, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The verbs of berth ips, one after the other, on a host that has no berth of its own.
func TestClientOfTheAPI(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	one, two, far := s.hosts[0], s.hosts[1], s.hosts[2]
	urls := map[*testnet.Node]string{one: s.serves(one, "10.78.0.11"), two: s.serves(two, "10.78.0.12")}
	s.must(far.WriteFile("/etc/password", apiPassword+"\n", 0o600))
	by := func(n *testnet.Node) []string { // by the environment
		return []string{"BERTH_API_URL=" + urls[n], "BERTH_API_USERNAME=admin", "BERTH_API_PASSWORD=" + apiPassword, "/usr/bin/berth", "ips", "--ca-file", "/etc/" + n.Name + ".pem"}
	}
	do := func(n *testnet.Node, status int, want string, args ...string) string {
		t.Helper()
		return s.client(far, status, want, append(at(by(n), args[0]), args[1:]...)...)
	}
	plain := []string{"/usr/bin/berth", "ips", "list", "--url", urls[one]}
	s.client(far, 1, `10.78.0.11:1313/ips: the certificate of the server is not from an authority that this host knows; write --ca-file FILE`, plain...)
	s.client(far, 1, `not from the authority in /etc/node2.pem \(--ca-file\)`, append(plain, "--ca-file", "/etc/node2.pem")...)
	known := append(plain, "--ca-file", "/etc/node1.pem")
	s.client(far, 1, `wants a user and a password; write --username, and --password-file`, known...)
	s.client(far, 1, `does not accept user "nobody" with this password`, append(known, "--username", "nobody", "--password-file", "/etc/password")...)
	s.client(far, 1, `speaks TLS; write https:// in --url`, "/usr/bin/berth", "ips", "list", "--url", "http://10.78.0.11:1313")
	s.client(far, 0, `^ID +ADDRESS +STATUS +OWNER +SINCE +REASON\n$`, append(known, "--username", "admin", "--password-file", "/etc/password")...)
	s.client(far, 2, `--ca-file: open /etc/none.pem: no such file`, append(plain, "--ca-file", "/etc/none.pem")...)

	do(one, 0, `^vip-192.0.2.1: added\nvip-2001:db8::1: added\n$`, "add", "192.0.2.1", "2001:db8::1")
	s.becomes(waitLimit, "node1:2")
	do(one, 1, `add 192.0.2.1/32: https://10.78.0.11:1313/ips: IP already assigned`, "add", "192.0.2.1/32")
	do(two, 0, `^vip-192.0.2.1: added\n$`, "add", "192.0.2.1", "--healthcheck-interval", "1")
	s.awaits(at(by(two), "show"), "192.0.2.1", ips.Standby, "node1")
	do(one, 0, `(?m)^vip-192.0.2.1 +192.0.2.1/32 +ACTIVATED +node1 +\S+ ago +\S`, "list")
	do(two, 0, `(?m)^STATUS +STANDBY\nOWNER +node1$`, "show", "vip-192.0.2.1")
	do(two, 0, `"status": "STANDBY"`, "show", "192.0.2.1", "--output", "json")

	do(one, 0, `^vip-192.0.2.1: node1 is the owner\n$`, "lock", "192.0.2.1")
	do(two, 1, `10.78.0.12:1313/ips/vip-192.0.2.1: node1 has the address`, "lock", "vip-192.0.2.1")
	do(two, 0, `^vip-192.0.2.1: node2 is the owner\n$`, "failover", "192.0.2.1")
	s.becomes(waitLimit, "node1:1 node2:1")
	do(two, 0, `^vip-192.0.2.1: node1 is the owner\n$`, "failover", "192.0.2.1")
	s.becomes(waitLimit, "node1:2")
	do(one, 1, `vip-2001:db8::1/failover: .*`, "failover", "2001:db8::1")

	// A check that fails gives the address to the other member.
	do(one, 0, `^192.0.2.1: health checks: 1\n$`, "set-checks", "192.0.2.1", "--check", "TCP:127.0.0.1:1", "--healthcheck-interval", "1")
	s.becomes(waitLimit, "node1:1 node2:1")
	s.awaits(at(by(one), "show"), "192.0.2.1", ips.Failing, "node2")
	do(one, 0, `CHECK +TCP:127.0.0.1:1\n`, "show", "192.0.2.1")
	do(one, 1, `ips/vip-192.0.2.1: node2 has the address`, "lock", "192.0.2.1")
	do(one, 0, `^192.0.2.1: health checks: 0\n$`, "set-checks", "192.0.2.1")
	s.awaits(at(by(one), "show"), "192.0.2.1", ips.Standby, "node2")

	do(two, 0, `^vip-192.0.2.1: removed\n$`, "remove", "vip-192.0.2.1")
	s.becomes(waitLimit, "node1:2")
	do(two, 1, `10.78.0.12:1313/ips/vip-192.0.2.1: there is no such address; berth ips list`, "remove", "vip-192.0.2.1")
	do(two, 1, `"web" cannot be the id of an address`, "show", "web")
	do(one, 0, `removed`, "remove", "2001:db8::1")
	do(one, 0, `removed`, "remove", "192.0.2.1")
	s.becomes(waitLimit, "")
	s.client(far, 1, `https://10.78.0.99:1313/ips: `, "/usr/bin/berth", "ips", "list", "--url", "https://10.78.0.99:1313")
}

// at returns a command of which nothing but the verb is missing, with that verb.
func at(command []string, verb string) []string {
	return slices.Concat(command[:5], []string{verb}, command[5:])
}

// With a pool the addresses of the API are those of the pool.
func TestClientOfTheAPIOfAPool(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	one, two := s.hosts[0], s.hosts[1]
	for _, n := range []*testnet.Node{one, two} {
		s.start(n, `api: {listen: "127.0.0.1:1313"}`)
		s.answers(n, "127.0.0.1:1313")
	}
	do := func(n *testnet.Node, status int, want string, args ...string) {
		t.Helper()
		s.client(n, status, want, append([]string{"/usr/bin/berth"}, args...)...)
	}
	const url = "--url=http://127.0.0.1:1313"
	do(one, 0, `^vip-192.0.2.1: added\n$`, "ips", "add", "192.0.2.1")
	do(two, 1, `add 192.0.2.1: http://127.0.0.1:1313/ips: IP already assigned`, "ips", "add", "192.0.2.1")
	do(two, 0, `^192.0.2.1: already in the pool\n2001:db8::1: added\n$`, "pool", "add", url, "192.0.2.1", "2001:db8::1")
	s.becomes(waitLimit, "node1:1 node2:1")
	do(one, 0, `(?m)^vip-192.0.2.1 .*\nvip-2001:db8::1 `, "ips", "list")
	do(one, 0, `(?s)"assigned": "node\d".*"state": "able"`, "pool", "list", url, "--output", "json")
	do(one, 1, `409|pool.health`, "ips", "add", "192.0.2.3", "--check", "TCP:127.0.0.1:80")
	do(one, 1, `ips/vip-192.0.2.1/failover: the pool assigns .* berth pool drain MEMBER`, "ips", "failover", "192.0.2.1")
	do(two, 0, `^node2: drained\n$`, "pool", "drain", url)
	s.becomes(waitLimit, "node1:2")
	do(two, 0, `(?m)^vip-192.0.2.1 +192.0.2.1/32 +FAILING +node1 .*this member is drained`, "ips", "list")
	do(one, 1, `"nobody" of the pool .* not there; members are: node1`, "pool", "drain", url, "nobody")
	do(one, 0, `^node2: takes part again\n$`, "pool", "drain", url, "--undo", "node2")
	s.becomes(waitLimit, "node1:1 node2:1")
	do(two, 0, `^192.0.2.1: removed\n$`, "ips", "remove", "192.0.2.1")
	do(two, 1, `(?s)^2001:db8::1: removed\n.*192.0.2.1 from the pool below /berth/pool/: not there`, "pool", "remove", url, "192.0.2.1", "2001:db8::1")
	s.becomes(waitLimit, "")
}

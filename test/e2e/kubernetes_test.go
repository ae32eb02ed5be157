package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/lab"
)

// kubernetesBlock returns the one block of docs/kubernetes.md in a language, as it stands.
func kubernetesBlock(t *testing.T, language string) string {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?ms)^ *<!-- Run by TestKubernetes as it stands. -->\n *```"+language+"\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1)
	if len(all) != 1 {
		t.Fatalf("want one block of %s, got %d", language, len(all))
	}
	var lines strings.Builder
	for line := range strings.Lines(all[0][1]) {
		lines.WriteString(strings.TrimPrefix(line, "   ")) // the block is in a list
	}
	return lines.String()
}

// controlNode is a node of a control plane, with stand-ins for the servers that the checks
// of the document ask.
type controlNode struct {
	*planeHost
	apiserver, haproxy atomic.Bool // whether they answer with 200
}

// selfSigned makes a certificate for an address, which is its own authority.
func selfSigned(t *testing.T, address netip.Addr) (cert tls.Certificate, authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{address.AsSlice()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serve starts the stand-ins.
func (n *controlNode) serve() {
	p := n.plane
	p.t.Helper()
	cert, authority := selfSigned(p.t, n.address)
	p.must(n.WriteFile("/etc/kubernetes/pki/ca.crt", authority, 0o644))
	start := func(address, path string, well *atomic.Bool, config *tls.Config) {
		well.Store(true)
		mux := http.NewServeMux()
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if !well.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		p.must(n.Do(func() error {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			server := &http.Server{Handler: mux}
			var serving sync.WaitGroup
			serving.Go(func() { server.Serve(l) })
			p.OnClose(func() error {
				err := server.Close()
				serving.Wait()
				return err
			})
			return nil
		}))
	}
	start(netip.AddrPortFrom(n.address, 6443).String(), "/readyz", &n.apiserver, &tls.Config{Certificates: []tls.Certificate{cert}})
	start("127.0.0.1:8404", "/healthz", &n.haproxy, nil)
}

// The files of docs/kubernetes.md, with a real etcd of three members and client certificates.
// Only the address of the node itself differs between the nodes. BERTH_SOAK=1 also takes
// etcd's quorum away, as TestGovipPromises does in every run.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	const first = "https://192.0.2.11:6443"
	conf, dropIn := kubernetesBlock(t, "yaml"), kubernetesBlock(t, "ini")
	if strings.Count(conf, first) != 1 {
		t.Fatalf("want %s in the file once, got\n%s", first, conf)
	}
	p := newPlane(t, "cp1", "cp2", "cp3")
	address := netip.MustParseAddr("192.0.2.254")
	nodes := map[*planeHost]*controlNode{}
	for _, h := range p.hosts {
		n := &controlNode{planeHost: h}
		nodes[h] = n
		n.serve()
		const pki = "/etc/kubernetes/pki/etcd/"
		h.certificates(pki+"ca.crt", pki+"healthcheck-client.crt", pki+"healthcheck-client.key")
		p.must(h.WriteFile("/etc/berth.yml", strings.Replace(conf, first, "https://"+h.address.String()+":6443", 1), 0o600))
	}
	step := p.steps(t)
	var owner *planeHost

	step("the unit stops before what berth stands in front of", func(t *testing.T) {
		analyze := needAnalyze(t)
		const unit = "/etc/systemd/system/berth-elect.service"
		p.must(p.hosts[0].Install(unit, "../../dist/berth-elect.service", 0o644))
		p.must(p.hosts[0].WriteFile(unit+".d/override.conf", dropIn, 0o644))
		out, err := p.hosts[0].Run(t.Context(), analyze, "verify", "--man=no", unit)
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("want systemd-analyze to report nothing, got %v: %s", err, out)
		}
	})
	step("the nodes start", func(*testing.T) {
		for _, h := range p.hosts {
			h.bash(t, "berth config check /etc/berth.yml")
			h.supervise("/usr/bin/berth elect /etc/berth.yml")
		}
		owner = p.owner(address, p.hosts...)
	})
	step("the API server of the owner fails, and HAProxy of another node", func(*testing.T) {
		others := p.others(owner)
		failed := time.Now()
		nodes[others[0]].haproxy.Store(false)
		others[0].says("health-check-failed", failed)
		failed = time.Now()
		nodes[owner].apiserver.Store(false)
		left := owner
		owner = p.owner(address, others[1])
		p.within(7*time.Second, failed, "moving")
		nodes[left].apiserver.Store(true)
		nodes[others[0]].haproxy.Store(true)
	})
	if !long {
		return
	}
	step("etcd loses its quorum, and comes back", func(*testing.T) {
		p.drops(address, 6*time.Second, p.loseMajority())
		p.restore()
		back := time.Now()
		p.owner(address, p.hosts...)
		p.within(8*time.Second, back, "coming back")
	})
}

// bash runs a line on a host.
func (h *planeHost) bash(t *testing.T, line string) {
	t.Helper()
	if out, err := h.Run(t.Context(), "/bin/bash", "-euc", line); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

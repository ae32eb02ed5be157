package etcdtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Place is where a member lives: this machine, or a namespace.
type Place struct {
	// Client, Peer and Metrics are where the member listens.
	Client, Peer, Metrics netip.AddrPort
	// Proxy, if valid, is where clients are told to go instead of Client: a
	// proxy of this program forwards from there.
	Proxy netip.AddrPort
	// Dir holds the member's files; it exists, and is for this member alone.
	Dir string
	// Write writes a file of the member.
	Write func(path, content string, mode os.FileMode) error
	// Run starts a program.
	Run func(name, path string, args ...string) (Process, error)
	// Dial reaches the addresses of the member.
	Dial func(network, address string) (net.Conn, error)
}

// A Process is a started program.
type Process interface {
	// Signal does nothing once the process has ended.
	Signal(syscall.Signal) error
	Done() <-chan struct{}
}

// A Member is one etcd of a cluster.
type Member struct {
	Name string

	place   Place
	binary  string
	cluster *Cluster
	proxy   *proxy

	mu      sync.Mutex
	process Process
	paused  bool
}

func (m *Member) data() string  { return filepath.Join(m.place.Dir, "data") }
func (m *Member) saved() string { return filepath.Join(m.place.Dir, "saved") }

func (m *Member) configPath() string { return filepath.Join(m.place.Dir, m.Name+".yml") }

// configure writes what etcd's --config-file reads. The gateway is said
// explicitly because etcd 3.4 leaves it out when it has a configuration file.
// The data of a test need not survive a loss of power, hence no fsync; nor does anybody
// attack its passwords, hence the least cost of their hashes.
func (m *Member) configure(peers, token string) error {
	p, c := m.place, m.cluster
	text := fmt.Sprintf(`name: %s
data-dir: %s
listen-client-urls: %s%s
advertise-client-urls: %s
listen-peer-urls: http://%s
initial-advertise-peer-urls: http://%s
listen-metrics-urls: http://%s
initial-cluster: %s
initial-cluster-token: %s
initial-cluster-state: new
enable-grpc-gateway: true
unsafe-no-fsync: true
bcrypt-cost: 4
logger: zap
log-level: info
log-outputs: [stderr]
`, m.Name, m.data(), c.scheme(), p.Client, m.Endpoint(), p.Peer, p.Peer, p.Metrics, peers, token)
	if n := c.options.MaxTxnOps; n > 0 {
		text += fmt.Sprintf("max-txn-ops: %d\n", n)
	}
	if c.ca != nil {
		// For the gateway, which is a client of its own member, the server's
		// certificate is a client's as well.
		cert, key, err := c.ca.issue(m.Name, m.Name, time.Hour, m.place.Client.Addr())
		if err != nil {
			return err
		}
		text += fmt.Sprintf("client-transport-security: {cert-file: %q, key-file: %q, trusted-ca-file: %q, client-cert-auth: true}\n", cert, key, c.ca.file)
	}
	if err := p.Write(m.configPath(), text, 0o600); err != nil {
		return err
	}
	if p.Proxy.IsValid() && m.proxy == nil {
		m.proxy = newProxy(p.Proxy.String(), func() (net.Conn, error) { return p.Dial("tcp", p.Client.String()) })
		return m.proxy.open()
	}
	return nil
}

// Endpoint returns the member's URL for clients.
func (m *Member) Endpoint() string {
	at := m.place.Client
	if m.place.Proxy.IsValid() {
		at = m.place.Proxy
	}
	return m.cluster.scheme() + at.String()
}

// Running reports whether the member's process lives and is not paused.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || m.paused {
		return false
	}
	select {
	case <-m.process.Done():
		return false
	default:
		return true
	}
}

// Restart starts the member with the data it has, after Kill. It does not wait
// until it serves; [Cluster.Ready] does.
func (m *Member) Restart() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		return fmt.Errorf("restart %s: it runs", m.Name)
	}
	p, err := m.place.Run(m.Name, m.binary, "--config-file", m.configPath())
	if err != nil {
		return err
	}
	m.process = p
	return nil
}

// Kill ends the process by SIGKILL and returns when it is gone. Its proxy stays.
func (m *Member) Kill() error { return m.end(unix.SIGKILL) }

// Stop is Kill by SIGTERM, on which a leader leaves the lead to another member.
func (m *Member) Stop() error { return m.end(unix.SIGTERM) }

func (m *Member) end(sig syscall.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	if err := m.process.Signal(sig); err != nil {
		return err
	}
	<-m.process.Done()
	m.process, m.paused = nil, false
	return nil
}

// Pause freezes the process: connections stay, nothing is answered.
func (m *Member) Pause() error { return m.signal(unix.SIGSTOP, true) }

// Resume ends Pause.
func (m *Member) Resume() error { return m.signal(unix.SIGCONT, false) }

func (m *Member) signal(sig syscall.Signal, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return fmt.Errorf("%v %s: it does not run", sig, m.Name)
	}
	if err := m.process.Signal(sig); err != nil {
		return err
	}
	m.paused = paused
	return nil
}

// Cut closes all connections of clients and refuses new ones.
func (m *Member) Cut() { m.proxy.cut() }

// Hang keeps connections, and takes new ones, but carries nothing any more.
func (m *Member) Hang() { m.proxy.set(func(p *proxy) { p.hung = true }) }

// Delay carries everything later by d, in each direction.
func (m *Member) Delay(d time.Duration) { m.proxy.set(func(p *proxy) { p.delay = d }) }

// Heal ends Cut, Hang and Delay. Bytes that were sent meanwhile over a
// hung connection arrive.
func (m *Member) Heal() error {
	m.proxy.set(func(p *proxy) { p.hung, p.delay = false, 0 })
	return m.proxy.open()
}

// Metric returns the value of one of the member's metrics without labels, "" if
// there is no answer.
func (m *Member) Metric(ctx context.Context, name string) string { return m.Metrics(ctx)[name] }

// Metrics returns the values of all metrics of the member by their names, with labels
// where there are any; nil if there is no answer.
func (m *Member) Metrics(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.place.Metrics.String()+"/metrics", nil)
	if err != nil {
		return nil
	}
	answer, err := m.cluster.http.Do(r)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	values := map[string]string{}
	for s := bufio.NewScanner(answer.Body); s.Scan(); {
		if at := strings.LastIndexByte(s.Text(), ' '); at > 0 && s.Text()[0] != '#' {
			values[s.Text()[:at]] = s.Text()[at+1:]
		}
	}
	return values
}

// tail returns the last lines that a member of this machine has logged.
func (m *Member) tail() string {
	text, err := os.ReadFile(logPath(m.place.Dir, m.Name))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(text, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// dial reaches a member wherever it lives.
func (c *Cluster) dial(_ context.Context, network, address string) (net.Conn, error) {
	for _, m := range c.members {
		if address == m.place.Client.String() || address == m.place.Metrics.String() {
			return m.place.Dial(network, address)
		}
	}
	return nil, errors.New("not an address of a member")
}

package etcdtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BinaryEnv names the variable that holds the path of the etcd to start instead
// of the installed one.
const BinaryEnv = "BERTH_TEST_ETCD"

// requireEnv turns a missing etcd from a skipped test into a failed one. It is
// the variable of all tests that need more than a user's machine has.
const requireEnv = "BERTH_TEST_REQUIRE_ROOT"

// waitLimit bounds each wait of this package that has no context of its caller.
const waitLimit = 30 * time.Second

// Binary finds the etcd to start.
func Binary() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		return filepath.Abs(path)
	}
	path, err := exec.LookPath("etcd")
	if err != nil {
		return "", fmt.Errorf("needs etcd: apt-get install etcd-server: %w", err)
	}
	return path, nil
}

// Options are what differs between clusters. The zero value is an open cluster.
type Options struct {
	// TLS makes members ask clients for a certificate of the cluster's CA.
	TLS bool
	// User, if not empty, turns authentication on. It is a user with all
	// rights, whose password is Password.
	User, Password string
	// MaxTxnOps is etcd's --max-txn-ops; 0 for etcd's default, 128.
	MaxTxnOps int
}

// A Cluster is a number of members that have each other as peers. Its methods
// are safe for concurrent use.
type Cluster struct {
	members []*Member
	options Options
	ca      *authority
	dir     string
	http    *http.Client
}

// Start starts a cluster on loopback and waits until it has a leader. It ends
// with the test; what the members said is shown if the test failed. Without an
// etcd the test is skipped.
func Start(t testing.TB, members int, o Options) *Cluster {
	t.Helper()
	binary, err := Binary()
	if err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	places, err := local(t.TempDir(), members)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(binary, t.TempDir(), places, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, m := range c.members {
				t.Logf("%s said at last:\n%s", m.Name, m.tail())
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if o.User != "" {
		if err := c.authenticate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// New starts a cluster with a member at each place, and does not wait for it.
// The CA and certificates are kept in dir. Close must be called.
func New(binary, dir string, places []Place, o Options) (*Cluster, error) {
	c := &Cluster{options: o, dir: dir}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true}}
	if o.TLS {
		ca, err := newAuthority(dir)
		if err != nil {
			return nil, err
		}
		c.ca = ca
	}
	for i, p := range places {
		m := &Member{Name: fmt.Sprintf("etcd%d", i+1), place: p, binary: binary, cluster: c}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		err := m.configure(c.peers(), "berth-test")
		if err == nil {
			err = m.Restart()
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("start %s: %w", m.Name, err)
		}
	}
	return c, nil
}

func (c *Cluster) peers() string {
	var peers []string
	for _, m := range c.members {
		peers = append(peers, m.Name+"=http://"+m.place.Peer.String())
	}
	return strings.Join(peers, ",")
}

// Close ends all members at once, as a power cut does, and their proxies.
func (c *Cluster) Close() {
	for _, m := range c.members {
		m.Kill()
		if m.proxy != nil {
			m.proxy.close()
		}
	}
}

// Members returns all members, running or not.
func (c *Cluster) Members() []*Member { return c.members }

// Member returns the i-th member, counted from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Endpoints returns the URL of each member for clients.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.Endpoint())
	}
	return urls
}

// Ready waits until every member that runs knows a leader.
func (c *Cluster) Ready(ctx context.Context) error {
	return c.until(ctx, "all members to know a leader", func() bool {
		for _, m := range c.members {
			if m.Running() && m.Metric(ctx, "etcd_server_has_leader") != "1" {
				return false
			}
		}
		return c.Leader(ctx) != nil
	})
}

// Leader returns the running member that leads, nil if no member says that it does.
func (c *Cluster) Leader(ctx context.Context) *Member {
	for _, m := range c.members {
		if m.Running() && m.Metric(ctx, "etcd_server_is_leader") == "1" {
			return m
		}
	}
	return nil
}

// until polls, because a member does not report by itself.
func (c *Cluster) until(ctx context.Context, what string, cond func() bool) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !cond() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// askTime bounds a request to one member, before the next member is asked.
const askTime = time.Second

// Call sends a request to the JSON gateway of a running member, past its proxy:
// method as in "kv/range", request and reply as encoding/json has them. reply
// may be nil. Keys and values are []byte in both. It has no user, so with one
// in the options members refuse it.
func (c *Cluster) Call(ctx context.Context, method string, request, reply any) error {
	var errs []error
	for _, m := range c.members {
		if !m.Running() {
			continue
		}
		limit := askTime
		if len(c.members) == 1 { // there is no other member to ask
			limit = waitLimit
		}
		asking, cancel := context.WithTimeout(ctx, limit)
		err := m.call(asking, method, request, reply)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s of %s: %w", method, m.Name, err))
	}
	return errors.Join(append(errs, errors.New("no member has answered"))...)
}

func (m *Member) call(ctx context.Context, method string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	client := m.cluster.http
	if ca := m.cluster.ca; ca != nil {
		if client, err = ca.client(m.cluster.dial); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.cluster.scheme()+m.place.Client.String()+"/v3/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(text))
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, reply)
}

// authenticate makes the user and demands one of every client from now on.
func (c *Cluster) authenticate(ctx context.Context) error {
	type object map[string]string
	users := []string{"root"}
	if c.options.User != "root" {
		users = append(users, c.options.User)
	}
	// The first member has the time of ctx: hashing a password takes long on purpose,
	// and a second request would find that the user exists.
	m := c.members[0]
	if err := m.call(ctx, "auth/role/add", object{"name": "root"}, nil); err != nil {
		return err
	}
	for _, u := range users {
		if err := m.call(ctx, "auth/user/add", object{"name": u, "password": c.options.Password}, nil); err != nil {
			return err
		}
		if err := m.call(ctx, "auth/user/grant", object{"user": u, "role": "root"}, nil); err != nil {
			return err
		}
	}
	return m.call(ctx, "auth/enable", object{}, nil)
}

func (c *Cluster) scheme() string {
	if c.options.TLS {
		return "https://"
	}
	return "http://"
}

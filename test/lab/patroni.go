package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
)

// A Patroni is a member of a Patroni cluster on a node, and its PostgreSQL. All members
// of one scope and one etcd are one cluster; the first to start makes the database.
type Patroni struct {
	Node *testnet.Node
	// Process is the Patroni that Start has started last. Its PostgreSQL is not a child
	// of it, and outlives it.
	Process *testnet.Process

	at   netip.Addr
	keep func(*testnet.Log)
}

// PatroniPrograms are what a node with a Patroni needs to have installed.
var PatroniPrograms = []string{"patroni", "patronictl", "setpriv"}

// Times of the cluster: the least ttl that Patroni takes, and a loop and a patience with
// etcd that fit a test.
const (
	PatroniTTL          = 20 * time.Second
	patroniLoopWait     = time.Second
	patroniRetryTimeout = 3 * time.Second
)

// Where things are on the node. PostgreSQL refuses to run as root.
const (
	patroniConf     = "/run/patroni.yml"
	patroniDir      = "/run/patroni"
	patroniUser     = "postgres"
	patroniPassword = "lab"
	patroniREST     = "http://127.0.0.1:8008"
)

// PostgresBin returns the directory of the newest PostgreSQL that is installed.
func PostgresBin() (string, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(all) == 0 {
		return "", errors.Join(errors.New("needs PostgreSQL: apt-get install postgresql"), err)
	}
	slices.Sort(all)
	return filepath.Dir(all[len(all)-1]), nil
}

// NewPatroni writes the configuration of a member, which is named after its node. at is
// the address of the node by which the members reach each other, etcd those of etcd's
// members. The output of its processes goes to keep.
func NewPatroni(n *testnet.Node, at netip.Addr, etcd []netip.AddrPort, keep func(*testnet.Log)) (*Patroni, error) {
	bin, err := PostgresBin()
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, e := range etcd {
		hosts = append(hosts, e.String())
	}
	conf := fmt.Sprintf(`scope: lab
name: %[1]s
restapi: {listen: "0.0.0.0:8008", connect_address: "%[2]v:8008"}
etcd3: {hosts: [%[3]s]}
bootstrap:
  dcs:
    ttl: %[4]d
    loop_wait: %[5]d
    retry_timeout: %[6]d
    postgresql: {use_pg_rewind: true, parameters: {fsync: "off", wal_log_hints: "on"}}
  initdb: [encoding: UTF8, no-sync]
  pg_hba: [host all all 0.0.0.0/0 trust, host replication all 0.0.0.0/0 trust, local all all trust]
postgresql:
  listen: "0.0.0.0:5432"
  connect_address: "%[2]v:5432"
  data_dir: %[7]s/data
  bin_dir: %[8]s
  pgpass: %[7]s/pgpass
  basebackup: [no-sync, checkpoint: fast]
  authentication:
    superuser: {username: postgres, password: %[9]s}
    replication: {username: replicator, password: %[9]s}
    rewind: {username: rewind, password: %[9]s}
  # mmap leaves nothing in the machine's /dev/shm.
  parameters: {unix_socket_directories: %[7]s, dynamic_shared_memory_type: mmap, max_connections: 50, shared_buffers: 16MB, log_line_prefix: "%[1]s "}
`, n.Name, at, strings.Join(hosts, ", "), PatroniTTL/time.Second, patroniLoopWait/time.Second, patroniRetryTimeout/time.Second, patroniDir, bin, patroniPassword)
	if err := n.WriteFile(patroniConf, conf, 0o644); err != nil {
		return nil, err
	}
	p := &Patroni{Node: n, at: at, keep: keep}
	// /usr/bin/install knows users by name.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = n.Run(ctx, "/usr/bin/install", "-d", "-m", "0700", "-o", patroniUser, "-g", patroniUser, patroniDir)
	return p, err
}

// Start starts Patroni, which starts PostgreSQL if it does not run.
func (p *Patroni) Start() error {
	setpriv, err := testnet.Program("setpriv")
	if err != nil {
		return err
	}
	patroni, err := testnet.Program("patroni")
	if err != nil {
		return err
	}
	p.Process, err = p.Node.Start("patroni", setpriv, "--reuid", patroniUser, "--regid", patroniUser, "--init-groups", patroni, patroniConf)
	if err == nil {
		p.keep(p.Process.Log)
	}
	return err
}

// Status asks for a role, such as "leader", and returns the status of the answer, 0 if
// there is none.
func (p *Patroni) Status(ctx context.Context, role string) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	via := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
		err = p.Node.Do(func() error {
			c, err = net.DialTimeout(network, address, time.Second)
			return err
		})
		return c, err
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, patroniREST+"/"+role, nil)
	if err != nil {
		return 0
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Switchover hands the lead over to another member.
func (p *Patroni) Switchover(ctx context.Context, to *Patroni) error {
	ctl, err := testnet.Program("patronictl")
	if err != nil {
		return err
	}
	out, err := p.Node.Run(ctx, ctl, "-c", patroniConf, "switchover", "--master", p.Node.Name, "--candidate", to.Node.Name, "--force", "lab")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// PrimaryHere is a query for the name of the node whose PostgreSQL answers, followed by
// " t" if that is a primary, or " f".
const PrimaryHere = "SELECT current_setting('log_line_prefix') || CASE WHEN pg_is_in_recovery() THEN 'f' ELSE 't' END"

// Query asks the PostgreSQL at an address from a node and returns the one value of the
// answer.
func Query(ctx context.Context, from *testnet.Node, at netip.Addr, sql string) (string, error) {
	bin, err := PostgresBin()
	if err != nil {
		return "", err
	}
	out, err := from.Run(ctx, filepath.Join(bin, "psql"), "-XAtq", "-c", sql,
		fmt.Sprintf("host=%v user=postgres dbname=postgres connect_timeout=2 password=%s", at, patroniPassword))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(out), nil
}

// Freeze stops Patroni's process, and Thaw lets it go on. PostgreSQL is not touched.
func (p *Patroni) Freeze() error { return p.Process.Signal(unix.SIGSTOP) }

// Thaw is Freeze's opposite.
func (p *Patroni) Thaw() error { return p.Process.Signal(unix.SIGCONT) }

// Kill ends Patroni by SIGKILL and returns when it is gone. PostgreSQL goes on.
func (p *Patroni) Kill() error {
	if err := p.Process.Signal(unix.SIGKILL); err != nil {
		return err
	}
	<-p.Process.Done()
	return nil
}

// PatroniAvailable returns nil if the programs of a Patroni are installed.
func PatroniAvailable() error {
	if _, err := PostgresBin(); err != nil {
		return err
	}
	_, err := os.Stat("/usr/lib/python3/dist-packages/etcd")
	if err != nil {
		return errors.New("needs python3-etcd: apt-get install python3-etcd")
	}
	return testnet.Available(PatroniPrograms...)
}

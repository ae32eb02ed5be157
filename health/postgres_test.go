package health_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/health"
	"berth/internal/testnet"
	"berth/test/lab"

	"golang.org/x/sys/unix"
)

// server is a PostgreSQL server of a test.
type server struct {
	cmd  *exec.Cmd
	port string // at 127.0.0.1, with passwords
	dir  string // of the socket, without passwords
}

// newServer makes a cluster of the user postgres and starts its server. The user berth
// has a password.
func newServer(t *testing.T) *server {
	t.Helper()
	bin, err := lab.PostgresBin()
	if os.Geteuid() != 0 || err != nil {
		const reason = "needs root, who becomes postgres, and PostgreSQL: apt-get install postgresql"
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	// A socket's path is short, see unix(7); and the directories of t.TempDir are root's.
	dir, err := os.MkdirTemp("/tmp", "berth-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := as("initdb", "-D", data, "-A", "trust", "-N", "--locale=C", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	hba := "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{port: port, dir: dir}
	s.cmd = as("postgres", "-D", data, "-k", dir, "-h", "127.0.0.1", "-p", port, "-F")
	var log bytes.Buffer
	s.cmd.Stderr = &log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(unix.SIGCONT)
		_ = s.cmd.Process.Signal(unix.SIGQUIT) // an immediate shutdown, which ends its children
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("the server's log:\n%s", log.String())
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); look(t, s.query("SELECT 1", "1").Check) != ""; {
		if time.Since(begin) > time.Minute {
			t.Fatal("the server does not start")
		}
		<-tick.C
	}
	for _, statement := range []string{"CREATE ROLE berth LOGIN PASSWORD 'S3CRET pass''word'", "CREATE TABLE t (x int); INSERT INTO t VALUES (7)"} {
		if out, err := exec.Command(filepath.Join(bin, "psql"), "-h", dir, "-p", port, "-U", "postgres", "-qc", statement).CombinedOutput(); err != nil {
			t.Fatalf("psql: %v\n%s", err, out)
		}
	}
	return s
}

// query is a check by the socket as the superuser.
func (s *server) query(query, expect string) health.Postgres {
	return pg(fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", s.dir, s.port), query, expect)
}

func pg(dsn, query, expect string) health.Postgres {
	return health.Postgres{DSN: func() (string, error) { return dsn, nil }, Query: query, Expect: expect}
}

func TestPostgres(t *testing.T) {
	s := newServer(t)
	tcp := "host=127.0.0.1 port=" + s.port + " user=berth dbname=postgres "
	for _, tt := range []struct {
		name  string
		check health.Postgres
		want  string
	}{
		{"default", s.query("SELECT 1", ""), ""},
		{"expected", s.query("SELECT x FROM t", "7"), ""},
		{"boolean", s.query("SELECT NOT pg_is_in_recovery()", "t"), ""},
		{"other value", s.query("SELECT pg_is_in_recovery()", "t"), `the query returned "f", which is not the text of expect`},
		{"NULL", s.query("SELECT NULL", "x"), `the query returned "", which is not the text of expect`},
		{"no row", s.query("SELECT x FROM t WHERE x = 8", "8"), "the query returned no row"},
		{"no row, and nothing is expected", s.query("SELECT x FROM t WHERE x = 8", ""), ""},
		{"first row of many", s.query("SELECT generate_series(1, 100000)", "1"), ""},
		{"no column", s.query("SELECT FROM t", "x"), `the query returned "", which is not the text of expect`},
		{"mistake in the query", s.query("SELEKT 1", ""), `ERROR: syntax error at or near "SELEKT" (SQLSTATE 42601)`},
		{"error while rows are sent", s.query("SELECT 1/(2-x) FROM generate_series(1,2) x", "1"), "ERROR: division by zero (SQLSTATE 22012)"},
		{"two statements", s.query("SELECT 1; SELECT 2", ""), "ERROR: cannot insert multiple commands into a prepared statement (SQLSTATE 42601)"},
		{"query that hangs", s.query("SELECT pg_sleep(60)", ""), "timed out after 500ms"},
		{"password", pg(tcp+`password='S3CRET pass\'word'`, "SELECT 1", "1"), ""},
		{"password of a URL", pg("postgres://berth:S3CRET%20pass%27word@127.0.0.1:"+s.port+"/postgres", "SELECT 1", "1"), ""},
		{"wrong password", pg(tcp+"password=S3CRET", "SELECT 1", "1"), `FATAL: password authentication failed for user "berth" (SQLSTATE 28P01)`},
		{"no password", pg(tcp, "SELECT 1", "1"), ""},
		{"no such database", pg(tcp+`password='S3CRET pass\'word' dbname=nosuch`, "SELECT 1", "1"), `FATAL: database "nosuch" does not exist (SQLSTATE 3D000)`},
		{"session that must be read-only", pg(tcp+`password='S3CRET pass\'word' target_session_attrs=read-only`, "SELECT 1", "1"), ""},
		{"nobody listens", pg("host=127.0.0.1 port=1 user=berth password=S3CRET", "SELECT 1", "1"), "connect: connection refused"},
		{"no socket", pg("host=/nowhere user=berth password=S3CRET", "SELECT 1", "1"), "no such file or directory"},
		{"no connection string", pg("password=S3CRET = 'S3CRET", "SELECT 1", "1"), "dsn: not a connection string of PostgreSQL; write one"},
		{"no authorities", pg("host=h user=berth password=S3CRET sslmode=verify-full sslrootcert=/nowhere/ca.pem", "SELECT 1", "1"), "dsn: open /nowhere/ca.pem: no such file or directory"},
		{"no file", health.Postgres{DSN: func() (string, error) { return "", errors.New("open /d: no such file or directory") }}, "dsn-file: open /d: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := within(t, tt.check.Check, timeFor(tt.want))
			fails := tt.want != "" || tt.name == "no password" || strings.Contains(tt.name, "read-only")
			if fails != (got != "") || !strings.Contains(got, tt.want) {
				t.Errorf("got the reason %q, want %q", got, tt.want)
			}
			if strings.Contains(got, "S3CRET") || strings.Contains(got, "\n") {
				t.Errorf("the reason has a secret, or two lines: %q", got)
			}
		})
	}
}

// There is nothing to cancel in a server that has refused a query, and nothing to wait for.
func TestPostgresThatRefusesAQueryIsNotWaitedFor(t *testing.T) {
	s := newServer(t)
	least := time.Hour
	for range 5 { // a busy machine is slow now and then
		begin := time.Now()
		if got := look(t, s.query("SELECT nosuch", "").Check); !strings.Contains(got, "nosuch") {
			t.Fatalf("got the reason %q", got)
		}
		least = min(least, time.Since(begin))
	}
	if least > 400*time.Millisecond {
		t.Errorf("took %v", least)
	}
	leavesNothing(t)
}

// A query that hangs must not fill the server with queries that nobody waits for.
func TestPostgresCancelsAQueryThatHangs(t *testing.T) {
	s := newServer(t)
	for range 3 {
		if got := within(t, s.query("SELECT pg_sleep(600)", "").Check, brief); got != "timed out after 500ms" {
			t.Fatalf("got %q", got)
		}
	}
	running := s.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "0")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); look(t, running.Check) != ""; <-tick.C {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("queries go on in the server: %s", look(t, running.Check))
		}
	}
	leavesNothing(t)
}

// leavesNothing waits until no goroutine of the library is left.
func leavesNothing(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	stacks := make([]byte, 1<<20)
	for begin := time.Now(); ; <-tick.C {
		all := stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(all, []byte("jackc/pgx")) {
			return
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("goroutines are left:\n%s", all)
		}
	}
}

// A server that is frozen, as by SIGSTOP, accepts connections and says nothing. Neither a
// goroutine nor a connection outlives the run.
func TestPostgresThatIsFrozen(t *testing.T) {
	s := newServer(t)
	if err := s.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range 5 {
		running.Go(func() {
			ctx, cancel := context.WithTimeoutCause(t.Context(), brief, errors.New("timed out"))
			defer cancel()
			begin := time.Now()
			if err := s.query("SELECT 1", "").Check(ctx); err == nil || err.Error() != "timed out" {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	running.Wait()
	leavesNothing(t)
}

// The cancellation of a query is not waited for longer than a moment either.
func TestPostgresThatFreezesDuringAQuery(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.query("SELECT pg_sleep(600)", "").Check(ctx) }()
	running := s.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "1")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if look(t, running.Check) == "" {
			break
		}
		<-tick.C
	}
	if err := s.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cancel(errors.New("timed out"))
	if err := <-done; err == nil || err.Error() != "timed out" {
		t.Errorf("got %v", err)
	}
	leavesNothing(t)
}

// A server, or a program between, that repeats what it was told.
func TestPostgresRepeatsNoPassword(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		// ErrorResponse, https://www.postgresql.org/docs/current/protocol-message-formats.html
		text := "SFATAL\x00C28000\x00Mnot with S3CRET\x00\x00"
		_, _ = c.Write(append([]byte{'E', 0, 0, 0, byte(len(text) + 4)}, text...))
	}()
	defer func() { l.Close(); <-done }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	got := look(t, pg("host=127.0.0.1 sslmode=disable user=u password=S3CRET port="+port, "SELECT 1", "").Check)
	if !strings.Contains(got, "FATAL: not with ***** (SQLSTATE 28000)") {
		t.Errorf("got the reason %q", got)
	}
}

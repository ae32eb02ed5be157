package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres is a query to a PostgreSQL server. All is well if the query succeeds and,
// where Expect is set, the first column of the first row is that text.
type Postgres struct {
	// DSN returns the connection string, in either form of libpq
	// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING).
	DSN    func() (string, error)
	Query  string // one statement
	Expect string
}

const (
	// maxMessage bounds a message of the server, in bytes.
	maxMessage = 1 << 20
	// maxShown bounds how much of a value is shown, in bytes.
	maxShown = 64
	// cancelTime is how long the server has to take note that a query is given up. A
	// query that went on in the server would hold one of its connections, each run one more.
	cancelTime = 500 * time.Millisecond
)

// Check is a Check. A query that has not ended with ctx is cancelled.
func (p Postgres) Check(ctx context.Context) error {
	conf, err := p.config()
	if err != nil {
		return err
	}
	var d conns
	conf.DialFunc = d.dial
	defer d.close()
	conn, err := pgconn.ConnectConfig(ctx, conf)
	if err != nil {
		return p.reason(ctx, conf, err)
	}
	result := conn.ExecParams(ctx, p.Query, nil, nil, nil, nil)
	value, found := "", false
	if found = result.NextRow(); found && len(result.Values()) > 0 {
		value = string(result.Values()[0])
	}
	_, err = result.Close()
	if err != nil {
		err = p.reason(ctx, conf, err) // before ctx ends, which would be the reason then
	}
	if conn.IsClosed() { // the end of ctx has ended the connection, and pgconn cancels the query
		select {
		case <-conn.CleanupDone():
		case <-time.After(cancelTime):
		}
	}
	_ = conn.Close(ctx)
	if err != nil {
		return err
	}
	switch {
	case p.Expect == "" || found && value == p.Expect:
		return nil
	case !found:
		return errors.New("the query returned no row")
	}
	return reasonOf(ctx, fmt.Errorf("the query returned %q, which is not the text of expect", value[:min(len(value), maxShown)]))
}

// Usable returns an error while there is no connection string.
func (p Postgres) Usable() error {
	_, err := p.config()
	return err
}

// config returns the configuration of a connection. No error shows a part of the
// connection string: where it has a mistake, no program can tell what is a password.
func (p Postgres) config() (*pgconn.Config, error) {
	dsn, err := p.DSN()
	if err != nil {
		return nil, fmt.Errorf("dsn-file: %w", err)
	}
	conf, err := pgconn.ParseConfig(dsn)
	if err != nil {
		if file, ok := errors.AsType[*fs.PathError](err); ok { // of sslrootcert, sslcert or sslkey
			return nil, fmt.Errorf("dsn: %w", file)
		}
		return nil, errors.New("dsn: not a connection string of PostgreSQL; write one such as \"host=127.0.0.1 user=berth dbname=postgres\"")
	}
	conf.MaxProtocolMessageBodyLen = maxMessage
	if _, set := conf.RuntimeParams["application_name"]; !set {
		conf.RuntimeParams["application_name"] = userAgent
	}
	return conf, nil
}

// reason returns the reason of a failure, without the password.
func (p Postgres) reason(ctx context.Context, conf *pgconn.Config, err error) error {
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = e.Unwrap() // beside the user and the database
	}
	text := err.Error()
	if conf.Password != "" {
		text = strings.ReplaceAll(text, conf.Password, "*****")
	}
	return reasonOf(ctx, errors.New(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", "; ")), " ")))
}

// conns are the connections of one run: the first, and one that cancels its query. The
// library ends these in the background, for which no run waits.
type conns struct {
	mu     sync.Mutex
	over   bool
	opened []net.Conn
}

var errOver = errors.New("the run has ended")

func (d *conns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		c.Close()
		return nil, errOver
	}
	d.opened = append(d.opened, c)
	return c, nil
}

// close closes all connections, those to come included.
func (d *conns) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	for _, c := range d.opened {
		c.Close()
	}
}

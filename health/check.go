package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Check looks once. It returns nil if all is well, or else why not, in words that may be
// shown to every user of the host. It returns soon after ctx has ended.
type Check func(ctx context.Context) error

// Kind is a check with its target, of one of the kinds of this package.
type Kind interface {
	// Check is a Check.
	Check(ctx context.Context) error
	// Usable returns an error while a file or program that the check needs at each run is
	// not there or cannot be used. It makes no connection.
	Usable() error
}

// maxReason bounds a reason, in bytes.
const maxReason = 256

// line returns the first line of a text of another program that is not empty, without
// what would disturb a terminal or a table, cut to the length of a reason.
func line(text string) string { return cut(first(text)) }

// first is line, of any length.
func first(text string) string {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return ' '
			case !unicode.IsGraphic(r), r == utf8.RuneError:
				return -1
			}
			return r
		}, l))
		if l != "" {
			return l
		}
	}
	return ""
}

// cut cuts a line to the length of a reason.
func cut(l string) string {
	if len(l) > maxReason {
		return strings.ToValidUTF8(l[:maxReason], "") + "..."
	}
	return l
}

// reasonOf returns the text of an error as a reason. A deadline that has passed is told
// in one way, because each library has words of its own for it.
func reasonOf(ctx context.Context, err error) error {
	if d, set := ctx.Deadline(); set && !time.Now().Before(d) {
		<-ctx.Done() // the timer of a connection can be a moment earlier
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := line(err.Error())
	if text == "" {
		text = fmt.Sprintf("failed without a reason (%T)", err)
	}
	return errors.New(text)
}

// network returns the network and the address to dial for an address of the
// configuration: host and port, or unix: and a path.
func network(address string) (network, target string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}

// connect connects to an address of the configuration.
func connect(ctx context.Context, address string) (net.Conn, error) {
	network, target := network(address)
	var d net.Dialer
	return d.DialContext(ctx, network, target)
}

// dial is connect for a connection whose reads and writes end with ctx.
func dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return bound{c, stop}, nil
}

// bound is a connection that ends with a context.
type bound struct {
	net.Conn
	stop func() bool
}

// Close closes the connection.
func (b bound) Close() error {
	b.stop()
	return b.Conn.Close()
}

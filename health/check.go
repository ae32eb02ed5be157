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
// what would disturb a terminal or a table.
func line(text string) string {
	for l := range strings.Lines(text) {
		l = strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return ' '
			case !unicode.IsGraphic(r), r == utf8.RuneError:
				return -1
			}
			return r
		}, l)
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if len(l) > maxReason {
			l = strings.ToValidUTF8(l[:maxReason], "") + "..."
		}
		return l
	}
	return ""
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

// dial connects to an address of the configuration. The connection ends with ctx.
func dial(ctx context.Context, address string) (net.Conn, error) {
	network, target := network(address)
	var d net.Dialer
	c, err := d.DialContext(ctx, network, target)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	return c, nil
}

package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// TCP is a connection to a server. The server is well if it accepts the connection and
// its first bytes contain the banner.
type TCP struct {
	Address string // host and port, or unix: and the path of a socket
	Banner  string // empty: the connection is enough
}

// maxBanner bounds how far into what a server says the banner may be, in bytes.
const maxBanner = 4 << 10

// Check is a Check.
func (c TCP) Check(ctx context.Context) error {
	conn, err := dial(ctx, c.Address)
	if err != nil {
		return reasonOf(ctx, err)
	}
	defer conn.Close()
	said := make([]byte, 0, maxBanner)
	for !bytes.Contains(said, []byte(c.Banner)) {
		if len(said) == maxBanner {
			return fmt.Errorf("the banner is not in the first %d bytes", maxBanner)
		}
		n, err := conn.Read(said[len(said):maxBanner])
		said = said[:len(said)+n]
		if n > 0 {
			continue
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the server closed the connection after %d bytes, without the banner", len(said))
		}
		return reasonOf(ctx, err)
	}
	return nil
}

// Usable returns nil: a connection needs no file.
func (c TCP) Usable() error { return nil }

// Package fake is the provider that has no cloud behind it: it tells on a stream
// what would be done, as floaty does with --dry-run, and calls nobody. It is for
// people who want to see what berth does; tests use the simulator instead.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
	"berth/providers/none"
	"berth/vrrp"
)

// Entry registers the provider. It has no keys. Whoever asks for a provider
// instead of a Printer gets that of nobody: every address is here already.
var Entry = providers.Entry{
	Check: check,
	New: func(d providers.Deps, node *yaml.Node) (providers.Provider, error) {
		if err := check(node); err != nil {
			return nil, err
		}
		return none.Entry.New(d, nil)
	},
}

func check(node *yaml.Node) error {
	return section.Read("fake", node, nil).Err()
}

// Printer writes a line for each refresh that its targets would do, and logs one for
// each call that it does not make.
type Printer struct {
	mu  sync.Mutex // one line at a time
	w   io.Writer
	log *zap.Logger
}

// NewPrinter returns a Printer on w; a nil log means none.
func NewPrinter(w io.Writer, log *zap.Logger) *Printer {
	if log == nil {
		log = zap.NewNop()
	}
	return &Printer{w: w, log: log}
}

// Target is one floating IP that only seems to be pointed at this host.
type Target struct {
	printer *Printer
	ip      vrrp.FloatingIP
	check   func(context.Context) error
}

// Target returns the target for a floating IP; check is as for
// providers.Account.
func (p *Printer) Target(ip vrrp.FloatingIP, check func(context.Context) error) *Target {
	return &Target{printer: p, ip: ip, check: check}
}

// String names the provider and the address.
func (t *Target) String() string { return "fake " + t.ip.Addr().String() }

// Ensure writes "REFRESH ", the address as configured and a newline in one call
// of Write. changed is true for the first claim of a holding only, as if nobody
// ever interfered.
func (t *Target) Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error) {
	if err := t.check(ctx); err != nil {
		return "", false, err
	}
	t.printer.mu.Lock()
	defer t.printer.mu.Unlock()
	message := "would look whether floating IP points here"
	if claimFirst {
		message = "would point floating IP here"
	}
	t.printer.log.Info(message, zap.String("address", t.ip.String()), zap.Bool("dry_run", true))
	_, err = fmt.Fprintf(t.printer.w, "REFRESH %s\n", t.ip)
	// Nobody reads any more: that must not look like a failing cloud.
	if errors.Is(err, io.ErrClosedPipe) {
		err = nil
	}
	if err != nil {
		return "", false, fmt.Errorf("print refresh of %s: %w", t.ip, err)
	}
	return "", claimFirst, nil
}

// Close does nothing; a target of an account has one.
func (t *Target) Close() {}

// Package fake is the provider that has no cloud behind it: it writes to a stream
// what berth would do, as floaty does with --dry-run, and makes no call. It is for
// users who want to see what berth does; tests use the simulator instead.
package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/internal/journal"
	"berth/internal/section"
	"berth/providers"
	"berth/providers/none"
	"berth/vrrp"
)

// Entry registers the provider. It has no keys. Its New returns the provider none,
// for which every address is here already; the lines are written by a Printer.
var Entry = providers.Entry{
	Check: check,
	New: func(d providers.Deps, node *yaml.Node) (providers.Provider, error) {
		if err := check(node); err != nil {
			return nil, err
		}
		return none.Entry.New(d, nil)
	},
	Events: Events,
}

func check(node *yaml.Node) error {
	return section.Read("fake", node, nil).Err()
}

// Printer writes a line for each refresh that its targets would do, and tells of each
// call that it does not make.
type Printer struct {
	mu      sync.Mutex // one line at a time
	w       io.Writer
	journal *journal.Journal
}

// NewPrinter returns a Printer on w; j may be nil.
func NewPrinter(w io.Writer, j *journal.Journal) *Printer {
	return &Printer{w: w, journal: cmp.Or(j, journal.New(nil))}
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
// of Write. changed is true for the first claim of a holding only, as if no other
// host ever claimed the address.
func (t *Target) Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error) {
	if err := t.check(ctx); err != nil {
		return "", false, err
	}
	t.printer.mu.Lock()
	defer t.printer.mu.Unlock()
	kind := wouldObserve
	if claimFirst {
		kind = wouldPoint
	}
	t.printer.journal.Tell(kind, zap.String("address", t.ip.String()), zap.Bool("dry_run", true))
	_, err = fmt.Fprintf(t.printer.w, "REFRESH %s\n", t.ip)
	// The reader has gone: that must not look like a failing cloud.
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

// Package fake is the provider that has no cloud behind it: it tells on a stream
// what would be done, as floaty does with --dry-run, and calls nobody. It is for
// people who want to see what berth does; tests use the simulator instead.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/providers"
	"berth/vrrp"
)

// Entry registers the provider. It has no keys.
var Entry = providers.Entry{
	Check: check,
	New: func(_ providers.Deps, node *yaml.Node) (providers.Provider, error) {
		return provider{}, check(node)
	},
}

func check(node *yaml.Node) error {
	return providers.DecodeSection("fake", node, nil)
}

// provider has every address already, so that there is nothing to do.
type provider struct{}

func (provider) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	holders := map[netip.Addr]providers.Holder{}
	for _, a := range addrs {
		holders[a] = providers.Holder{Kind: providers.Mine, Object: a.String(), Owner: "this host"}
	}
	return holders, nil
}

func (provider) Claim(ctx context.Context, _ netip.Addr, check func(context.Context) error) error {
	return check(ctx)
}

func (provider) Self(context.Context) (providers.Server, error) {
	return providers.Server{ID: "fake"}, nil
}

// Printer writes a line for each refresh that its targets would do.
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
	t.printer.log.Info("call not made: dry run", zap.String("address", t.ip.String()))
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

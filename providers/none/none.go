// Package none is the provider for hosts without a cloud: an election decides which
// host has an address, and binding it on the interface is all that has to be done.
package none

import (
	"context"
	"net/netip"

	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
)

// Entry registers the provider. It has no keys.
var Entry = providers.Entry{
	Check: check,
	New: func(_ providers.Deps, node *yaml.Node) (providers.Provider, error) {
		return provider{}, check(node)
	},
}

func check(node *yaml.Node) error {
	return section.Read("none", node, nil).Err()
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

// Target is an address without a provider. It does what package refresher asks of a
// target.
type Target struct {
	Check func(context.Context) error // the permit
}

// Ensure does nothing, if the permit stands.
func (t Target) Ensure(ctx context.Context, _ bool) (previous string, changed bool, err error) {
	return "", false, t.Check(ctx)
}

// Close does nothing.
func (Target) Close() {}

func (provider) Self(context.Context) (providers.Server, error) {
	return providers.Server{ID: "no provider"}, nil
}

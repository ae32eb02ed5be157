package owner_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// manager refuses some addresses.
type manager struct {
	condition.Value
	calls   int
	refuses map[netip.Prefix]bool
}

type unmanaged struct{ netip.Prefix }

func (u unmanaged) Unmanaged() netip.Prefix { return u.Prefix }
func (u unmanaged) Error() string           { return fmt.Sprintf("manage %v: no", u.Prefix) }

func (m *manager) Manage(all []netip.Prefix) error {
	m.calls++
	var errs []error
	for _, p := range all {
		if m.refuses[p] {
			errs = append(errs, unmanaged{p})
		}
	}
	return errors.Join(errs...)
}

func (m *manager) Bind(context.Context, []netip.Prefix, func()) error { return nil }
func (m *manager) Sweep(func(netip.Prefix) bool) error                { return nil }
func (m *manager) Announce()                                          {}

func TestAddressesThatAreRefusedAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		kind := journal.Kind{Code: "unusable", Level: zap.ErrorLevel, Text: "cannot bind", Over: "can be bound"}
		one, two := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/24")
		m := &manager{refuses: map[netip.Prefix]bool{two: true}}
		managed := owner.NewManaged(m, kind, journal.New(zap.New(core)))
		all := []netip.Prefix{one, two}
		managed.Set(all)
		managed.Set(all)
		if m.calls != 1 || managed.Refusal(one.Addr()) != "" || managed.Refusal(two.Addr()) != "manage 10.0.0.2/24: no" || !managed.Has(one) || managed.Due() {
			t.Errorf("want one call and a refusal, got %d, %q", m.calls, managed.Refusal(two.Addr()))
		}
		time.Sleep(time.Until(managed.Retry()))
		m.refuses = nil
		if !managed.Due() {
			t.Error("want another try to be due")
		}
		managed.Set(all)
		if m.calls != 2 || managed.Refusal(two.Addr()) != "" || !managed.Retry().IsZero() || logs.Len() != 2 {
			t.Errorf("want the cure to be found and told, got %d calls, %v", m.calls, logs.All())
		}
		managed.Set(nil)
		managed.Set(nil)
		if m.calls != 3 || managed.Has(one) {
			t.Errorf("want one call for the empty list, got %d", m.calls)
		}
		none := owner.NewManaged(nil, kind, journal.New(nil))
		none.Set(all)
		if none.Refusal(one.Addr()) != "" {
			t.Error("want nothing refused without an interface")
		}
	})
}

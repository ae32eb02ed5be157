package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"berth/internal/cloudsim"
	"berth/providers"
)

// groups plays a provider that knows groups of servers.
func (c Cloud) groups(t *testing.T) {
	c.inProcess(t, "the provider knows groups or it does not", func(w *world) {
		if _, ok := w.provider.(providers.Grouper); ok != (c.Group != "") {
			w.Errorf("want %v, got %v", c.Group != "", ok)
		}
	})
	if c.Group == "" {
		return
	}
	read := func(w *world, name string) ([]providers.Member, error) {
		return w.provider.(providers.Grouper).Group(w.Context(), name)
	}
	c.each(t, "a group has its servers, and this host is told", func(w *world) {
		members, err := read(w, c.Group)
		if err != nil {
			w.Fatal(err)
		}
		var ids []string
		for _, m := range members {
			ids = append(ids, m.ID)
			if m.Self != (m.ID == w.Mine) {
				w.Errorf("%s: self is %v", m.ID, m.Self)
			}
			if m.Name == "" || slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return !a.IsValid() || a.Is4In6() }) {
				w.Errorf("want a name and valid addresses, got %+v", m)
			}
		}
		slices.Sort(ids)
		if want := []string{w.Mine, w.Peer}; !slices.Equal(ids, want) {
			w.Errorf("want %v, got %v", want, ids)
		}
		w.wantWrites(0)
	})
	c.each(t, "a group that is not there is not found, and those there are are named", func(w *world) {
		_, err := read(w, "no-such-group")
		w.wantKind(err, providers.NotFound)
		if err != nil && (!strings.Contains(err.Error(), "no-such-group") || !strings.Contains(err.Error(), c.Group)) {
			w.Errorf("want both names, got %q", err)
		}
	})
	faults := []cloudsim.Fault{{Kind: cloudsim.Garbage}, {Kind: cloudsim.EmptyBody}, {Kind: cloudsim.Status, Status: 200, Body: "{}"}, {Kind: cloudsim.Drop}}
	for _, status := range []int{400, 401, 403, 404, 429, 500, 503} {
		faults = append(faults, cloudsim.Fault{Kind: cloudsim.Status, Status: status, Form: cloudsim.FormEcho})
	}
	for _, f := range faults {
		c.inProcess(t, fmt.Sprintf("a group that cannot be read is an error/%s %d", f.Kind, f.Status), func(w *world) {
			w.warm()
			w.sim.SetFaults(cloudsim.Faults{f})
			members, err := read(w, c.Group)
			w.keptSecrets(err)
			if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind == providers.NotFound {
				w.Errorf("want an error of another kind than not-found, got %v, %v", members, err)
			}
			w.sim.SetFaults(nil)
			if e, ok := errors.AsType[*providers.Error](err); ok && e.Wait > 0 {
				return // nothing is asked for that long
			}
			if members, err := read(w, c.Group); err != nil || len(members) != 2 {
				w.Errorf("afterwards: %v, %v", members, err)
			}
		})
	}
	c.inProcess(t, "the end of the context ends the reading of a group", func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		if members, err := w.provider.(providers.Grouper).Group(ctx, c.Group); err == nil {
			w.Errorf("want an error, got %v", members)
		}
	})
}

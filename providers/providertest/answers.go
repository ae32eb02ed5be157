package providertest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
)

// answers is what a provider says while the cloud behaves.
func (c Cloud) answers(t *testing.T) {
	c.each(t, "one observation tells the holder of each address", func(w *world) {
		if err := w.sim.Give(w.Addr, w.Mine); err != nil {
			w.Fatal(err)
		}
		addrs := []netip.Addr{w.Addr, w.Inside[0], w.Inside[1], w.Foreign}
		objects := 2
		want := map[netip.Addr]providers.HolderKind{
			w.Addr: providers.Mine, w.Inside[0]: providers.Other, w.Inside[1]: providers.Other, w.Foreign: providers.NotManaged}
		if w.Balanced.IsValid() {
			addrs = append(addrs, w.Balanced)
			want[w.Balanced] = providers.NotServer
			objects++
		}
		got, err := w.observe(addrs...)
		if err != nil {
			w.Fatal(err)
		}
		for _, a := range addrs {
			h, ok := got[a]
			if !ok || h.Kind != want[a] {
				w.Errorf("%s: want kind %d, got %+v (present: %v)", a, want[a], h, ok)
			}
			if named := h.Owner != ""; named != (h.Kind != providers.NotManaged) {
				w.Errorf("%s: owner named: %v for %+v", a, named, h)
			}
		}
		if !strings.Contains(got[w.Inside[0]].Owner, w.Peer) {
			w.Errorf("owner: want it to name %s, got %q", w.Peer, got[w.Inside[0]].Owner)
		}
		if got[w.Inside[0]].Object != got[w.Inside[1]].Object {
			w.Errorf("two addresses of one network have two objects: %+v", got)
		}
		w.wantCalls(w.ObserveCalls(objects, 1))
	})
	c.each(t, "each request is counted, those for metadata too", func(w *world) {
		if _, err := w.observe(w.Addr, w.Inside[0]); err != nil {
			w.Fatal(err)
		}
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
			w.Fatal(err)
		}
		w.wantCounted()
	})
	c.each(t, "credentials that were rotated are read again at once", func(w *world) {
		w.warm()
		w.secrets.set(w.Rotate(w.sim))
		got, err := w.observe(w.Addr)
		if err != nil || got[w.Addr].Kind != providers.Other {
			w.Errorf("observation: want another holder, got %+v, %v", got, err)
		}
		w.secrets.set(w.Rotate(w.sim))
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil || w.holder(w.Addr) != w.Mine {
			w.Errorf("claim: want %s, got %s, %v", w.Mine, w.holder(w.Addr), err)
		}
		refused := 0
		for _, r := range w.calls() {
			if !r.Token {
				refused++
			}
		}
		if refused != 2 {
			w.Errorf("want one refusal for each change, got %d: %+v", refused, w.calls())
		}
	})
	c.each(t, "without a permit nothing is written", func(w *world) {
		w.warm()
		reason := errors.New("fenced")
		if err := w.provider.Claim(w.Context(), w.Addr, func(context.Context) error { return reason }); err != reason {
			w.Errorf("want the permit's own error, got %v", err)
		}
		w.wantWrites(0)
	})
	c.each(t, "the permit is asked for before each write", func(w *world) {
		for allowed := range w.ClaimWrites {
			asked := 0
			reason := errors.New("fenced")
			err := w.provider.Claim(w.Context(), w.Addr, func(context.Context) error {
				if asked++; asked > allowed {
					return reason
				}
				return nil
			})
			if !errors.Is(err, reason) {
				w.Errorf("permit for %d writes: want its error, got %v", allowed, err)
			}
			w.wantWrites(allowed)
			w.sim.ClearHistory()
			if err := w.sim.Give(w.Addr, w.Peer); err != nil {
				w.Fatal(err)
			}
		}
	})
	c.each(t, "a claim moves with all ids known", func(w *world) {
		w.warm()
		for _, a := range []netip.Addr{w.Addr, w.Inside[1]} {
			if err := w.provider.Claim(w.Context(), a, Permit); err != nil {
				w.Fatal(err)
			}
			if got := w.holder(a); got != w.Mine {
				w.Errorf("holder of %s: want %s, got %s", a, w.Mine, got)
			}
		}
		w.wantCalls(2 * w.ClaimCalls)
	})
	c.each(t, "a claim moves with no id known", func(w *world) {
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
			w.Fatal(err)
		}
		if got := w.holder(w.Addr); got != w.Mine {
			w.Errorf("holder: want %s, got %s", w.Mine, got)
		}
		w.wantCalls(1 + w.ClaimCalls) // one to look up
	})
	c.each(t, "a claim is idempotent", func(w *world) {
		for range 2 {
			if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
				w.Fatal(err)
			}
		}
		if got := w.holder(w.Addr); got != w.Mine {
			w.Errorf("holder: want %s, got %s", w.Mine, got)
		}
	})
	c.each(t, "a foreign address is not found and nothing is written", func(w *world) {
		err := w.provider.Claim(w.Context(), w.Foreign, Permit)
		w.wantKind(err, providers.NotFound)
		if err != nil && !strings.Contains(err.Error(), w.Foreign.String()) {
			w.Errorf("want the address named, got %q", err)
		}
		w.wantWrites(0)
	})
	c.each(t, "this host is known to the provider", func(w *world) {
		got, err := w.provider.Self(w.Context())
		want := providers.Server{ID: w.Mine, Name: "lb1"}
		if err != nil || got != want {
			w.Errorf("want %+v, got %+v, %v", want, got, err)
		}
	})
	c.each(t, "unknown and repeated fields and a wrong content type do not matter", func(w *world) {
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.UnknownFields}, {Kind: cloudsim.WrongContentType}})
		got, err := w.observe(w.Addr)
		if err != nil || got[w.Addr].Kind != providers.Other {
			w.Errorf("want another holder, got %+v, %v", got, err)
		}
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil || w.holder(w.Addr) != w.Mine {
			w.Errorf("want a claim, got %v with holder %s", err, w.holder(w.Addr))
		}
	})
	c.each(t, "a call that ends with its context has the cause", func(w *world) {
		w.warm()
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(w.Context())
		gate := w.sim.Gate("", "/")
		result := make(chan error, 2)
		go func() { result <- w.provider.Claim(ctx, w.Addr, Permit) }()
		go func() {
			_, err := w.provider.Observe(ctx, []netip.Addr{w.Addr})
			result <- err
		}()
		for range 2 {
			if _, err := gate.Wait(w.Context()); err != nil {
				w.Fatal(err)
			}
		}
		start := time.Now()
		cancel(reason)
		for range 2 {
			err := <-result
			if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				w.Errorf("want an error that is context.Canceled and the cause, got %v", err)
			}
			w.keptSecrets(err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			w.Errorf("took %s to end after its context", took)
		}
		gate.Release()
		if err := w.provider.Claim(ctx, w.Addr, Permit); !errors.Is(err, context.Canceled) {
			w.Errorf("with an ended context: want context.Canceled, got %v", err)
		}
		w.wantCalls(2)
	})
}

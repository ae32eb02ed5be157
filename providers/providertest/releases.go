package providertest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"berth/internal/cloudsim"
	"berth/providers"
)

// releases plays a provider that can have an address point nowhere; the others have no
// Release.
func (c Cloud) releases(t *testing.T) {
	c.inProcess(t, "the provider releases or it does not", func(w *world) {
		if _, ok := w.provider.(providers.Releaser); ok != c.Releases {
			w.Errorf("want %v, got %v", c.Releases, ok)
		}
	})
	if !c.Releases {
		return
	}
	here := func(w *world) providers.Releaser {
		w.Helper()
		w.warm()
		w.sim.ClearHistory()
		if err := w.sim.Give(w.Addr, w.Mine); err != nil {
			w.Fatal(err)
		}
		return w.provider.(providers.Releaser)
	}
	wantHolder := func(w *world, want string) {
		w.Helper()
		if got := w.holder(w.Addr); got != want {
			w.Errorf("holder: want %q, got %q", want, got)
		}
	}
	c.each(t, "an address is released once", func(w *world) {
		p := here(w)
		for range 2 {
			if err := p.Release(w.Context(), w.Addr, Permit); err != nil {
				w.Error(err)
			}
		}
		wantHolder(w, "")
		w.wantWrites(1)
	})
	c.each(t, "a release needs no id", func(w *world) {
		if err := w.sim.Give(w.Addr, w.Mine); err != nil {
			w.Fatal(err)
		}
		if err := w.provider.(providers.Releaser).Release(w.Context(), w.Addr, Permit); err != nil {
			w.Error(err)
		}
		wantHolder(w, "")
	})
	c.each(t, "an address of another server stays there without a write", func(w *world) {
		if err := w.provider.(providers.Releaser).Release(w.Context(), w.Addr, Permit); err != nil {
			w.Error(err)
		}
		wantHolder(w, w.Peer)
		w.wantWrites(0)
	})
	c.each(t, "without a permit nothing is released", func(w *world) {
		p, reason := here(w), errors.New("fenced")
		if err := p.Release(w.Context(), w.Addr, func(context.Context) error { return reason }); err != reason {
			w.Errorf("want the permit's own error, got %v", err)
		}
		wantHolder(w, w.Mine)
		w.wantWrites(0)
	})
	c.each(t, "a foreign address is not found, and nothing is released", func(w *world) {
		err := here(w).Release(w.Context(), w.Foreign, Permit)
		w.wantKind(err, providers.NotFound)
		if !strings.Contains(err.Error(), w.Foreign.String()) {
			w.Errorf("want the address named, got %q", err)
		}
		w.wantWrites(0)
	})
	rows := []struct {
		name  string
		fault cloudsim.Fault
		want  providers.Kind // of the first release, "" for none
	}{
		{"the answer is lost", cloudsim.Fault{Kind: cloudsim.LostResponse, Method: c.WriteMethod, Count: 1}, ""},
		{"the answer makes no sense", cloudsim.Fault{Kind: cloudsim.CutBody, Method: c.WriteMethod, Count: 1}, ""},
		{"accepted, never carried out", cloudsim.Fault{Kind: cloudsim.AcceptedOnly, Count: 1}, providers.Transient},
		{"the operation fails", cloudsim.Fault{Kind: cloudsim.OperationFails, Count: 1}, providers.Transient},
		{"the operation vanishes", cloudsim.Fault{Kind: cloudsim.OperationVanishes, Count: 1}, ""},
		{"the write is refused", cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusConflict, Method: c.WriteMethod, Count: 1}, providers.Transient},
		{"the write is not permitted", cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusForbidden, Method: c.WriteMethod, Count: 1}, providers.Auth},
		{"the API does not answer", cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusBadGateway, Count: 1}, providers.Transient},
	}
	for _, row := range rows {
		c.each(t, row.name, func(w *world) {
			p := here(w)
			w.sim.SetFaults(cloudsim.Faults{row.fault})
			err := p.Release(w.Context(), w.Addr, Permit)
			if (err == nil) != (row.want == "") {
				w.Fatalf("want the kind %q, got %v", row.want, err)
			}
			if err != nil {
				w.wantKind(err, row.want)
				wantHolder(w, w.Mine)
				err = p.Release(w.Context(), w.Addr, Permit)
			}
			if err != nil {
				w.Errorf("second release: %v", err)
			}
			wantHolder(w, "")
		})
	}
	c.each(t, "after a release the address is claimed as any other", func(w *world) {
		if err := here(w).Release(w.Context(), w.Addr, Permit); err != nil {
			w.Error(err)
		}
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
			w.Error(err)
		}
		wantHolder(w, w.Mine)
	})
}

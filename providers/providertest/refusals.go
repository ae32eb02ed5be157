package providertest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
)

// refusals plays takeovers at a gateway that refuses what it accepts later, as a
// gateway does that is being deployed.
func (c Cloud) refusals(t *testing.T) {
	type refusal struct {
		name   string
		fault  cloudsim.Fault
		lasts  time.Duration // 0: its Count
		within time.Duration // after that
	}
	var rows []refusal
	for _, status := range []int{400, 401, 403, 404} {
		for what, method := range map[string]string{"everything": "", "reads": "GET", "writes": c.WriteMethod} {
			f := cloudsim.Fault{Kind: cloudsim.Status, Status: status, Method: method}
			rows = append(rows, refusal{fmt.Sprintf("%d to %s for %s", status, what, outage), f, outage, 12 * time.Second})
			f.Count = 1
			rows = append(rows, refusal{fmt.Sprintf("%d to %s once", status, what), f, 0, 6 * time.Second})
		}
	}
	list := cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: c.EmptyList, Method: "GET", Path: c.ListPath}
	once := list
	once.Count = 1
	rows = append(rows, refusal{"an empty list once", once, 0, 3 * time.Second},
		refusal{"empty lists for 4 s", list, 4 * time.Second, 3 * time.Second})
	for _, f := range []cloudsim.Fault{{Kind: cloudsim.Status, Status: 404}, {Kind: cloudsim.EmptyBody}, {Kind: cloudsim.Status, Status: 200, Form: cloudsim.FormHTML}} {
		f.Path, f.Count = c.MetadataPath, 1
		rows = append(rows, refusal{fmt.Sprintf("%s %d once from the metadata service", f.Kind, f.Status), f, 0, 3 * time.Second})
	}
	for _, row := range rows {
		for _, cold := range []bool{false, true} {
			c.inProcess(t, fmt.Sprintf("takeover/%s/cold %v", row.name, cold), func(w *world) {
				if !cold {
					w.warm()
				}
				f := row.fault
				if row.lasts > 0 {
					f.Until = time.Now().Add(row.lasts)
				}
				w.sim.SetFaults(cloudsim.Faults{f})
				stop := w.hold(w.Addr, w.Inside[0])
				defer stop()
				w.await(row.lasts+row.within, w.Addr, w.Inside[0])
			})
		}
	}
	c.inProcess(t, "an empty list at the start is not remembered", func(w *world) {
		w.sim.SetFaults(cloudsim.Faults{once})
		w.wantKind(w.provider.(providers.Preparer).Prepare(w.Context()), providers.NotFound)
		w.sim.ClearHistory()
		if err := w.provider.(providers.Preparer).Prepare(w.Context()); err != nil {
			w.Errorf("look up again: %v", err)
		}
		w.wantCalls(1)
		w.sim.ClearHistory()
		if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
			w.Error(err)
		}
		w.wantCalls(c.ClaimCalls)
	})
	c.inProcess(t, "an empty list makes no process forget an id", func(w *world) {
		dir := w.TempDir()
		first := w.another(dir)
		if err := first.(providers.Preparer).Prepare(w.Context()); err != nil {
			w.Fatal(err)
		}
		w.sim.SetFaults(cloudsim.Faults{list})
		for _, a := range []netip.Addr{w.Foreign, w.Addr} {
			if _, err := first.Observe(w.Context(), []netip.Addr{a, w.Foreign}); err != nil {
				w.Fatal(err)
			}
		}
		for name, p := range map[string]providers.Provider{"this process": first, "the next": w.another(dir)} {
			w.sim.ClearHistory()
			if err := w.sim.Give(w.Addr, w.Peer); err != nil {
				w.Fatal(err)
			}
			if err := p.Claim(w.Context(), w.Addr, Permit); err != nil {
				w.Errorf("%s: %v", name, err)
			}
			w.wantCalls(c.ClaimCalls)
		}
	})
	c.inProcess(t, "a 404 for a path, a server or a listed object does not make an address a foreign one", func(w *world) {
		w.warm()
		for _, method := range []string{"GET", c.WriteMethod} {
			w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Method: method}})
			_, err := w.observe(w.Addr, w.Foreign)
			if method != "GET" {
				err = w.provider.Claim(w.Context(), w.Addr, Permit)
			}
			if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.Invalid {
				w.Errorf("404 to %s: want a refusal, got %v", method, err)
			}
		}
	})
}

// another makes a second process of the same host.
func (w *world) another(runDir string) providers.Provider {
	w.Helper()
	d, _ := Deps(w.T, w.sim)
	d.RunDir, d.Secret = runDir, w.secrets.resolve
	return Client(w.T, w.Entry, d, w.Section("http://cloud.invalid"))
}

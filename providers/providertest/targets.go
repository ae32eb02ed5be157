package providertest

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/vrrp"
)

// targets plays faults that show only over several calls.
func (c Cloud) targets(t *testing.T) {
	type result struct {
		previous string // part of it
		changed  bool
		kind     providers.Kind // of the error, "" for none
	}
	rows := []struct {
		name   string
		faults cloudsim.Faults
		first  bool     // the first Ensure claims first
		want   []result // of one Ensure after the other
		// additive is what differs where a claim has several steps, nil for nothing.
		additive []result
	}{
		{"a claim is read back", nil, true, []result{{"", true, ""}, {"", false, ""}}, nil},
		{"what is elsewhere is fetched, and by whom it was held is told", nil, false, []result{{c.Peer, true, ""}, {"", false, ""}}, nil},
		{"response lost after the write", cloudsim.Faults{{Kind: cloudsim.LostResponse, Method: c.WriteMethod, Count: 1}}, true,
			[]result{{"", false, providers.Transient}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"accepted, never carried out", cloudsim.Faults{{Kind: cloudsim.AcceptedOnly, Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"stale read after the write", cloudsim.Faults{{Kind: cloudsim.Stale, Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {"", false, ""}},
			[]result{{"", true, ""}, {"", false, ""}}},
		{"stale reads for longer", cloudsim.Faults{{Kind: cloudsim.Stale, Count: 3}}, true,
			[]result{{"", true, providers.Transient}, {c.Peer, true, providers.Transient}, {"", false, ""}},
			[]result{}},
		{"write refused once for what was known", cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Method: c.WriteMethod, Count: 1}}, true,
			[]result{{"", true, ""}, {"", false, ""}}, nil},
		{"read back fails", cloudsim.Faults{{Kind: cloudsim.Status, Status: 500, Method: "GET", Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"everything fails for a while", cloudsim.Faults{{Kind: cloudsim.Drop, Count: 3}}, true,
			[]result{{"", false, providers.Transient}, {"", false, providers.Transient}, {"", false, providers.Transient}, {c.Peer, true, ""}}, nil},
	}
	for _, row := range rows {
		if c.Additive && row.additive != nil {
			row.want = row.additive
		}
		if len(row.want) == 0 {
			continue // depends on how many reads an observation has
		}
		body := func(w *world) {
			w.warm()
			account := providers.NewAccount(w.Name, w.provider)
			target := account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(w.Addr, w.Addr.BitLen())}, Permit)
			defer target.Close()
			w.sim.SetFaults(row.faults)
			first := row.first
			for i, want := range row.want {
				if i > 0 && !w.socket {
					time.Sleep(2 * time.Second) // virtual: the snapshot has grown old
				}
				previous, changed, err := target.Ensure(w.Context(), first)
				first = false
				kind := providers.Kind("")
				if err != nil {
					kind = w.wantKind(err, want.kind).Kind
				}
				if kind != want.kind || changed != want.changed || (previous == "") != (want.previous == "") || !strings.Contains(previous, want.previous) {
					w.Errorf("step %d: want %+v, got previous %q, changed %v, error %v", i+1, want, previous, changed, err)
				}
			}
			if got := w.holder(w.Addr); got != w.Mine {
				w.Errorf("holder: want %s, got %s", w.Mine, got)
			}
			moves := 0
			for _, r := range w.calls() {
				if r.Applied {
					moves++
				}
			}
			if moves != w.ClaimWrites {
				w.Errorf("moves: want %d, got %d: %+v", w.ClaimWrites, moves, w.calls())
			}
		}
		run := c.each
		if slices.ContainsFunc(row.faults, func(f cloudsim.Fault) bool { return f.Kind == cloudsim.Drop }) {
			run = c.inProcess // over a reused connection net/http asks a second time for a read
		}
		run(t, row.name, body)
	}
}

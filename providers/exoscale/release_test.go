package exoscale_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
)

const readOp = "GET /operation/0be7a710-0000-4000-8000-000000000001"

func releaser(t *testing.T, sim *cloudsim.Sim, section string) providers.Releaser {
	t.Helper()
	d, _ := providertest.Deps(t, sim)
	return newClient(t, d, section).(providers.Releaser)
}

func TestReleaseDetachesThisInstanceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.OperationTime = 600 * time.Millisecond
		c.ElasticIPs[0].Servers = []string{lb1, lb2, lb4}
		sim := providertest.NewSim(t, c)
		p := releaser(t, sim, certain)
		if err := p.Release(t.Context(), addr4, providertest.Permit); err != nil {
			t.Fatal(err)
		}
		if got := sim.Holders(addr4); !slices.Equal(got, []string{lb2, lb4}) {
			t.Errorf("want the others to keep it, got %v", got)
		}
		// The list, the own record, the request, three looks at the operation, the own
		// record.
		wantRequests(t, sim, listEIPs, readMe, detach4, readOp, readOp, readOp, readMe)
	})
}

func TestReleaseDoesNotBelieveAnIDThatIsOld(t *testing.T) {
	const anew = "e0000000-0000-4000-8000-00000000000a"
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	observe(t, newClient(t, d, certain), addr4) // writes the cache
	c := account()
	c.ElasticIPs[0].ID, c.ElasticIPs[0].Servers = anew, []string{lb1}
	sim = providertest.NewSim(t, c)
	d.Transport = sim.RoundTripper()
	if err := newClient(t, d, certain).(providers.Releaser).Release(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	if got := sim.Holders(addr4); len(got) != 0 {
		t.Errorf("want the elastic IP that was made anew released, got %v", got)
	}
}

func TestReleaseOfOneAddressReleasesItsNetwork(t *testing.T) {
	c := account()
	c.ElasticIPs[1].Servers = []string{lb1}
	sim := providertest.NewSim(t, c)
	p := releaser(t, sim, certain)
	if err := p.Release(t.Context(), addr6a, providertest.Permit); err != nil {
		t.Error(err)
	}
	if got := sim.Holders(addr6b); len(got) != 0 {
		t.Errorf("want the whole network released, got %v", got)
	}
}

func TestPeersThatAreToldAreLookedAtBesideTheFilter(t *testing.T) {
	tests := []struct {
		name, section string
		told          []string
		at            []string // instances that have it
		want          providers.HolderKind
		wantAfter     []string // after a claim
	}{
		{"nobody is told, and the filter does not know", certain, nil, []string{lb1, lb4}, providers.Mine, []string{lb1, lb4}},
		{"told, and the filter does not know", certain, []string{lb4, lb1, "not an id"}, []string{lb1, lb4}, providers.Other, []string{lb1}},
		{"told in addition to a configured one", certain + "\npeers: [" + lb2 + "]", []string{lb4}, []string{lb1, lb2, lb4}, providers.Other, []string{lb1}},
		{"told, but another has it", certain + "\npeers: [" + lb2 + "]", []string{lb1}, []string{lb1, lb4}, providers.Mine, []string{lb1, lb4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			d, _ := providertest.Deps(t, sim)
			p := newClient(t, d, tt.section)
			p.(providers.Peered).SetPeers(tt.told)
			for _, servers := range [][]string{{lb1}, tt.at} {
				if err := sim.Attach(network4, servers...); err != nil {
					t.Fatal(err)
				}
			}
			sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.FilterLagging}})
			got := observe(t, p, addr4)[addr4]
			if got.Kind != tt.want || got.Beside != (tt.want == providers.Other) {
				t.Errorf("want kind %d, got %+v", tt.want, got)
			}
			if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
				t.Error(err)
			}
			if got := sim.Holders(addr4); !slices.Equal(got, tt.wantAfter) {
				t.Errorf("after a claim: want %v, got %v", tt.wantAfter, got)
			}
		})
	}
}

func TestPeersThatAreToldAreBounded(t *testing.T) {
	c, addrs := large(200, 0)
	for i := range c.ElasticIPs {
		c.ElasticIPs[i].Servers = []string{lb1}
	}
	sim := providertest.NewSim(t, c)
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, certain)
	var ids []string
	for _, s := range c.Servers {
		ids = append(ids, s.UUID, s.UUID)
	}
	p.(providers.Peered).SetPeers(ids)
	observe(t, p, addrs[:2]...)
	sim.ClearHistory()
	observe(t, p, addrs[:2]...)
	if got, want := len(sim.History()), 1+2+32; got != want {
		t.Errorf("calls: want %d, got %d", want, got)
	}
	p.(providers.Peered).SetPeers(nil)
	sim.ClearHistory()
	observe(t, p, addrs[:2]...)
	if got, want := len(sim.History()), 1+2; got != want {
		t.Errorf("calls without peers: want %d, got %d", want, got)
	}
}

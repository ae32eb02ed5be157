package exoscale_test

import (
	"testing"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"

	"go.uber.org/zap"
)

// An id that exoip tells is that of a NIC, which no instance has. It is said once, and again
// when it is told anew; the API is not at fault.
func TestPeerThatTellsTheIDOfANICIsToldOnce(t *testing.T) {
	const nic = "e1c0ffee-0000-4000-8000-0000000000ab"
	sim := providertest.NewSim(t, account())
	if err := sim.Attach(network4, lb1); err != nil {
		t.Fatal(err)
	}
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.FilterLagging}})
	d, logs := providertest.Deps(t, sim)
	p := newClient(t, d, certain)
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			p.(providers.Peered).SetPeers(nil)
		}
		p.(providers.Peered).SetPeers([]string{nic, lb2})
		if got := observe(t, p, addr4)[addr4]; got.Kind != providers.Mine {
			t.Errorf("want it here, got %+v", got)
		}
		if got := logs.FilterField(zap.String("code", "exoscale-peer-unknown")).FilterField(zap.String("id", nic)).Len(); got != want {
			t.Errorf("look %d: want it to be said %d times, got %d", i+1, want, got)
		}
	}
}

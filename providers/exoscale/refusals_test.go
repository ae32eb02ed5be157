package exoscale_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
)

// The filter does not show lb2, which an audit alone can find.
func TestAuditThatIsRefusedOnceIsMadeAgainAtTheNextLook(t *testing.T) {
	for _, row := range []struct {
		name   string
		faults cloudsim.Faults
	}{
		{"a record is not permitted", cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4, Count: 1}}},
		{"the record of the other holder is not found", cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Path: "/v2/instance/" + lb2, Count: 1}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSim(t, account())
				d, logs := deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr6a) // so that only the audit meets the fault
				sim.SetFaults(append(slices.Clone(row.faults), cloudsim.Fault{Kind: cloudsim.FilterWithoutIPv6}))
				stop := keep(t.Context(), p, nil, addr6a)
				time.Sleep(20 * time.Second)
				stop()
				if got := sim.Holders(addr6a); !slices.Equal(got, []string{lb1}) {
					t.Errorf("holders after 20 s: want %s, got %v", lb1, got)
				}
				if n := logs.FilterMessageSnippet("cannot read the records of all instances").Len(); n != 0 {
					t.Errorf("want no word of what was refused once, got %v", logs.All())
				}
			})
		})
	}
}

func TestOwnRecordThatIsNotFoundDoesNotMakeAddressesForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Path: "/v2/instance/" + lb1, Until: time.Now().Add(30 * time.Second)}})
		d, _ := deps(t, sim)
		stop := keep(t.Context(), newClient(t, d, certain), nil, addr4)
		time.Sleep(45 * time.Second)
		stop()
		if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
			t.Errorf("holders 15 s after the record was found: want %s, got %v", lb1, got)
		}
	})
}

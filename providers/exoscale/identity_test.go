package exoscale_test

import (
	"slices"
	"strings"
	"testing"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
	"berth/refresher"
)

func TestZoneAndInstanceComeFromWhereTheyAreKnown(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all configured", certain, []string{readMe}},
		{"zone configured", plain + "\nzone: " + zone, []string{metaID, readMe}},
		{"instance configured", plain + "\ninstance-id: " + strings.ToUpper(lb1), []string{metaZone, readMe}},
		{"endpoint configured", plain + "\nendpoint: https://api-" + zone + ".exoscale.com/", []string{metaID, readMe}},
		{"nothing configured", plain, []string{metaID, metaZone, readMe}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			d, _ := providertest.Deps(t, sim)
			got, err := newClient(t, d, tt.text).Self(t.Context())
			if want := (providers.Server{ID: lb1, Name: "lb1"}); err != nil || got != want {
				t.Errorf("want %+v, got %+v, %v", want, got, err)
			}
			wantRequests(t, sim, tt.want...)
			// The next process knows.
			sim.ClearHistory()
			if _, err := newClient(t, d, tt.text).Self(t.Context()); err != nil {
				t.Error(err)
			}
			wantRequests(t, sim, readMe)
		})
	}
	t.Run("another zone does not have this instance", func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		d, _ := providertest.Deps(t, sim)
		_, err := newClient(t, d, plain+"\nzone: at-vie-1").Self(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Instance not found") {
			t.Errorf("want the text of the server, got %v", err)
		}
	})
}

func TestMetadataOfAnotherCloudIsTransientAndSaysWhatToDo(t *testing.T) {
	const path = "/latest/"
	tests := []struct {
		name  string
		fault cloudsim.Fault
		want  string
	}{
		{"no such page", cloudsim.Fault{Kind: cloudsim.Status, Status: 404, Path: path}, "HTTP status 404"},
		{"page of a captive portal", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path, Form: cloudsim.FormHTML}, "set instance-id"},
		{"nothing", cloudsim.Fault{Kind: cloudsim.EmptyBody, Path: path}, "set instance-id"},
		{"a zone in the wrong form", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path + "meta-data/availability-zone", Body: "x.evil.example/"}, "set zone"},
		{"too large", cloudsim.Fault{Kind: cloudsim.Huge, Path: path}, "larger than 6291456 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			sim.SetFaults(cloudsim.Faults{tt.fault})
			d, _ := providertest.Deps(t, sim)
			p := newClient(t, d, plain)
			_, err := p.Self(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
			if class, _ := refresher.Classify(err); class != refresher.Transient {
				t.Errorf("class: want transient, got %s", class)
			}
			sim.SetFaults(nil)
			if got, err := p.Self(t.Context()); err != nil || got.ID != lb1 {
				t.Errorf("after it: want %s, got %+v, %v", lb1, got, err)
			}
		})
	}
}

// A fallback stands behind what the metadata service says, and is not kept for the next
// process.
func TestFallbackZoneStandsBehindTheMetadataService(t *testing.T) {
	away := cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Path: metaZone[len("GET "):]}}
	for _, tt := range []struct {
		name, fallback string
		faults         cloudsim.Faults
		want           string // in the error; empty for none
	}{
		{"the service knows the zone", "at-vie-1", nil, ""},
		{"the service does not know it", zone, away, ""},
		{"a fallback that is wrong", "at-vie-1", away, "Instance not found"},
		{"neither", "", away, "Otherwise set zone (berth exoip: IF_EXOSCALE_ZONE)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			sim.SetFaults(tt.faults)
			d, _ := providertest.Deps(t, sim)
			text := plain
			if tt.fallback != "" {
				text += "\nfallback-zone: " + tt.fallback
			}
			for _, asked := range []bool{true, tt.faults != nil} {
				sim.ClearHistory()
				_, err := newClient(t, d, text).Self(t.Context())
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("want an error with %q, got %v", tt.want, err)
				}
				if got := slices.Contains(requests(sim), metaZone); got != asked {
					t.Errorf("the service was asked for the zone: want %t, got %t", asked, got)
				}
			}
		})
	}
}

func TestIDThatNoInstanceHasIsExplained(t *testing.T) {
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	_, err := newClient(t, d, plain+"\nzone: "+zone+"\ninstance-id: 99999999-1111-4111-8111-111111111111").Self(t.Context())
	if err == nil || !strings.Contains(err.Error(), "and not that of its NIC, which exoip announced") {
		t.Errorf("got %v", err)
	}
}

func TestPrepareAsksOnlyForWhatIsNotKnown(t *testing.T) {
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, plain).(providers.Preparer)
	for _, want := range [][]string{{metaID, metaZone, listEIPs}, {}} {
		sim.ClearHistory()
		if err := p.Prepare(t.Context()); err != nil {
			t.Error(err)
		}
		wantRequests(t, sim, want...)
	}
}

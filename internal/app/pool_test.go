package app

import (
	"slices"
	"testing"

	"berth/config"
	"berth/election"
	"berth/health"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/seat"
	"berth/netif"
)

// All that must hold for an instance must hold for the pool: the health checks, and the
// role in Patroni's cluster.
func TestThePoolNeedsTheRoleOfPatroni(t *testing.T) {
	cfg, err := config.Parse(`
etcd: {endpoints: ["http://192.0.2.9:2379"]}
follow: {patroni: {role: replica}}
pool: {enabled: true, interface: lo, health: [{tcp: {address: "127.0.0.1:1"}, name: db}]}
`, "berth.yml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &electMode{cfg: cfg, journal: journal.New(nil), meters: &meters{}, health: health.NewSet(health.Options{Name: "db"}),
		place: &seat.Seat{}, member: &election.Member{}, network: &netif.Host{}, host: &owner.Host{}}
	if err := e.follow(); err != nil {
		t.Fatal(err)
	}
	p := e.newPool()
	for _, want := range append(e.health.Conditions([]string{"db"}), e.follower) {
		if !slices.Contains(p.Able, want) {
			t.Errorf("the pool does not need %v", want)
		}
	}
}

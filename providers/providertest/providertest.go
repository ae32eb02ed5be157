// Package providertest is the conformance kit that every provider must pass: the
// whole table of bad manners that a cloud's API can have, played by the
// simulator, in-process in virtual time and over real sockets alike. It proves
// that each fault is told as what it is, in time and within the call budget;
// that the provider recovers as soon as the cloud does; and that no secret
// reaches an error or a log line, at debug level too.
package providertest

import (
	"net/netip"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
)

// Cloud is what the kit has to know of a provider.
type Cloud struct {
	Name    string
	Entry   providers.Entry
	Secrets []string // that must never be seen
	// Section is the provider's section of the configuration for an endpoint
	// such as "http://127.0.0.1:8080".
	Section func(endpoint string) string
	// Account is what the fields below describe.
	Account func() cloudsim.Config
	// SlowOperations is how long operations take at the unfriendly cloud; 0 where
	// the simulator has them over at once.
	SlowOperations time.Duration

	Mine, Peer string        // ids of this host, the simulator's first server, and of another one
	Addr       netip.Addr    // floating IP, with Peer at the start
	Inside     [2]netip.Addr // two addresses in a floating network, with Peer at the start
	Balanced   netip.Addr    // floating IP that a load balancer has
	Foreign    netip.Addr    // not a floating IP of the account

	WriteMethod  string // of the requests that move
	ListPath     string // of the request that lists all floating IPs
	EmptyList    string // its answer when there are none
	MetadataPath string // of the requests to the metadata service
	// Additive tells that a floating IP can be with several servers at once, so that
	// a claim adds this host first and then removes the others.
	Additive bool
	// Rotate changes the account's credentials and returns the new ones, by their
	// keys in the section.
	Rotate func(*cloudsim.Sim) map[string]string

	// Releases tells that the provider is a providers.Releaser.
	Releases bool

	// Group is the name of a group of servers that has Mine and Peer; empty where the cloud
	// knows no groups.
	Group string

	// ObserveCalls is how many API calls the first observation of a number of
	// floating IPs costs that a number of other servers have.
	ObserveCalls func(objects, others int) int
	// ClaimCalls is how many API calls a claim costs when all ids are known, and
	// ClaimWrites how many of them change something.
	ClaimCalls, ClaimWrites int
}

// Run runs the whole kit.
func Run(t *testing.T, c Cloud) {
	t.Run("answers", func(t *testing.T) { c.answers(t) })
	t.Run("faults", func(t *testing.T) { c.faults(t) })
	t.Run("targets", func(t *testing.T) { c.targets(t) })
	t.Run("outages", func(t *testing.T) { c.outages(t) })
	t.Run("refusals", func(t *testing.T) { c.refusals(t) })
	t.Run("releases", func(t *testing.T) { c.releases(t) })
	t.Run("groups", func(t *testing.T) { c.groups(t) })
	t.Run("unfriendly", func(t *testing.T) { c.unfriendly(t) })
}

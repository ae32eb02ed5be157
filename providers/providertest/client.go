package providertest

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"gopkg.in/yaml.v3"

	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/providers"
)

// NewSim returns the simulator of an account.
func NewSim(t testing.TB, c cloudsim.Config) *cloudsim.Sim {
	t.Helper()
	sim, err := cloudsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

// Deps are those of a server lb1 that reaches the simulator in-process, and what its
// provider says at info level and above.
func Deps(t testing.TB, sim *cloudsim.Sim) (providers.Deps, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	return providers.Deps{
		Journal:   journal.New(zap.New(core)),
		RunDir:    t.TempDir(),
		UserAgent: "berth/test",
		Env:       func(string) string { return "" },
		Hostname:  func() (string, error) { return "lb1.example.net", nil },
		Secret:    func(_, inline, _, _ string) (string, error) { return inline, nil },
		Transport: sim.RoundTripper(),
	}, logs
}

// Section parses a provider's section of the configuration.
func Section(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// Client returns the provider for a section.
func Client(t testing.TB, e providers.Entry, d providers.Deps, section string) providers.Provider {
	t.Helper()
	p, err := e.New(d, Section(t, section))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Requests returns method and path of all requests to the simulator.
func Requests(sim *cloudsim.Sim) []string {
	got := []string{}
	for _, r := range sim.History() {
		got = append(got, r.Method+" "+r.Path)
	}
	return got
}

// RotateToken returns a Cloud.Rotate for an account with a token.
func RotateToken(token string) func(*cloudsim.Sim) map[string]string {
	rotated := 0
	return func(s *cloudsim.Sim) map[string]string {
		rotated++
		next := fmt.Sprintf("%d%s", rotated, token)
		s.SetToken(next)
		return map[string]string{"token": next}
	}
}

// Permit lets every write pass.
func Permit(context.Context) error { return nil }

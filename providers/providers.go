package providers

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/internal/journal"
	"berth/internal/names"
)

// Deps is what a provider is built from, beside its section of the
// configuration.
type Deps struct {
	Journal   *journal.Journal // nil means none
	RunDir    string           // for cached ids; "" stores none on disk
	UserAgent string           // such as "berth/1.2.3"
	Env       func(string) string
	Hostname  func() (string, error) // as os.Hostname
	Metrics   *Metrics               // nil means none
	Names     *names.Resolver        // of all hosts that are connected to; nil means one that stores nothing on disk
	// Secret finds a secret: name is its key in the section, inline and file are
	// the values of that key and of its twin name-file, vendorEnv is the usual
	// environment variable. It returns "" without an error if there is none.
	Secret func(name, inline, file, vendorEnv string) (string, error)

	// Transport, if not nil, takes all requests in place of the network; for
	// tests.
	Transport http.RoundTripper
	// MetadataURL, if not "", is the base of the metadata service in place of the
	// one that the vendor has; for tests.
	MetadataURL string
}

// ProviderJournal returns the journal for a provider of that name; it is never nil.
func (d Deps) ProviderJournal(name string) *journal.Journal {
	return cmp.Or(d.Journal, journal.New(nil)).With(zap.String("provider", name))
}

// Entry is what is registered of a provider.
type Entry struct {
	// Check decodes the provider's section of the configuration. Its error joins a
	// *section.Problem for each thing that is wrong. It makes no call. It is meant for
	// every section present, whichever provider is chosen. The node may be nil.
	Check func(*yaml.Node) error
	// New returns the provider for its section. It makes no call.
	New func(Deps, *yaml.Node) (Provider, error)
	// Events are the kinds of events that the provider declares beside Events.
	Events []journal.Kind
}

// NewEntry returns the entry of a provider whose section is read by decode; make makes
// the provider from what decode returned.
func NewEntry[C any](decode func(*yaml.Node) (C, error), make func(Deps, C) (Provider, error), events []journal.Kind) Entry {
	return Entry{
		Check: func(node *yaml.Node) error {
			_, err := decode(node)
			return err
		},
		New: func(d Deps, node *yaml.Node) (Provider, error) {
			c, err := decode(node)
			if err != nil {
				return nil, err
			}
			return make(d, c)
		},
		Events: events,
	}
}

// Registry has the providers by their names in the configuration. The registry of
// the product is in package catalog.
type Registry map[string]Entry

// Names returns the names in order.
func (r Registry) Names() []string { return slices.Sorted(maps.Keys(r)) }

// Events returns the kinds of events of this package and of all providers.
func (r Registry) Events() []journal.Kind {
	all := slices.Clone(Events)
	for _, name := range r.Names() {
		all = append(all, r[name].Events...)
	}
	return all
}

// Entry returns the provider of that name; the error for an unknown one lists
// those that are known.
func (r Registry) Entry(name string) (Entry, error) {
	e, ok := r[name]
	if !ok {
		return Entry{}, fmt.Errorf("unknown provider; known are %s", strings.Join(r.Names(), ", "))
	}
	return e, nil
}

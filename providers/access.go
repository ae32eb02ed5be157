package providers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/internal/journal"
	"berth/internal/section"
)

const (
	metadataURL     = "http://169.254.169.254" // works without name service, which may be what fails
	metadataTimeout = 5 * time.Second
)

// OpMetadata is the operation of AskMetadata, in errors.
const OpMetadata = "read metadata"

// SecretKey is a key of a section whose value is a secret, with what stands in
// its place.
type SecretKey struct {
	Key    string
	Inline string // as written
	File   string // of the key with -file at its end
	Env    string // the environment variable
	// Bytes tells that the secret signs requests and does not travel in a header: it
	// may hold any character.
	Bytes bool
}

// AccessOptions say how a provider's API is reached.
type AccessOptions struct {
	Provider string // name of the section, and in errors and logs
	CAFile   string // of further authorities, "" for none
	Secrets  []SecretKey
	Hidden   []string      // other texts that no error may show
	Signed   bool          // see CallerOptions
	Timeout  time.Duration // of a call to the API; see CallerOptions
}

// Access is what the client of an API is made of: the ways to the API and to the
// metadata service of the cloud's servers, and what they need.
type Access struct {
	TLS
	Provider    string
	Journal     *journal.Journal // never nil; its events have the provider
	Hostname    string           // "" if it cannot be read, which was told
	API         *Caller
	Credentials *Credentials // values in the order of Secrets, then those of Hidden

	runDir      string
	metadata    *Caller // past any proxy, which would answer for itself
	metadataURL string  // without a path
}

// NewAccess makes no calls. It fails for a secret that is missing or that no
// header can carry, and for a ca-file without certificates.
func NewAccess(d Deps, o AccessOptions) (*Access, error) {
	credentials, err := NewCredentials(func() ([]string, error) { return o.resolve(d) })
	if err != nil {
		return nil, err
	}
	roots, err := Roots(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Provider, err)
	}
	j := d.ProviderJournal(o.Provider)
	hostname, err := d.Hostname()
	if err != nil {
		j.Tell(hostnameUnreadable, zap.Error(err))
	}
	transport, direct := d.Transport, d.Transport
	if transport == nil {
		transport, direct = NewTransport(d.Names, true, roots), NewTransport(d.Names, false, nil)
	}
	return &Access{
		TLS:      TLS{Names: d.Names},
		Provider: o.Provider,
		Journal:  j,
		Hostname: hostname,
		API: NewCaller(CallerOptions{Provider: o.Provider, Transport: transport, Credentials: credentials,
			Signed: o.Signed, Timeout: o.Timeout, Journal: j, Metrics: d.Metrics}),
		Credentials: credentials,
		runDir:      d.RunDir,
		metadata:    NewCaller(CallerOptions{Provider: o.Provider, Transport: direct, Timeout: metadataTimeout, Journal: j, Metrics: d.Metrics}),
		metadataURL: cmp.Or(strings.TrimRight(d.MetadataURL, "/"), metadataURL),
	}, nil
}

func (o AccessOptions) resolve(d Deps) ([]string, error) {
	var values []string
	for _, s := range o.Secrets {
		value, err := d.Secret(s.Key, s.Inline, s.File, s.Env)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s.%s: %w", o.Provider, s.Key, err)
		case value == "":
			return nil, fmt.Errorf("%s.%s: missing; write %s or %s-file, or set the environment variable %s", o.Provider, s.Key, s.Key, s.Key, s.Env)
		case !s.Bytes && strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
			return nil, &section.Problem{Key: o.Provider + "." + s.Key, Text: "holds a space or another character that none has"}
		}
		values = append(values, value)
	}
	return append(values, o.Hidden...), nil
}

// AskMetadata reads a document of the metadata service and returns what parse makes
// of it.
func (a *Access) AskMetadata(ctx context.Context, path string, parse func(text []byte) (string, error)) (string, error) {
	var value string
	err := a.metadata.Get(ctx, OpMetadata, a.metadataURL+path, func(body io.Reader) error {
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		value, err = parse(text)
		return err
	})
	return value, err
}

// IDCache returns the cache of what was looked up at an endpoint, and in a zone of
// it, if the cloud has zones.
func (a *Access) IDCache(endpoint, zone string) *IDCache {
	return NewIDCache(a.runDir, IDKey{Provider: a.Provider, Endpoint: endpoint, Zone: zone, Hostname: a.Hostname, BootID: BootID()}, a.Journal)
}

// ParseEndpoint reads the endpoint of a section. It returns nil, and reports why to
// the section, for a text that cannot be one; example is one that can.
func ParseEndpoint(s *section.Section, endpoint, example string) *url.URL {
	u, err := url.Parse(endpoint) // whose error would repeat a password
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		s.Refuse("endpoint", "", "a URL such as "+example)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		s.Refuse("endpoint", "a URL with a user, a query or a fragment", "one without, such as "+example)
	default:
		return u
	}
	return nil
}

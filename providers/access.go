package providers

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/internal/section"
)

const (
	metadataURL     = "http://169.254.169.254" // works without name service, which may be what fails
	metadataTimeout = 5 * time.Second
)

// SecretKey is a key of a section whose value is a secret, with what stands in
// its place.
type SecretKey struct {
	Key    string
	Inline string // as written
	File   string // of the key with -file at its end
	Env    string // the vendor's environment variable
}

// AccessOptions say how a cloud is reached.
type AccessOptions struct {
	Provider string // name of the section, and in errors and logs
	CAFile   string // of further authorities, "" for none
	Secrets  []SecretKey
	Signed   bool // see CallerOptions
}

// Access is what the client of a cloud is made of: the ways to its API and to the
// metadata service of its servers, and what they need.
type Access struct {
	TLS
	Log         *zap.Logger // never nil
	Hostname    string      // "" if it cannot be read
	API         *Caller
	Credentials *Credentials // values in the order of Secrets
	Metadata    *Caller      // past any proxy, which would answer for itself
	MetadataURL string       // without a path
}

// NewAccess makes no calls. It fails for a secret that is missing or that no
// header can carry, and for a ca-file that is none.
func NewAccess(d Deps, o AccessOptions) (*Access, error) {
	credentials, err := NewCredentials(func() ([]string, error) { return o.resolve(d) })
	if err != nil {
		return nil, err
	}
	roots, err := Roots(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Provider, err)
	}
	log := cmp.Or(d.Log, zap.NewNop())
	hostname, err := d.Hostname()
	if err != nil {
		log.Warn("cannot read host name", zap.String("provider", o.Provider), zap.Error(err))
	}
	transport, direct := d.Transport, d.Transport
	if transport == nil {
		transport, direct = NewTransport(d.Names, true, roots), NewTransport(d.Names, false, nil)
	}
	return &Access{
		TLS:         TLS{Names: d.Names},
		Log:         log,
		Hostname:    hostname,
		API:         NewCaller(CallerOptions{Provider: o.Provider, Transport: transport, Credentials: credentials, Signed: o.Signed, Log: log, Metrics: d.Metrics}),
		Credentials: credentials,
		Metadata:    NewCaller(CallerOptions{Provider: o.Provider, Transport: direct, Timeout: metadataTimeout, Log: log, Metrics: d.Metrics}),
		MetadataURL: cmp.Or(strings.TrimRight(d.MetadataURL, "/"), metadataURL),
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
		case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
			return nil, fmt.Errorf("%s.%s: holds a space or another character that none has", o.Provider, s.Key)
		}
		values = append(values, value)
	}
	return values, nil
}

// ParseEndpoint reads the endpoint of a section. It returns nil, and reports why to
// the section, for what is none; example is one.
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

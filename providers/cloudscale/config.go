package cloudscale

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/providers"
)

const (
	defaultEndpoint = "https://api.cloudscale.ch/"
	vendorTokenEnv  = "CLOUDSCALE_API_TOKEN"
	vendorURLEnv    = "CLOUDSCALE_API_URL"
)

// Entry registers the provider.
var Entry = providers.Entry{
	Check: func(node *yaml.Node) error {
		_, err := decode(node)
		return err
	},
	New: New,
}

// config is the section as written.
type config struct {
	endpoint             string
	token, tokenFile     string
	caFile               string
	serverUUID           string
	hostnameToServerUUID map[string]string
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	err := providers.DecodeSection("cloudscale", node, providers.Keys{
		"endpoint":                &c.endpoint,
		"token":                   &c.token,
		"token-file":              &c.tokenFile,
		"ca-file":                 &c.caFile,
		"server-uuid":             &c.serverUUID,
		"hostname-to-server-uuid": &c.hostnameToServerUUID,
	})
	_, urlErr := baseURL(c.endpoint)
	return c, errors.Join(err, urlErr)
}

// baseURL brings an endpoint into the form that the SDK needs: paths are resolved
// against it and begin with v1/, so it must end in a slash and not in the /v1
// that other tools of the vendor want there.
func baseURL(endpoint string) (*url.URL, error) {
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	u, err := providers.ParseEndpoint(name, endpoint, defaultEndpoint)
	if err != nil {
		return nil, err
	}
	path := strings.TrimRight(u.Path, "/")
	u.Path, u.RawPath = strings.TrimRight(strings.TrimSuffix(path, "/v1"), "/")+"/", ""
	return u, nil
}

// inClear tells whether a token sent there could be read on the way.
func inClear(u *url.URL) bool {
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err != nil || !a.IsLoopback()
}

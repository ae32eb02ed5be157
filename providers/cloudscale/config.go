package cloudscale

import (
	"errors"
	"fmt"
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
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		// The parser's own text would repeat a password.
		return nil, errors.New("cloudscale.endpoint: not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return nil, errors.New("cloudscale.endpoint: want a URL such as " + defaultEndpoint)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("cloudscale.endpoint: want a URL without user, query and fragment")
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

// resolveToken finds the token and refuses what no header can carry.
func resolveToken(d providers.Deps, c config) (string, error) {
	token, err := d.Secret("token", c.token, c.tokenFile, vendorTokenEnv)
	switch {
	case err != nil:
		return "", fmt.Errorf("cloudscale.token: %w", err)
	case token == "":
		return "", fmt.Errorf("cloudscale.token: no token: set token, token-file or the environment variable %s", vendorTokenEnv)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("cloudscale.token: holds a space or another character that no token has")
	}
	return token, nil
}

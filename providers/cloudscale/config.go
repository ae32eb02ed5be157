package cloudscale

import (
	"cmp"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
)

const (
	defaultEndpoint = "https://api.cloudscale.ch/"
	vendorTokenEnv  = "CLOUDSCALE_API_TOKEN"
	vendorURLEnv    = "CLOUDSCALE_API_URL"
)

// Entry registers the provider.
var Entry = providers.NewEntry(decode, newClient, Events)

// config is the section as written.
type config struct {
	endpoint             string
	token, tokenFile     string
	caFile               string
	serverUUID           string
	hostnameToServerUUID map[string]string
	base                 *url.URL // see baseURL
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	s := section.Read(name, node, section.Keys{
		"endpoint":                &c.endpoint,
		"token":                   &c.token,
		"token-file":              &c.tokenFile,
		"ca-file":                 &c.caFile,
		"server-uuid":             &c.serverUUID,
		"hostname-to-server-uuid": &c.hostnameToServerUUID,
	})
	c.base = baseURL(s, cmp.Or(c.endpoint, defaultEndpoint))
	s.Path("token-file", c.tokenFile, "/etc/berth/token")
	s.Path("ca-file", c.caFile, "/etc/berth/ca.pem")
	const want = "the UUID of a server"
	if c.serverUUID != "" && !providers.IsUUID(c.serverUUID) {
		s.Refuse("server-uuid", "", want)
	}
	for _, host := range slices.Sorted(maps.Keys(c.hostnameToServerUUID)) {
		if id := c.hostnameToServerUUID[host]; id != "" && !providers.IsUUID(id) {
			s.RefuseEntry("hostname-to-server-uuid", host, "", want)
		}
	}
	return c, s.Err()
}

// baseURL brings an endpoint into the form that the SDK needs: the SDK resolves paths
// that begin with v1/ against the endpoint, so it must end in a slash and not in the
// /v1 that other tools of the vendor want there.
func baseURL(s *section.Section, endpoint string) *url.URL {
	u := providers.ParseEndpoint(s, endpoint, defaultEndpoint)
	if u == nil {
		return nil
	}
	path := strings.TrimRight(u.Path, "/")
	u.Path, u.RawPath = strings.TrimRight(strings.TrimSuffix(path, "/v1"), "/")+"/", ""
	return u
}

// inClear tells whether a token sent there could be read on the way.
func inClear(u *url.URL) bool {
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err != nil || !a.IsLoopback()
}

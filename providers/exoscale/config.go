package exoscale

import (
	"strings"

	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
)

const (
	vendorKeyEnv    = "EXOSCALE_API_KEY"
	vendorSecretEnv = "EXOSCALE_API_SECRET"
)

// Entry registers the provider.
var Entry = providers.NewEntry(decode, newClient, Events)

// config is the section as written.
type config struct {
	endpoint, zone     string
	fallbackZone       string // where neither zone nor the metadata service says it
	key, keyFile       string
	secret, secretFile string
	caFile             string
	instanceID         string
	peers              []string
	base               string // see baseURL; empty for that of the zone
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	s := section.Read(name, node, section.Keys{
		"endpoint":      &c.endpoint,
		"zone":          &c.zone,
		"fallback-zone": &c.fallbackZone,
		"key":           &c.key,
		"key-file":      &c.keyFile,
		"secret":        &c.secret,
		"secret-file":   &c.secretFile,
		"ca-file":       &c.caFile,
		"instance-id":   &c.instanceID,
		"peers":         &c.peers,
	})
	if c.endpoint != "" {
		c.base = baseURL(s, c.endpoint)
	}
	s.Path("key-file", c.keyFile, "/etc/berth/exoscale-key")
	s.Path("secret-file", c.secretFile, "/etc/berth/exoscale-secret")
	s.Path("ca-file", c.caFile, "/etc/berth/ca.pem")
	for key, zone := range map[string]string{"zone": c.zone, "fallback-zone": c.fallbackZone} {
		if zone != "" && !isZone(zone) {
			s.Refuse(key, "", "a zone such as ch-gva-2")
		}
	}
	if c.instanceID != "" && !providers.IsUUID(c.instanceID) {
		s.Refuse("instance-id", "", "the UUID of an instance")
	}
	for i, p := range c.peers {
		if !providers.IsUUID(p) {
			s.RefuseItem("peers", i, "", "the UUID of an instance")
		}
	}
	return c, s.Err()
}

// maxZone bounds the name of a zone; the longest has nine characters.
const maxZone = 20

// isZone tells whether a zone may become part of a host name.
func isZone(s string) bool {
	if len(s) > maxZone || !strings.Contains(s, "-") {
		return false
	}
	for part := range strings.SplitSeq(s, "-") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

// baseURL brings an endpoint into the form that the SDK needs: the SDK appends paths
// to it as text, so that it must end in the version of the API.
func baseURL(s *section.Section, endpoint string) string {
	u := providers.ParseEndpoint(s, endpoint, zoneURL("ch-gva-2"))
	if u == nil {
		return ""
	}
	path := strings.TrimRight(u.Path, "/")
	u.Path, u.RawPath = strings.TrimSuffix(path, "/v2")+"/v2", ""
	return u.String()
}

// zoneURL returns the endpoint of a zone. The pattern holds for every zone of today;
// the key endpoint is for one that differs.
func zoneURL(zone string) string { return "https://api-" + zone + ".exoscale.com/v2" }

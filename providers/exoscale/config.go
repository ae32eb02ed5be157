package exoscale

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/providers"
)

const (
	vendorKeyEnv    = "EXOSCALE_API_KEY"
	vendorSecretEnv = "EXOSCALE_API_SECRET"
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
	endpoint, zone     string
	key, keyFile       string
	secret, secretFile string
	caFile             string
	instanceID         string
	peers              []string
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	errs := []error{providers.DecodeSection("exoscale", node, providers.Keys{
		"endpoint":    &c.endpoint,
		"zone":        &c.zone,
		"key":         &c.key,
		"key-file":    &c.keyFile,
		"secret":      &c.secret,
		"secret-file": &c.secretFile,
		"ca-file":     &c.caFile,
		"instance-id": &c.instanceID,
		"peers":       &c.peers,
	})}
	if c.endpoint != "" {
		_, err := baseURL(c.endpoint)
		errs = append(errs, err)
	}
	if c.zone != "" && !isZone(c.zone) {
		errs = append(errs, errors.New("exoscale.zone: want a zone such as ch-gva-2"))
	}
	if c.instanceID != "" && !providers.IsUUID(c.instanceID) {
		errs = append(errs, errors.New("exoscale.instance-id: want the UUID of an instance"))
	}
	for _, p := range c.peers {
		if !providers.IsUUID(p) {
			errs = append(errs, fmt.Errorf("exoscale.peers: want UUIDs of instances, got %q", p))
		}
	}
	return c, errors.Join(errs...)
}

// isZone tells whether a zone may become part of a host name.
func isZone(s string) bool {
	for part := range strings.SplitSeq(s, "-") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

// baseURL brings an endpoint into the form that the SDK needs: paths are appended
// to it as text, and it ends in the API's version.
func baseURL(endpoint string) (string, error) {
	u, err := providers.ParseEndpoint(name, endpoint, zoneURL("ch-gva-2"))
	if err != nil {
		return "", err
	}
	path := strings.TrimRight(u.Path, "/")
	u.Path, u.RawPath = strings.TrimSuffix(path, "/v2")+"/v2", ""
	return u.String(), nil
}

// zoneURL is where a zone's API is. The pattern holds for every zone there is;
// endpoint is for one that differs.
func zoneURL(zone string) string { return "https://api-" + zone + ".exoscale.com/v2" }

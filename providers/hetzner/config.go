package hetzner

import (
	"errors"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/providers"
)

const (
	defaultEndpoint = "https://api.hetzner.cloud/v1"
	vendorTokenEnv  = "HCLOUD_TOKEN"
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
	endpoint         string
	token, tokenFile string
	caFile           string
	serverID         string
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	errs := []error{providers.DecodeSection(name, node, providers.Keys{
		"endpoint":   &c.endpoint,
		"token":      &c.token,
		"token-file": &c.tokenFile,
		"ca-file":    &c.caFile,
		"server-id":  &c.serverID,
	})}
	_, err := baseURL(c.endpoint)
	errs = append(errs, err)
	if c.serverID != "" {
		if _, err := parseID(c.serverID); err != nil {
			errs = append(errs, errors.New("hetzner.server-id: want the number that the console shows"))
		}
	}
	return c, errors.Join(errs...)
}

// baseURL returns the endpoint without a slash at its end.
func baseURL(endpoint string) (string, error) {
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	if _, err := providers.ParseEndpoint(name, endpoint, defaultEndpoint); err != nil {
		return "", err
	}
	return strings.TrimRight(endpoint, "/"), nil
}

// parseID reads the id of a server, which is a positive number.
func parseID(text string) (string, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 {
		return "", errors.New("no number: is this a server of Hetzner Cloud? Otherwise set server-id")
	}
	return strconv.FormatInt(n, 10), nil
}

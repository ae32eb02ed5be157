package hetzner

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
)

const (
	defaultEndpoint = "https://api.hetzner.cloud/v1"
	vendorTokenEnv  = "HCLOUD_TOKEN"
)

// Entry registers the provider.
var Entry = providers.NewEntry(decode, newClient, nil)

// config is the section as written.
type config struct {
	endpoint         string // without a slash at its end
	token, tokenFile string
	caFile           string
	serverID         string
}

// decode reads the section and checks what can be checked without asking.
func decode(node *yaml.Node) (config, error) {
	var c config
	s := section.Read(name, node, section.Keys{
		"endpoint":   &c.endpoint,
		"token":      &c.token,
		"token-file": &c.tokenFile,
		"ca-file":    &c.caFile,
		"server-id":  &c.serverID,
	})
	c.endpoint = strings.TrimRight(cmp.Or(c.endpoint, defaultEndpoint), "/")
	providers.ParseEndpoint(s, c.endpoint, defaultEndpoint)
	s.Path("token-file", c.tokenFile, "/etc/berth/token")
	s.Path("ca-file", c.caFile, "/etc/berth/ca.pem")
	if c.serverID != "" {
		if _, err := parseID(c.serverID); err != nil {
			s.Refuse("server-id", "", "the number that the console shows")
		}
	}
	return c, s.Err()
}

// parseID reads the id of a server, which is a positive number.
func parseID(text string) (string, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 {
		return "", errors.New("not a number: is this a server of Hetzner Cloud? Otherwise set server-id")
	}
	return strconv.FormatInt(n, 10), nil
}

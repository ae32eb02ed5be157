package cloudscale

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	sdk "github.com/cloudscale-ch/cloudscale-go-sdk/v8"
	"go.uber.org/zap"

	"berth/internal/journal"
	"berth/providers"
)

const (
	name = "cloudscale"

	opList   = "list floating IPs"
	opPoint  = "point floating IP"
	opServer = "read own server"
)

// Client is a providers.Provider.
type Client struct {
	*providers.Mover
	*providers.Access
	base      *url.URL
	userAgent string
	names     map[string]string  // server id in lower case to host name, for people
	leftOut   *journal.Condition // floating IPs that cannot be read
}

// newClient makes no calls.
func newClient(d providers.Deps, conf config) (providers.Provider, error) {
	base := conf.base
	access, err := providers.NewAccess(d, providers.AccessOptions{Provider: name, CAFile: conf.caFile,
		Secrets: []providers.SecretKey{{Key: "token", Inline: conf.token, File: conf.tokenFile, Env: vendorTokenEnv}}})
	if err != nil {
		return nil, err
	}
	access.Endpoint = base.String()
	c := &Client{
		Access:    access,
		base:      base, // the SDK would take that of the environment
		userAgent: d.UserAgent,
		names:     map[string]string{},
		leftOut:   access.Journal.Condition(),
	}
	if d.Env(vendorURLEnv) != "" {
		c.Journal.Tell(variableIgnored, zap.String("variable", vendorURLEnv), zap.Stringer("endpoint", base))
	}
	if inClear(base) {
		c.Journal.Tell(sentInClear, zap.Stringer("endpoint", base))
	}
	for host, id := range conf.hostnameToServerUUID {
		c.names[strings.ToLower(id)] = host
	}
	configured := cmp.Or(conf.serverUUID, conf.hostnameToServerUUID[c.Hostname])
	if configured == "" && len(conf.hostnameToServerUUID) > 0 {
		c.Journal.Tell(hostNotListed, zap.String("hostname", c.Hostname))
	}
	c.Mover = access.NewMover(providers.MoverOptions{
		Endpoint: base.String(), Configured: configured, Metadata: metadataPath, ParseID: parseMetadata,
		List: c.list, OpList: opList,
		Point: c.point, OpPoint: opPoint, UnknownServer: http.StatusBadRequest,
	})
	return c, nil
}

// Self asks the API for the server's name, which also shows that the server is
// one of the account.
func (c *Client) Self(ctx context.Context) (providers.Server, error) {
	id, _, err := c.Server.ID(ctx)
	if err != nil {
		return providers.Server{}, err
	}
	var server struct {
		Name string `json:"name"`
	}
	err = c.API.Call(ctx, opServer, func(ctx context.Context) error {
		return c.get(ctx, "v1/servers/"+url.PathEscape(id), &server)
	})
	return providers.Server{ID: id, Name: server.Name}, err
}

// floatingIP is what is needed of a floating IP. The SDK's own type is not used
// for reading: a surprise in a field that berth does not need would lose the whole
// list.
type floatingIP struct {
	Network string `json:"network"`
	Server  *struct {
		UUID string `json:"uuid"`
	} `json:"server"`
	LoadBalancer *struct {
		UUID string `json:"uuid"`
		Name string `json:"name"`
	} `json:"load_balancer"`
}

// api returns the SDK's client with the token of now.
func (c *Client) api() *sdk.Client {
	api := sdk.NewClient(c.API.HTTPClient())
	api.BaseURL = c.base
	api.AuthToken = c.Credentials.Values()[0]
	if c.userAgent != "" {
		api.UserAgent = c.userAgent + " " + api.UserAgent
	}
	return api
}

// get reads a JSON document of the API.
func (c *Client) get(ctx context.Context, path string, v any) error {
	api := c.api()
	req, err := api.NewRequest(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return api.Do(ctx, req, v)
}

// list reads all floating IPs of the account.
func (c *Client) list(ctx context.Context) (map[netip.Prefix]providers.Listed, error) {
	ips := map[netip.Prefix]providers.Listed{}
	strange := 0
	err := c.API.Call(ctx, opList, func(ctx context.Context) error {
		var list []floatingIP
		if err := c.get(ctx, "v1/floating-ips", &list); err != nil {
			return err
		}
		if list == nil {
			return errors.New("want a list, got null")
		}
		for _, ip := range list {
			network, err := providers.ParseNetwork(ip.Network)
			if err != nil {
				strange++
				continue
			}
			ips[network] = c.listed(network, ip)
		}
		// A floating IP of a kind that is not known yet must not hide the others, but
		// a list of nothing else is not a list of floating IPs.
		if len(ips) == 0 && strange > 0 {
			return errors.New("no floating IP in it has a network")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if strange > 0 {
		c.leftOut.Fail(providers.SomeLeftOut, fmt.Errorf("%d without a network", strange))
	} else {
		c.leftOut.Clear()
	}
	return ips, nil
}

func (c *Client) listed(network netip.Prefix, ip floatingIP) providers.Listed {
	l := providers.Listed{Key: network.Addr().String()}
	switch {
	case ip.Server != nil:
		l.Server = ip.Server.UUID
		if host := c.names[strings.ToLower(l.Server)]; host != "" {
			l.Owner = host + " (" + l.Server + ")"
		}
	case ip.LoadBalancer != nil:
		l.NotServer = "load balancer " + cmp.Or(ip.LoadBalancer.Name, ip.LoadBalancer.UUID)
	}
	return l
}

// point moves a floating IP, at once.
func (c *Client) point(ctx context.Context, key, server string) error {
	return c.API.Call(ctx, opPoint, func(ctx context.Context) error {
		return c.api().FloatingIPs.Update(ctx, key, &sdk.FloatingIPUpdateRequest{Server: server})
	})
}

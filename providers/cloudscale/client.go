// Package cloudscale points floating IPs of cloudscale.ch at this host. What it
// relies on is the vendor's API description (https://www.cloudscale.ch/en/api/v1):
//
// A floating IP is a network, /32 for IPv4 and /128 or /56 for IPv6, keyed by its
// address alone. One PATCH moves it from whoever has it, at once and as a whole;
// it cannot be made to point nowhere, so there is nothing to release. All
// floating IPs of an account come in one list.
//
// The vendor's SDK makes the requests. Around it are closed: the endpoint from
// the environment, redirects, the loss of the status when an error's body is
// not as expected, its own metadata client, and its panic on a network without
// a length.
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
	"sync"

	sdk "github.com/cloudscale-ch/cloudscale-go-sdk/v8"
	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

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
	log         *zap.Logger
	caller      *providers.Caller
	credentials *providers.Credentials
	base        *url.URL
	userAgent   string
	metadata    *providers.Caller
	metadataURL string
	names       map[string]string // server id in lower case to host name, for people
	fixed       bool              // the own server's id is configured
	cache       *providers.IDCache

	listing providers.Shared[struct{}, map[netip.Prefix]floatingIP]
	asking  providers.Shared[struct{}, string]
	claims  providers.Shared[claim, struct{}]

	mu       sync.Mutex              // guards all below
	server   string                  // own id, "" if not known
	verified bool                    // it does not come from the disk alone
	objects  map[netip.Prefix]string // network to key, nil if not known
	warned   bool                    // about networks that cannot be read
}

// claim is what makes two claims the same.
type claim struct{ key, server string }

// New returns the provider for its section of the configuration.
func New(d providers.Deps, node *yaml.Node) (providers.Provider, error) {
	conf, err := decode(node)
	if err != nil {
		return nil, err
	}
	base, err := baseURL(conf.endpoint)
	if err != nil {
		return nil, err
	}
	credentials, err := providers.NewCredentials(func() ([]string, error) {
		token, err := resolveToken(d, conf)
		return []string{token}, err
	})
	if err != nil {
		return nil, err
	}
	roots, err := providers.Roots(conf.caFile)
	if err != nil {
		return nil, fmt.Errorf("cloudscale: %w", err)
	}
	log := d.Log
	if log == nil {
		log = zap.NewNop()
	}
	hostname, err := d.Hostname()
	if err != nil {
		log.Warn("cannot read host name", zap.String("provider", name), zap.Error(err))
	}

	transport, direct := d.Transport, d.Transport
	if transport == nil {
		transport = providers.NewTransport(true, roots)
		direct = providers.NewTransport(false, nil) // link-local: a proxy would answer for itself
	}
	c := &Client{
		log:         log,
		caller:      providers.NewCaller(providers.CallerOptions{Provider: name, Transport: transport, Credentials: credentials, Log: log}),
		metadata:    providers.NewCaller(providers.CallerOptions{Provider: name, Transport: direct, Timeout: metadataTimeout, Log: log}),
		credentials: credentials,
		base:        base, // whatever the environment makes the SDK use
		userAgent:   d.UserAgent,
		metadataURL: cmp.Or(strings.TrimRight(d.MetadataURL, "/"), metadataURL) + metadataPath,
		names:       map[string]string{},
		cache: providers.NewIDCache(d.RunDir, providers.IDKey{
			Provider: name, Endpoint: base.String(), Hostname: hostname, BootID: providers.BootID()}, log),
	}
	if d.Env(vendorURLEnv) != "" {
		log.Warn("environment variable is ignored, set cloudscale.endpoint instead", zap.String("variable", vendorURLEnv), zap.String("endpoint", base.String()))
	}
	if inClear(base) {
		log.Warn("token is sent in clear text", zap.String("endpoint", base.String()))
	}

	for host, id := range conf.hostnameToServerUUID {
		c.names[strings.ToLower(id)] = host
	}
	cached := c.cache.Load()
	c.objects = cached.Objects
	c.server = conf.serverUUID
	if c.server == "" {
		c.server = conf.hostnameToServerUUID[hostname]
	}
	if c.server != "" {
		c.fixed, c.verified = true, true
		if !uuidForm.MatchString(c.server) {
			log.Warn("configured server id is no UUID", zap.String("provider", name), zap.String("server", c.server))
		}
		return c, nil
	}
	if len(conf.hostnameToServerUUID) > 0 {
		log.Warn("hostname-to-server-uuid has no entry for this host, the metadata service is asked",
			zap.String("provider", name), zap.String("hostname", hostname))
	}
	c.server = cached.Server
	c.verified = c.server == ""
	return c, nil
}

// Observe makes one call for any number of addresses.
func (c *Client) Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var server string
	var serverErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		c.verifyServer(asking)
		server, _, serverErr = c.ownServer(asking)
	})
	// Not shared with others who list: they may have begun before.
	ips, err := c.list(ctx)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, serverErr); err != nil {
		return nil, err
	}
	holders := make(map[netip.Addr]providers.Holder, len(addrs))
	for _, a := range addrs {
		if network, ok := containing(ips, a); ok {
			holders[a] = c.holder(network, ips[network], server)
		} else {
			holders[a] = providers.Holder{Kind: providers.NotManaged}
		}
	}
	return holders, nil
}

// Claim makes one call if the floating IP's key and the server's id are known.
func (c *Client) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var server string
	var asked bool
	var serverErr error
	var wg sync.WaitGroup
	wg.Go(func() { server, asked, serverErr = c.ownServer(asking) })
	key, listed, err := c.object(ctx, addr)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, serverErr); err != nil {
		return err
	}

	if err := check(ctx); err != nil {
		return err
	}
	err = c.point(ctx, claim{key, server})
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || (e.Status != http.StatusBadRequest && e.Status != http.StatusNotFound) {
		return err
	}
	if listed && (asked || c.fixed) {
		return err // nothing of it was old
	}
	c.log.Info("provider refuses what was known, looking up again", zap.String("provider", name),
		zap.String("address", addr.String()), zap.Error(err))
	if e.Status == http.StatusBadRequest && !c.fixed {
		wg.Go(func() { server, serverErr = c.learnServer(ctx) })
	}
	key, err = c.lookUp(ctx, addr)
	wg.Wait()
	if err := cmp.Or(err, serverErr); err != nil {
		return err
	}
	if err := check(ctx); err != nil {
		return err
	}
	return c.point(ctx, claim{key, server})
}

// Self asks the API for the server's name, which also shows that the server is
// one of the account.
func (c *Client) Self(ctx context.Context) (providers.Server, error) {
	id, _, err := c.ownServer(ctx)
	if err != nil {
		return providers.Server{}, err
	}
	var server struct {
		Name string `json:"name"`
	}
	err = c.caller.Call(ctx, opServer, func(ctx context.Context) error {
		return c.get(ctx, "v1/servers/"+url.PathEscape(id), &server)
	})
	return providers.Server{ID: id, Name: server.Name}, err
}

// floatingIP is what is needed of a floating IP. The SDK's own type is not used
// for reading: a surprise in a field that nobody needs would lose the whole list.
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
	api := sdk.NewClient(c.caller.HTTPClient())
	api.BaseURL = c.base
	api.AuthToken = c.credentials.Values()[0]
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

// list reads all floating IPs of the account and remembers their keys.
func (c *Client) list(ctx context.Context) (map[netip.Prefix]floatingIP, error) {
	ips := map[netip.Prefix]floatingIP{}
	var strange []string
	err := c.caller.Call(ctx, opList, func(ctx context.Context) error {
		var list []floatingIP
		if err := c.get(ctx, "v1/floating-ips", &list); err != nil {
			return err
		}
		if list == nil {
			return errors.New("want a list, got null")
		}
		for _, ip := range list {
			network, err := parseNetwork(ip.Network)
			if err != nil {
				strange = append(strange, ip.Network)
				continue
			}
			ips[network] = ip
		}
		// One of a kind that is not known yet must not hide the others, but a
		// list of nothing else is no list of floating IPs.
		if len(ips) == 0 && len(strange) > 0 {
			return errors.New("no floating IP in it has a network")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}

	objects := make(map[netip.Prefix]string, len(ips))
	for network := range ips {
		objects[network] = network.Addr().String()
	}
	c.mu.Lock()
	c.objects = objects
	first := len(strange) > 0 && !c.warned
	c.warned = c.warned || first
	c.mu.Unlock()
	if first {
		c.log.Warn("floating IPs without a network that can be read are left out", zap.String("provider", name), zap.Int("count", len(strange)))
	}
	c.cache.Store(providers.IDs{Objects: objects})
	return ips, nil
}

// parseNetwork reads a network with or without its length, as netip has it.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no network", text)
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// object returns the key of the floating IP that addr is, or lies in, from memory
// or, if it is not there, by listing. listed tells that the API was asked.
func (c *Client) object(ctx context.Context, addr netip.Addr) (key string, listed bool, err error) {
	c.mu.Lock()
	objects := c.objects
	c.mu.Unlock()
	if network, ok := containing(objects, addr); ok {
		return objects[network], false, nil
	}
	key, err = c.lookUp(ctx, addr)
	return key, true, err
}

// lookUp lists to find the key for addr. Callers share one request.
func (c *Client) lookUp(ctx context.Context, addr netip.Addr) (string, error) {
	ips, err := c.listing.Do(ctx, struct{}{}, c.list)
	if err != nil {
		return "", asError(ctx, opList, err)
	}
	network, ok := containing(ips, addr)
	if !ok {
		return "", providers.NotManagedError(name, opPoint, addr)
	}
	return network.Addr().String(), nil
}

// containing returns the smallest network that has addr in it. Floating IPs do
// not overlap today; should they, the smallest is where traffic goes.
func containing[V any](networks map[netip.Prefix]V, addr netip.Addr) (netip.Prefix, bool) {
	var best netip.Prefix
	found := false
	for p := range networks {
		if p.Contains(addr) && (!found || p.Bits() > best.Bits()) {
			best, found = p, true
		}
	}
	return best, found
}

// point moves a floating IP here. Addresses of one network are one object, so
// that claims for several of them at once share a request.
func (c *Client) point(ctx context.Context, to claim) error {
	_, err := c.claims.Do(ctx, to, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.caller.Call(ctx, opPoint, func(ctx context.Context) error {
			return c.api().FloatingIPs.Update(ctx, to.key, &sdk.FloatingIPUpdateRequest{Server: to.server})
		})
	})
	return asError(ctx, opPoint, err)
}

// holder tells who has a floating IP.
func (c *Client) holder(network netip.Prefix, ip floatingIP, server string) providers.Holder {
	h := providers.Holder{Object: network.String()}
	switch {
	case ip.Server != nil && strings.EqualFold(ip.Server.UUID, server):
		h.Kind, h.Owner = providers.Mine, ip.Server.UUID
	case ip.Server != nil:
		h.Kind, h.Owner = providers.Other, ip.Server.UUID
		if host := c.names[strings.ToLower(ip.Server.UUID)]; host != "" {
			h.Owner = host + " (" + ip.Server.UUID + ")"
		}
	case ip.LoadBalancer != nil:
		h.Kind, h.Owner = providers.NotServer, "load balancer "+cmp.Or(ip.LoadBalancer.Name, ip.LoadBalancer.UUID)
	default:
		h.Kind = providers.Nobody
	}
	return h
}

// asError gives the form of this provider to the bare cause with which waiting
// for a shared call ends.
func asError(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*providers.Error](err); ok {
		return err
	}
	return providers.EndedError(ctx, name, op)
}

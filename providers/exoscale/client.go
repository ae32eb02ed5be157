package exoscale

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	sdk "github.com/exoscale/egoscale/v3"
	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/providers"
)

const (
	name = "exoscale"

	// claimsAtOnce and readsAtOnce bound how many addresses are claimed, and how
	// many records are read, at the same time.
	claimsAtOnce = 16
	readsAtOnce  = 16
)

// Client is a providers.Provider.
type Client struct {
	providers.TLS
	log         *zap.Logger
	caller      *providers.Caller
	credentials *providers.Credentials
	userAgent   string
	metadata    *providers.Caller
	metadataURL string
	drive       string   // has the same, if there is one
	base        string   // configured endpoint, "" for that of the zone
	fixed       bool     // the own instance's id is configured
	peers       []string // ids in lower case; nil: any instance may be another holder
	cache       *providers.IDCache

	listing providers.Shared[struct{}, map[netip.Prefix]elasticIP]
	asking  providers.Shared[struct{}, identity]
	reading providers.Shared[string, instance]
	claims  providers.Shared[claim, struct{}]
	slots   chan struct{} // one in it for each claim under way

	auditDue chan struct{}
	audits   atomic.Bool // somebody makes the audits that are due

	mu       sync.Mutex // guards all below
	api      *sdk.Client
	apiFor   string // endpoint and credentials that api was made for
	self     identity
	verified bool                       // self does not come from the disk alone
	objects  map[netip.Prefix]elasticIP // nil if not known
	permits  map[claim][]*permit
	holding  holding
	warned   map[string]bool // what was said once
}

// claim is what makes two claims the same.
type claim struct{ eip, instance string }

// New returns the provider for its section of the configuration.
func New(d providers.Deps, node *yaml.Node) (providers.Provider, error) {
	conf, err := decode(node)
	if err != nil {
		return nil, err
	}
	access, err := providers.NewAccess(d, providers.AccessOptions{Provider: name, CAFile: conf.caFile, Signed: true,
		Secrets: []providers.SecretKey{
			{Key: "key", Inline: conf.key, File: conf.keyFile, Env: vendorKeyEnv},
			{Key: "secret", Inline: conf.secret, File: conf.secretFile, Env: vendorSecretEnv},
		}})
	if err != nil {
		return nil, err
	}
	base := conf.base
	c := &Client{
		TLS:         providers.TLS{Endpoint: base, Names: d.Names},
		log:         access.Log,
		caller:      access.API,
		credentials: access.Credentials,
		userAgent:   d.UserAgent,
		metadata:    access.Metadata,
		metadataURL: access.MetadataURL + metadataPath,
		drive:       drivePath,
		base:        base,
		fixed:       conf.instanceID != "",
		cache: providers.NewIDCache(d.RunDir, providers.IDKey{
			Provider: name, Endpoint: base, Zone: conf.zone, Hostname: access.Hostname, BootID: providers.BootID()}, access.Log),
		slots:    make(chan struct{}, claimsAtOnce),
		auditDue: make(chan struct{}, 1),
		permits:  map[claim][]*permit{},
		warned:   map[string]bool{},
	}
	for _, p := range conf.peers {
		c.peers = append(c.peers, strings.ToLower(p))
	}
	cached := c.cache.Load()
	c.self = identity{
		instance: strings.ToLower(cmp.Or(conf.instanceID, cached.Server)),
		zone:     cmp.Or(conf.zone, cached.Zone),
	}
	if base == "" && c.self.zone != "" {
		c.Endpoint = zoneURL(c.self.zone)
	}
	c.verified = c.fixed || cached.Server == ""
	c.objects = parseObjects(cached.Objects)
	return c, nil
}

// warnOnce says something that an operator should know, once.
func (c *Client) warnOnce(message string, fields ...zap.Field) {
	c.mu.Lock()
	key := message
	for _, f := range fields {
		key += "\x00" + f.String
	}
	first := !c.warned[key]
	c.warned[key] = true
	c.mu.Unlock()
	if first {
		c.log.Warn(message, append(fields, zap.String("provider", name))...)
	}
}

// Claim attaches the elastic IP here and detaches it everywhere else. With all
// known these are two calls for what is free, four for what one other instance
// has, and those by which the operations are watched.
func (c *Client) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var self identity
	var asked bool
	var selfErr error
	var wg sync.WaitGroup
	wg.Go(func() { self, asked, selfErr = c.identity(asking) })
	// Listing needs to know the zone too, and shares the look-up of it.
	object, listed, err := c.object(ctx, addr)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, selfErr); err != nil {
		return err
	}

	err = c.take(ctx, object, self.instance, check)
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Op != opAttach || !e.Unknown() {
		return err
	}
	if listed && (asked || c.fixed) {
		return err // nothing of it was old
	}
	c.log.Info("provider refuses what was known, looking up again", zap.String("provider", name),
		zap.String("address", addr.String()), zap.Error(err))
	if !c.fixed {
		// If the service does not answer, what was known stands.
		if known, err := c.learnSelf(ctx); err == nil {
			self = known
		}
	}
	if object, err = c.lookUp(ctx, addr); err != nil {
		return err
	}
	return c.take(ctx, object, self.instance, check)
}

// permit is that of one of those who claim the same.
type permit struct {
	ctx   context.Context
	check func(context.Context) error
}

// take moves an elastic IP here. Addresses of one network are one object, so that
// claims for several of them at once share the work; it may write as long as one
// of those who wait for it may.
func (c *Client) take(ctx context.Context, object elasticIP, instance string, check func(context.Context) error) error {
	to := claim{object.id, instance}
	p := &permit{ctx, check}
	c.mu.Lock()
	c.permits[to] = append(c.permits[to], p)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.permits[to] = slices.DeleteFunc(c.permits[to], func(o *permit) bool { return o == p })
		if len(c.permits[to]) == 0 {
			delete(c.permits, to)
		}
	}()
	_, err := c.claims.Do(ctx, to, func(ctx context.Context) (struct{}, error) {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
		return struct{}{}, c.move(ctx, object, to)
	})
	return providers.NotTheAddress(providers.SharedError(ctx, name, opAttach, err))
}

// permitted is asked right before each write.
func (c *Client) permitted(to claim) error {
	c.mu.Lock()
	permits := slices.Clone(c.permits[to])
	c.mu.Unlock()
	err := errNobodyWaits
	for _, p := range permits {
		if p.ctx.Err() != nil {
			err = context.Cause(p.ctx)
			continue
		}
		if err = p.check(p.ctx); err == nil {
			return nil
		}
	}
	return err
}

var errNobodyWaits = errors.New("nobody waits for the claim any more")

// move attaches this host, finds out meanwhile who else has the elastic IP, and
// detaches those once it is sure that this host has it.
func (c *Client) move(ctx context.Context, object elasticIP, to claim) error {
	op, err := c.attach(ctx, to)
	if err != nil {
		return err
	}
	finding, stop := context.WithCancel(ctx)
	defer stop()
	var others []instance
	var findErr error
	var wg sync.WaitGroup
	wg.Go(func() { others, findErr = c.others(finding, object, to.instance) })
	err = c.attached(ctx, to, op)
	if err != nil {
		stop()
	}
	wg.Wait()
	if err := cmp.Or(err, findErr); err != nil {
		return err
	}
	errs := make([]error, len(others))
	for i, other := range others {
		wg.Go(func() { errs[i] = c.detach(ctx, to, other) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// Self asks the API for the own instance, which also shows that it is one of the
// account and zone.
func (c *Client) Self(ctx context.Context) (providers.Server, error) {
	self, _, err := c.identity(ctx)
	if err != nil {
		return providers.Server{}, err
	}
	me, err := c.instance(ctx, opSelf, self.instance)
	return providers.Server{ID: self.instance, Name: me.name}, err
}

// Prepare asks the metadata service for the own instance and zone and lists the
// elastic IPs, each only if neither this process nor the cache on disk knows it. That
// there are none is an error of the kind NotFound.
func (c *Client) Prepare(ctx context.Context) error {
	if _, _, err := c.identity(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	known := c.objects != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	listed, err := c.listing.Do(ctx, struct{}{}, c.list)
	if err == nil && len(listed) == 0 {
		return providers.EmptyError(name, opList)
	}
	return providers.SharedError(ctx, name, opList, err)
}

var _ providers.Preparer = (*Client)(nil)

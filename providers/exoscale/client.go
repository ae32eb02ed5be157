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

	"berth/internal/journal"
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
	*providers.Access
	userAgent string
	drive     string   // has what the metadata service has, if there is one
	base      string   // configured endpoint, "" for that of the zone
	fallback  string   // the zone where only the metadata service could say it, and does not
	fixed     bool     // the own instance's id is configured
	peers     []string // configured ids in lower case; nil: any instance may be another holder
	cache     *providers.IDCache

	listing providers.Shared[struct{}, map[netip.Prefix]elasticIP]
	asking  providers.Shared[struct{}, identity]
	reading providers.Shared[string, instance]
	claims  providers.Shared[claim, struct{}]
	slots   chan struct{} // one in it for each claim under way

	auditDue chan struct{}
	audits   atomic.Bool // the audits that are due are made
	verified atomic.Bool // self does not come from the disk alone

	leftOut, pooled, doubt, unaudited, unread *journal.Condition

	mu      sync.Mutex // guards all below
	api     *sdk.Client
	apiFor  string // endpoint and credentials that api was made for
	self    identity
	objects map[netip.Prefix]elasticIP // nil if not known
	permits map[claim][]*permit
	memory  memory
	told    []string                           // ids in lower case that SetPeers told
	strange map[string]bool                    // ids of told that no instance has, which was said
	groups  map[string]string                  // security groups: as asked for, to id
	leases  map[string]map[string][]netip.Addr // private networks: addresses by instance, as read last
	managed map[netip.Addr]*journal.Condition
}

// claim is what makes two claims the same.
type claim struct{ eip, instance string }

// newClient makes no calls.
func newClient(d providers.Deps, conf config) (providers.Provider, error) {
	access, err := providers.NewAccess(d, providers.AccessOptions{Provider: name, CAFile: conf.caFile, Signed: true,
		Secrets: []providers.SecretKey{
			{Key: "key", Inline: conf.key, File: conf.keyFile, Env: vendorKeyEnv},
			{Key: "secret", Inline: conf.secret, File: conf.secretFile, Env: vendorSecretEnv},
		}})
	if err != nil {
		return nil, err
	}
	base := conf.base
	access.Endpoint = base
	c := &Client{
		Access:    access,
		userAgent: d.UserAgent,
		drive:     drivePath,
		base:      base,
		fallback:  conf.fallbackZone,
		fixed:     conf.instanceID != "",
		cache:     access.IDCache(base, conf.zone),
		slots:     make(chan struct{}, claimsAtOnce),
		auditDue:  make(chan struct{}, 1),
		leftOut:   access.Journal.Condition(),
		pooled:    access.Journal.Condition(),
		doubt:     access.Journal.Condition(),
		unaudited: access.Journal.Condition(),
		unread:    access.Journal.Condition(),
		permits:   map[claim][]*permit{},
		strange:   map[string]bool{},
		managed:   map[netip.Addr]*journal.Condition{},
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
	c.verified.Store(c.fixed || cached.Server == "")
	c.objects = parseObjects(cached.Objects)
	return c, nil
}

// Claim attaches the elastic IP here and detaches it everywhere else. With all ids
// known these are two calls for an elastic IP that no instance has, four for one that
// another instance has, and those that ask for the operations.
func (c *Client) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var self identity
	var asked bool
	var selfErr error
	var wg sync.WaitGroup
	wg.Go(func() { self, asked, selfErr = c.identity(asking) })
	// Listing needs to know the zone too, and shares the look-up of it.
	object, listed, err := c.object(ctx, opAttach, addr)
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
		return err // both ids were looked up just now
	}
	c.Journal.Tell(providers.LookingUpAgain, zap.String("address", addr.String()), zap.Error(err))
	if !c.fixed {
		// If the metadata service does not answer, the id that was known stands.
		if known, err := c.learnSelf(ctx); err == nil {
			self = known
		}
	}
	if object, err = c.lookUp(ctx, opAttach, addr); err != nil {
		return err
	}
	return c.take(ctx, object, self.instance, check)
}

// permit is that of one of several callers with the same claim.
type permit struct {
	ctx   context.Context
	check func(context.Context) error
}

// take moves an elastic IP here. Addresses of one network are one object, so that
// claims for several of them at once share the work, which may write as long as the
// permit of one of the waiting callers stands.
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

// permitted is called right before each write.
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

var errNobodyWaits = errors.New("no caller waits for the claim any more")

// move attaches this host, finds out meanwhile which other instances have the elastic
// IP, and detaches those once it is sure that this host has it.
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
// elastic IPs, each only if neither this process nor the cache on disk knows it. An
// account without elastic IPs is an error of the kind NotFound.
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

var (
	_ providers.Preparer = (*Client)(nil)
	_ providers.Lister   = (*Client)(nil)
)

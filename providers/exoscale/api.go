package exoscale

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	sdk "github.com/exoscale/egoscale/v3"
	"github.com/exoscale/egoscale/v3/credentials"
	"go.uber.org/zap"

	"berth/providers"
)

const (
	opList     = "list elastic IPs"
	opFind     = "list instances by elastic IP"
	opAll      = "list instances"
	opSelf     = "read own instance"
	opInstance = "read instance"
	opAttach   = "attach elastic IP"
	opDetach   = "detach elastic IP"
	opWatch    = "read operation"
)

// instance is what is needed of an instance's own record.
type instance struct {
	id, name string
	pool     string          // instance pool that manages it, "" if none does
	eips     map[string]bool // ids of the elastic IPs attached to it
	gone     bool            // the API does not know it
}

// String names an instance for people.
func (i instance) String() string {
	if i.name == "" {
		return i.id
	}
	return i.name + " (" + i.id + ")"
}

// elasticIP is what is needed of an elastic IP.
type elasticIP struct {
	id      string
	ip      string // as the API spells it, for the filter
	managed bool   // it has a health check of its own
}

// call makes a request through the SDK.
func (c *Client) call(ctx context.Context, op string, f func(context.Context, *sdk.Client) error) error {
	base, err := c.endpoint(ctx)
	if err != nil {
		return err
	}
	return c.API.Call(ctx, op, func(ctx context.Context) error {
		api, err := c.client(base)
		if err != nil {
			return err
		}
		return f(ctx, api)
	})
}

// client returns the SDK's client for an endpoint with the newest credentials.
func (c *Client) client(base string) (*sdk.Client, error) {
	values := c.Credentials.Values()
	key := strings.Join(append(values, base), "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiFor == key {
		return c.api, nil
	}
	options := []sdk.ClientOpt{sdk.ClientOptWithEndpoint(sdk.Endpoint(base)), sdk.ClientOptWithHTTPClient(c.API.HTTPClient())}
	if c.userAgent != "" {
		options = append(options, sdk.ClientOptWithUserAgent(c.userAgent))
	}
	api, err := sdk.NewClient(credentials.NewStaticCredentials(values[0], values[1]), options...)
	if err != nil {
		return nil, err
	}
	c.api, c.apiFor = api, key
	return api, nil
}

// own reads the record of this host.
func (c *Client) own(ctx context.Context, id string) (instance, error) {
	me, err := c.instance(ctx, opSelf, id)
	return me, providers.NotTheAddress(err)
}

// instance reads the record of an instance.
func (c *Client) instance(ctx context.Context, op, id string) (instance, error) {
	var in instance
	err := c.call(ctx, op, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.GetInstance(ctx, sdk.UUID(id))
		if err != nil {
			return err
		}
		if !strings.EqualFold(got.ID.String(), id) {
			return errors.New("it is not the instance that was asked for")
		}
		in = instance{id: id, name: got.Name, eips: map[string]bool{}}
		if got.Manager != nil && got.Manager.Type == sdk.ManagerTypeInstancePool {
			in.pool = got.Manager.ID.String()
		}
		for _, e := range got.ElasticIPS {
			in.eips[strings.ToLower(e.ID.String())] = true
		}
		return nil
	})
	if e, ok := errors.AsType[*providers.Error](err); ok && op == opSelf && e.Unknown() && c.fixed {
		e.Cause = cmp.Or(e.Cause, errNotInstance)
	}
	return in, err
}

// errNotInstance explains why the API does not know this host. exoip announced the id of a
// NIC, which its users can have at hand.
var errNotInstance = errors.New("instance-id (berth exoip: -i) is the id of an instance, and not that of its NIC, which exoip announced; the metadata service has it at http://169.254.169.254/latest/meta-data/instance-id")

// peer reads the record of another instance, shared by all callers that want it at
// the same time. An instance that the API does not know has no elastic IP.
func (c *Client) peer(ctx context.Context, id string) (instance, error) {
	in, err := c.reading.Do(ctx, id, func(ctx context.Context) (instance, error) {
		in, err := c.instance(ctx, opInstance, id)
		if isNotFound(err) {
			c.sayStrange(id)
			return instance{id: id, gone: true}, nil
		}
		return in, err
	})
	return in, providers.SharedError(ctx, name, opInstance, err)
}

// isNotFound tells that the API does not know the object that was asked for.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*providers.Error](err)
	return ok && e.Status == http.StatusNotFound
}

// records reads the records of several other instances.
func (c *Client) records(ctx context.Context, ids []string) ([]instance, error) {
	records := make([]instance, len(ids))
	err := parallel(ctx, readsAtOnce, len(ids), func(ctx context.Context, i int) (err error) {
		records[i], err = c.peer(ctx, ids[i])
		return err
	})
	return records, err
}

// find lists the instances that the API's filter names for an elastic IP.
func (c *Client) find(ctx context.Context, object elasticIP) ([]string, error) {
	return c.instances(ctx, opFind, sdk.ListInstancesWithIPAddress(object.ip))
}

func (c *Client) instances(ctx context.Context, op string, filter ...sdk.ListInstancesOpt) ([]string, error) {
	var ids []string
	err := c.call(ctx, op, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.ListInstances(ctx, filter...)
		if err != nil {
			return err
		}
		for _, in := range got.Instances {
			if !providers.IsUUID(in.ID.String()) {
				return errors.New("an instance in it has no id")
			}
			ids = append(ids, strings.ToLower(in.ID.String()))
		}
		return nil
	})
	return ids, providers.NotTheAddress(err)
}

// list reads all elastic IPs of the zone and remembers them. An object that a list
// lacks is not forgotten: a list can be empty or short once, and an id that is not
// valid any more is refused, and looked up again, when it is used.
func (c *Client) list(ctx context.Context) (map[netip.Prefix]elasticIP, error) {
	listed := map[netip.Prefix]elasticIP{}
	strange := 0
	err := c.call(ctx, opList, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.ListElasticIPS(ctx)
		if err != nil {
			return err
		}
		if got.ElasticIPS == nil {
			return errors.New("there is no list in it")
		}
		for _, e := range got.ElasticIPS {
			network, err := parseNetwork(e.IP, e.Cidr)
			if err != nil || !providers.IsUUID(e.ID.String()) {
				strange++
				continue
			}
			listed[network] = elasticIP{id: strings.ToLower(e.ID.String()), ip: e.IP, managed: e.Healthcheck != nil}
		}
		if strange > 0 && len(listed) == 0 {
			return errors.New("no elastic IP in it has an id and an address")
		}
		return nil
	})
	if err != nil {
		return nil, providers.NotTheAddress(err)
	}
	if strange > 0 {
		c.leftOut.Fail(providers.SomeLeftOut, fmt.Errorf("%d without an id or an address", strange))
	} else {
		c.leftOut.Clear()
	}
	if len(listed) == 0 {
		return listed, nil
	}
	c.mu.Lock()
	objects := make(map[netip.Prefix]elasticIP, len(c.objects)+len(listed))
	maps.Copy(objects, c.objects)
	maps.Copy(objects, listed)
	c.objects = objects
	c.mu.Unlock()
	c.cache.Store(providers.IDs{Objects: formatObjects(objects)})
	return listed, nil
}

// parseNetwork returns what an elastic IP covers: its network, or the address
// alone if the API names none.
func parseNetwork(ip, cidr string) (netip.Prefix, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an address", ip)
	}
	addr = addr.Unmap()
	if cidr == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(cidr)
	if err != nil {
		return netip.Prefix{}, err
	}
	if network = network.Masked(); !network.Contains(addr) {
		return netip.Prefix{}, fmt.Errorf("%s does not contain %s", network, addr)
	}
	return network, nil
}

// formatObjects and parseObjects convert elastic IPs into the form of the cache and
// back: id, address and, for those with a health check, "managed".
func formatObjects(objects map[netip.Prefix]elasticIP) map[netip.Prefix]string {
	out := make(map[netip.Prefix]string, len(objects))
	for network, e := range objects {
		out[network] = e.id + " " + e.ip
		if e.managed {
			out[network] += " managed"
		}
	}
	return out
}

func parseObjects(cached map[netip.Prefix]string) map[netip.Prefix]elasticIP {
	if cached == nil {
		return nil
	}
	objects := make(map[netip.Prefix]elasticIP, len(cached))
	for network, text := range cached {
		if f := strings.Fields(text); len(f) >= 2 && providers.IsUUID(f[0]) {
			objects[network] = elasticIP{id: f[0], ip: f[1], managed: slices.Contains(f[2:], "managed")}
		}
	}
	return objects
}

// object returns the elastic IP that addr is, or lies in, from memory or, if none is
// there, by listing, for the operation op. listed tells that the API was asked.
func (c *Client) object(ctx context.Context, op string, addr netip.Addr) (object elasticIP, listed bool, err error) {
	c.mu.Lock()
	_, object, ok := providers.Containing(c.objects, addr)
	c.mu.Unlock()
	if !ok {
		object, err = c.lookUp(ctx, op, addr)
		return object, true, err
	}
	c.sayManaged(addr, object)
	return object, false, nil
}

// lookUp lists to find the elastic IP of addr for the operation op. Callers share one
// request.
func (c *Client) lookUp(ctx context.Context, op string, addr netip.Addr) (elasticIP, error) {
	objects, err := c.listing.Do(ctx, struct{}{}, c.list)
	if err != nil {
		return elasticIP{}, providers.SharedError(ctx, name, opList, err)
	}
	_, object, ok := providers.Containing(objects, addr)
	if !ok {
		return elasticIP{}, providers.NotManagedError(name, op, addr)
	}
	c.sayManaged(addr, object)
	return object, nil
}

// Networks makes one list.
func (c *Client) Networks(ctx context.Context) ([]netip.Prefix, error) {
	objects, err := c.listing.Do(ctx, struct{}{}, c.list)
	if err != nil {
		return nil, providers.SharedError(ctx, name, opList, err)
	}
	return slices.SortedFunc(maps.Keys(objects), netip.Prefix.Compare), nil
}

// sayManaged tells of an elastic IP with a health check of its own.
func (c *Client) sayManaged(addr netip.Addr, object elasticIP) {
	c.mu.Lock()
	place := c.managed[addr]
	if place == nil && object.managed {
		place = c.Journal.With(zap.String("address", addr.String())).Condition()
		c.managed[addr] = place
	}
	c.mu.Unlock()
	switch {
	case object.managed:
		place.Fail(managed, errManaged)
	case place != nil:
		place.Clear()
	}
}

var errManaged = errors.New("it is a managed elastic IP")

package exoscale

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	sdk "github.com/exoscale/egoscale/v3"

	"berth/providers"
)

const (
	opGroups  = "list security groups"
	opNetwork = "read private network"
)

var _ providers.Grouper = (*Client)(nil)

// Group reads the list of the zone's instances, which tells the security groups of each
// and has no pages; the list of the security groups until the id of the group is known,
// and again when the group has no instance; and each private network of a member, which
// alone tells the addresses there: 1 + N calls for N networks once the id is known.
// Where the list tells no security group at all, the record of each instance is read.
//
// An instance that is being migrated runs on. Elastic IPs are no addresses of a member.
func (c *Client) Group(ctx context.Context, group string) ([]providers.Member, error) {
	self, _, err := c.identity(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	id := c.groups[group]
	c.mu.Unlock()

	var listed []member
	var listErr, groupErr error
	var wg sync.WaitGroup
	if id == "" {
		wg.Go(func() { id, groupErr = c.groupID(ctx, group) })
	}
	wg.Go(func() { listed, listErr = c.running(ctx, self.instance) })
	wg.Wait()
	if groupErr != nil {
		return nil, groupErr
	}
	if listErr != nil {
		return nil, listErr
	}
	in := func(m member) bool { return m.groups[id] }
	if !slices.ContainsFunc(listed, in) {
		// The group can have been made anew, with another id.
		if id, err = c.groupID(ctx, group); err != nil {
			return nil, err
		}
	}
	members := slices.DeleteFunc(listed, func(m member) bool { return !in(m) })
	if err := c.addPrivate(ctx, members); err != nil {
		return nil, err
	}
	result := make([]providers.Member, 0, len(members))
	for _, m := range members {
		m.Self = m.ID == self.instance
		result = append(result, m.Member)
	}
	slices.SortFunc(result, func(a, b providers.Member) int { return strings.Compare(a.ID, b.ID) })
	return result, nil
}

// member is an instance that runs.
type member struct {
	providers.Member
	groups   map[string]bool // ids of its security groups
	networks []string        // ids of its private networks
}

// running lists the instances of the zone that run; this host does, whatever its state
// in the list. A list without this host is not complete.
func (c *Client) running(ctx context.Context, self string) ([]member, error) {
	var members []member
	grouped := false // the list tells security groups
	err := c.call(ctx, opAll, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.ListInstances(ctx)
		if err != nil {
			return err
		}
		if got.Instances == nil {
			return errors.New("there is no list in it")
		}
		members, grouped = nil, false
		complete := false
		for _, in := range got.Instances {
			if !providers.IsUUID(in.ID.String()) {
				return errors.New("an instance in it has no id")
			}
			m := newMember(in.ID, in.Name, in.SecurityGroups, in.PublicIP, in.Ipv6Address)
			for _, n := range in.PrivateNetworks {
				m.networks = append(m.networks, strings.ToLower(n.ID.String()))
			}
			grouped = grouped || len(m.groups) > 0
			complete = complete || m.ID == self
			if m.ID == self || in.State == sdk.InstanceStateRunning || in.State == sdk.InstanceStateMigrating {
				members = append(members, m)
			}
		}
		if !complete {
			return errNotListed
		}
		return nil
	})
	if err != nil {
		return nil, providers.NotTheAddress(err)
	}
	if grouped {
		return members, nil
	}
	err = parallel(ctx, readsAtOnce, len(members), func(ctx context.Context, i int) error {
		groups, err := c.groupsOf(ctx, members[i].ID)
		members[i].groups = groups
		return err
	})
	return members, err
}

// newMember returns an instance with the addresses that its record has.
func newMember(id sdk.UUID, name string, groups []sdk.SecurityGroup, public []byte, ipv6 string) member {
	m := member{groups: map[string]bool{}}
	m.ID, m.Name = strings.ToLower(id.String()), name
	for _, g := range groups {
		m.groups[strings.ToLower(g.ID.String())] = true
	}
	if a, ok := netip.AddrFromSlice(public); ok {
		m.Addresses = append(m.Addresses, a.Unmap())
	}
	if a, err := netip.ParseAddr(ipv6); err == nil {
		m.Addresses = append(m.Addresses, a)
	}
	return m
}

// groupsOf reads the security groups of an instance. One that has gone since it was
// listed is in none.
func (c *Client) groupsOf(ctx context.Context, id string) (map[string]bool, error) {
	groups := map[string]bool{}
	err := c.call(ctx, opInstance, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.GetInstance(ctx, sdk.UUID(id))
		if err != nil {
			return err
		}
		for _, g := range got.SecurityGroups {
			groups[strings.ToLower(g.ID.String())] = true
		}
		return nil
	})
	if isNotFound(err) {
		return groups, nil
	}
	return groups, err
}

// groupID looks up the id of a security group, by its id or its name, and remembers it.
func (c *Client) groupID(ctx context.Context, group string) (string, error) {
	id := ""
	var names []string
	err := c.call(ctx, opGroups, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.ListSecurityGroups(ctx)
		if err != nil {
			return err
		}
		if got.SecurityGroups == nil {
			return errors.New("there is no list in it")
		}
		for _, g := range got.SecurityGroups {
			names = append(names, g.Name)
			if strings.EqualFold(g.ID.String(), group) || (g.Name == group && id == "") {
				id = strings.ToLower(g.ID.String())
			}
		}
		return nil
	})
	if err != nil {
		return "", providers.NotTheAddress(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" {
		delete(c.groups, group)
		slices.Sort(names)
		there := "the account has none"
		if len(names) > 0 {
			there = "the account has " + strings.Join(names, ", ")
		}
		return "", c.API.Refused(opGroups, providers.NotFound, fmt.Sprintf("no security group has the name or id %q; %s", group, there))
	}
	if c.groups == nil {
		c.groups = map[string]string{}
	}
	c.groups[group] = id
	return id, nil
}

// addPrivate adds the addresses that members have in private networks, as their leases
// tell. Where the API refuses to tell them, the leases that it told last count: a member
// must not seem to lose an address because a gateway refused one request.
func (c *Client) addPrivate(ctx context.Context, members []member) error {
	var networks []string
	for _, m := range members {
		networks = append(networks, m.networks...)
	}
	slices.Sort(networks)
	networks = slices.Compact(networks)
	var mu sync.Mutex // guards refused
	var refused error
	err := parallel(ctx, readsAtOnce, len(networks), func(ctx context.Context, i int) error {
		leases, err := c.leasesOf(ctx, networks[i])
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Kind == providers.Auth {
			mu.Lock()
			refused = err
			mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leases == nil {
			c.leases = map[string]map[string][]netip.Addr{}
		}
		c.leases[networks[i]] = leases
		return nil
	})
	if err != nil {
		return err
	}
	if refused != nil {
		c.unread.Fail(privateUnread, refused)
	} else {
		c.unread.Clear()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range members {
		for _, n := range networks {
			members[i].Addresses = append(members[i].Addresses, c.leases[n][members[i].ID]...)
		}
	}
	return nil
}

// leasesOf reads the addresses in a private network by the ids of their instances. A
// network that has gone has none.
func (c *Client) leasesOf(ctx context.Context, network string) (map[string][]netip.Addr, error) {
	leases := map[string][]netip.Addr{}
	err := c.call(ctx, opNetwork, func(ctx context.Context, api *sdk.Client) error {
		got, err := api.GetPrivateNetwork(ctx, sdk.UUID(network))
		if err != nil {
			return err
		}
		if !strings.EqualFold(got.ID.String(), network) {
			return errors.New("it is not the network that was asked for")
		}
		for _, l := range got.Leases {
			if a, ok := netip.AddrFromSlice(l.IP); ok {
				id := strings.ToLower(l.InstanceID.String())
				leases[id] = append(leases[id], a.Unmap())
			}
		}
		return nil
	})
	if isNotFound(err) {
		return leases, nil
	}
	return leases, err
}

package exoscale

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/providers"
)

// maxShown is the most instances that the filter by address is believed to mean;
// a longer list is that of an API which ignores the filter.
const maxShown = 16

// memory is what is remembered of which instances have which elastic IPs. It is
// guarded by Client.mu.
type memory struct {
	seen map[string]time.Time // elastic IPs: when this host was last seen attached

	// Numbers in the order of events tell whether an audit saw what a claim did.
	number  uint64
	moves   map[string]uint64 // elastic IPs: when this host was attached last
	audited uint64            // when the last audit began that has ended

	auditedAt time.Time                  // when that ended, or the first observation was made
	failed    int                        // audits in a row that failed
	suspects  map[string]map[string]bool // elastic IPs: others that an audit found attached
}

// saw remembers what the record of this host says.
func (c *Client) saw(me instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.seen = map[string]time.Time{}
	for eip := range me.eips {
		c.memory.seen[eip] = time.Now()
	}
}

func (c *Client) seenLately(eip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.memory.seen[eip]
	return ok && time.Since(at) <= freshSeen
}

// moved remembers that this host was attached: which others are attached has to be
// found out anew.
func (c *Client) moved(eip string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory.moves == nil {
		c.memory.moves = map[string]uint64{}
	}
	c.memory.number++
	c.memory.moves[eip] = c.memory.number
}

// Observe reads the record of this host, asks the filter for each elastic IP, and
// reads the record of each other instance that the filter names: 1 + A calls for A
// elastic IPs that no other instance has, and P more for P instances that SetPeers
// told. With the key peers it reads the records of peers instead: 1 + P calls for P
// peers. Addresses that are not an elastic IP cost one call together.
func (c *Client) Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	c.verifySelf(ctx)
	self, _, err := c.identity(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := c.wanted(ctx, addrs)
	if err != nil {
		return nil, err
	}
	me, err := c.own(ctx, self.instance)
	if err != nil {
		return nil, err
	}
	c.saw(me)
	if me.pool != "" {
		c.pooled.Fail(inPool, fmt.Errorf("instance pool %s", me.pool))
	} else {
		c.pooled.Clear()
	}

	views := map[string]*view{}
	for _, o := range objects {
		if views[o.id] == nil {
			views[o.id] = &view{object: o}
		}
	}
	if err := c.survey(ctx, views, me.id); err != nil {
		return nil, err
	}
	holders := make(map[netip.Addr]providers.Holder, len(addrs))
	for _, a := range addrs {
		if o, ok := objects[a]; ok {
			holders[a] = c.holder(views[o.id], me)
		} else {
			holders[a] = providers.Holder{Kind: providers.NotManaged}
		}
	}
	c.wantAudit(views, me)
	return holders, nil
}

// wanted returns the elastic IPs of the addresses that are or lie in one, and lists
// anew if an address does not: it may have become one.
func (c *Client) wanted(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]elasticIP, error) {
	c.mu.Lock()
	known := c.objects
	c.mu.Unlock()
	all := func(objects map[netip.Prefix]elasticIP) (map[netip.Addr]elasticIP, bool) {
		found := map[netip.Addr]elasticIP{}
		for _, a := range addrs {
			if _, o, ok := providers.Containing(objects, a); ok {
				found[a] = o
				c.sayManaged(a, o)
			}
		}
		return found, len(found) == len(addrs)
	}
	if found, ok := all(known); ok && known != nil {
		return found, nil
	}
	listed, err := c.listing.Do(ctx, struct{}{}, c.list)
	if err != nil {
		return nil, providers.SharedError(ctx, name, opList, err)
	}
	found, _ := all(listed)
	return found, nil
}

// view is what was found out about one elastic IP.
type view struct {
	object elasticIP
	shown  []string   // by the filter, this host included
	others []instance // whose own records have it
}

// ignored tells that the filter cannot have been applied.
func (v *view) ignored() bool { return len(v.shown) > maxShown }

// others returns the other instances whose own records have the elastic IP.
func (c *Client) others(ctx context.Context, object elasticIP, self string) ([]instance, error) {
	v := &view{object: object}
	err := c.survey(ctx, map[string]*view{object.id: v}, self)
	return v.others, err
}

// survey finds out which other instances have the elastic IPs.
func (c *Client) survey(ctx context.Context, views map[string]*view, self string) error {
	order := slices.Sorted(maps.Keys(views))
	candidates := map[string]map[string]bool{} // elastic IP to instances
	if c.peers == nil {
		err := parallel(ctx, readsAtOnce, len(order), func(ctx context.Context, i int) (err error) {
			v := views[order[i]]
			v.shown, err = c.find(ctx, v.object)
			return err
		})
		if err != nil {
			return err
		}
	}
	c.mu.Lock()
	for _, eip := range order {
		candidates[eip] = c.known()
		if c.peers != nil {
			continue
		}
		maps.Copy(candidates[eip], c.memory.suspects[eip])
		if v := views[eip]; !v.ignored() {
			maps.Copy(candidates[eip], set(v.shown))
		}
	}
	c.mu.Unlock()
	every := map[string]bool{}
	for _, ids := range candidates {
		maps.Copy(every, ids)
	}
	delete(every, self)
	records, err := c.records(ctx, slices.Sorted(maps.Keys(every)))
	if err != nil {
		return err
	}
	for _, record := range records {
		for _, eip := range order {
			switch v := views[eip]; {
			case candidates[eip][record.id] && record.eips[eip]:
				v.others = append(v.others, record)
			case candidates[eip][record.id] && !record.gone: // an instance can seem gone once
				c.acquit(eip, record.id)
			}
		}
	}
	return nil
}

// acquit forgets that an audit found an instance attached.
func (c *Client) acquit(eip, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.memory.suspects[eip], id)
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// doubted tells that the filter did not show what the record of this host has, or
// showed more instances than can have an elastic IP.
func (c *Client) doubted(v *view, me instance) bool {
	if c.peers != nil {
		return false
	}
	return v.ignored() || (me.eips[v.object.id] && !slices.Contains(v.shown, me.id))
}

// holder tells which instances have an elastic IP.
func (c *Client) holder(v *view, me instance) providers.Holder {
	h := providers.Holder{Object: v.object.id}
	mine := me.eips[v.object.id]
	switch {
	case len(v.others) > 0:
		h.Kind = providers.Other
		var names []string
		for _, o := range v.others {
			names = append(names, o.String())
		}
		h.Owner = strings.Join(names, ", ")
		if mine {
			h.Owner += " beside this host"
			h.Beside = true
		}
	case mine && c.doubted(v, me) && c.auditHelps(v.object.id):
		h.Kind, h.Owner = providers.Unknown, "the API's list of its instances is wrong, the records of all instances are read"
	case mine:
		h.Kind, h.Owner = providers.Mine, me.String()
	case v.ignored():
		h.Kind, h.Owner = providers.Other, "an instance that the API does not tell"
	default:
		h.Kind = providers.Nobody
	}
	return h
}

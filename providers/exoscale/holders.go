package exoscale

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/providers"
)

// maxShown is the most instances that the filter by address is believed to mean;
// a longer list is that of an API which ignores the filter.
const maxShown = 16

// holding is what is remembered of who has what. It is guarded by Client.mu.
type holding struct {
	seen map[string]time.Time // elastic IPs: when this host was last seen attached

	// Numbers in the order of events tell whether an audit saw what a claim did.
	number  uint64
	moves   map[string]uint64 // elastic IPs: when this host was attached last
	audited uint64            // when the last audit began that has ended

	auditedAt time.Time                  // when that ended, or the first look was made
	failed    int                        // audits in a row that failed
	suspects  map[string]map[string]bool // elastic IPs: others that an audit found attached
}

// saw remembers what the record of this host says.
func (c *Client) saw(me instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding.seen = map[string]time.Time{}
	for eip := range me.eips {
		c.holding.seen[eip] = time.Now()
	}
}

func (c *Client) seenLately(eip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.holding.seen[eip]
	return ok && time.Since(at) <= freshSeen
}

// moved remembers that this host was attached: who else is has to be found out
// anew.
func (c *Client) moved(eip string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding.moves == nil {
		c.holding.moves = map[string]uint64{}
	}
	c.holding.number++
	c.holding.moves[eip] = c.holding.number
}

// Observe reads the record of this host, asks the filter for each elastic IP, and
// reads the record of each other instance that it names: 1 + A calls for A elastic
// IPs that nobody else has. With peers it reads their records instead: 1 + P calls
// for P peers. An address that is no elastic IP costs one call for all of them.
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
		c.warnOnce("this host belongs to an instance pool: elastic IPs that are attached by the pool will be fought over", zap.String("pool", me.pool))
	}

	looks := map[string]*look{}
	for _, o := range objects {
		if looks[o.id] == nil {
			looks[o.id] = &look{object: o}
		}
	}
	if err := c.lookAt(ctx, looks, me.id); err != nil {
		return nil, err
	}
	holders := make(map[netip.Addr]providers.Holder, len(addrs))
	for _, a := range addrs {
		if o, ok := objects[a]; ok {
			holders[a] = c.holder(looks[o.id], me)
		} else {
			holders[a] = providers.Holder{Kind: providers.NotManaged}
		}
	}
	c.wantAudit(looks, me)
	return holders, nil
}

// wanted returns the elastic IPs of the addresses that have one, and lists anew if
// some have none: they may have become one.
func (c *Client) wanted(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]elasticIP, error) {
	c.mu.Lock()
	known := c.objects
	c.mu.Unlock()
	all := func(objects map[netip.Prefix]elasticIP) (map[netip.Addr]elasticIP, bool) {
		found := map[netip.Addr]elasticIP{}
		for _, a := range addrs {
			if _, o, ok := providers.Containing(objects, a); ok {
				found[a] = o
				c.warnManaged(a, o)
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

// look is what was found out about one elastic IP.
type look struct {
	object elasticIP
	shown  []string   // by the filter, this host included
	others []instance // whose own records have it
}

// ignored tells that the filter cannot have been applied.
func (l *look) ignored() bool { return len(l.shown) > maxShown }

// others returns the other instances whose own records have the elastic IP.
func (c *Client) others(ctx context.Context, object elasticIP, self string) ([]instance, error) {
	l := &look{object: object}
	err := c.lookAt(ctx, map[string]*look{object.id: l}, self)
	return l.others, err
}

// lookAt finds out who else has the elastic IPs.
func (c *Client) lookAt(ctx context.Context, looks map[string]*look, self string) error {
	order := slices.Sorted(maps.Keys(looks))
	candidates := map[string]map[string]bool{} // elastic IP to instances
	if c.peers != nil {
		for _, eip := range order {
			candidates[eip] = set(c.peers)
		}
	} else {
		err := parallel(ctx, readsAtOnce, len(order), func(ctx context.Context, i int) (err error) {
			l := looks[order[i]]
			l.shown, err = c.find(ctx, l.object)
			return err
		})
		if err != nil {
			return err
		}
		c.mu.Lock()
		for _, eip := range order {
			candidates[eip] = maps.Clone(c.holding.suspects[eip])
			if candidates[eip] == nil {
				candidates[eip] = map[string]bool{}
			}
			if l := looks[eip]; !l.ignored() {
				maps.Copy(candidates[eip], set(l.shown))
			}
		}
		c.mu.Unlock()
	}
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
			switch l := looks[eip]; {
			case candidates[eip][record.id] && record.eips[eip]:
				l.others = append(l.others, record)
			case candidates[eip][record.id] && !record.gone: // which can be said of it once
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
	delete(c.holding.suspects[eip], id)
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// doubted tells that the filter did not show what the record of this host has, or
// showed what nobody can look through.
func (c *Client) doubted(l *look, me instance) bool {
	if c.peers != nil {
		return false
	}
	return l.ignored() || (me.eips[l.object.id] && !slices.Contains(l.shown, me.id))
}

// holder tells who has an elastic IP.
func (c *Client) holder(l *look, me instance) providers.Holder {
	h := providers.Holder{Object: l.object.id}
	mine := me.eips[l.object.id]
	switch {
	case len(l.others) > 0:
		h.Kind = providers.Other
		var names []string
		for _, o := range l.others {
			names = append(names, o.String())
		}
		h.Owner = strings.Join(names, ", ")
		if mine {
			h.Owner += " beside this host"
			h.Beside = true
		}
	case mine && c.doubted(l, me) && c.auditHelps(l.object.id):
		h.Kind, h.Owner = providers.Unknown, "the API's list of its instances is wrong, all instances are looked through"
	case mine:
		h.Kind, h.Owner = providers.Mine, me.String()
	case l.ignored():
		h.Kind, h.Owner = providers.Other, "an instance that the API does not tell"
	default:
		h.Kind = providers.Nobody
	}
	return h
}

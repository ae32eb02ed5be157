package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"berth/election"
	"berth/ips"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Etcd carries out transactions. It is an *election.Etcd, whose methods these are.
type Etcd interface {
	Transact(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error)
	Swap(ctx context.Context, key string, was int64, value []byte) (revision int64, done bool, err error)
}

// Client reads and writes the keys of a pool on behalf of a person. It needs no member.
type Client struct {
	Etcd   Etcd
	Prefix string // of the pool, ends in a slash
}

// content has the keys of a pool at one revision.
type content struct {
	election.PoolKeys
	listed map[netip.Addr][]string // keys below ips/ by the address that they list
}

// read returns everything below the prefix.
func (c *Client) read(ctx context.Context) (content, error) {
	var ops []clientv3.Op
	dirs := []string{"ips/", "nodes/", "drained/", "held/"}
	for _, dir := range dirs {
		ops = append(ops, clientv3.OpGet(c.Prefix+dir, clientv3.WithPrefix()))
	}
	r, err := c.Etcd.Transact(ctx, ops...)
	if err != nil {
		return content{}, fmt.Errorf("read the pool below %s: %w", c.Prefix, err)
	}
	all := content{PoolKeys: election.PoolKeys{Revision: r.Header.Revision, Nodes: map[string]election.PoolNode{},
		Drained: map[string]bool{}, Held: map[string]election.PoolHolder{}}, listed: map[netip.Addr][]string{}}
	for i, dir := range dirs {
		for _, kv := range r.Responses[i].GetResponseRange().Kvs {
			name := strings.TrimPrefix(string(kv.Key), c.Prefix+dir)
			if dir == "ips/" {
				all.IPs = append(all.IPs, name)
				if ip, err := ips.ParseAddress(name); err == nil {
					all.listed[ip.Addr()] = append(all.listed[ip.Addr()], name)
				}
				continue
			}
			if plain, err := url.PathUnescape(name); err == nil {
				all.take(dir, plain, kv.Value)
			}
		}
	}
	return all, nil
}

// take adds a key that is not one of the list; name is without its directory.
func (all *content) take(dir, name string, value []byte) {
	switch dir {
	case "nodes/":
		all.Nodes[name] = election.PoolNode{Value: toldBy(value)}
	case "drained/":
		all.Drained[name] = true
	case "held/":
		all.Held[name] = election.PoolHolder{Member: holderOf(value)}
	}
}

// write carries out operations, in as many transactions as etcd's limit needs. After an
// error some may have been carried out.
func (c *Client) write(ctx context.Context, ops []clientv3.Op) error {
	for batch := range slices.Chunk(ops, election.MaxOps) {
		if _, err := c.Etcd.Transact(ctx, batch...); err != nil {
			return fmt.Errorf("write the pool below %s: %w", c.Prefix, err)
		}
	}
	return nil
}

// Valid returns an error for which Mistaken reports true, if one of the texts cannot be an
// address of a pool.
func Valid(texts []string) error {
	_, err := parseAll(texts)
	return err
}

// parseAll reads the addresses that a person has given, each once.
func parseAll(texts []string) ([]vrrp.FloatingIP, error) {
	var all []vrrp.FloatingIP
	seen := map[netip.Addr]bool{}
	for _, text := range texts {
		ip, err := ips.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("%q cannot be an address of the pool: %w", text, err)
		}
		if !seen[ip.Addr()] {
			seen[ip.Addr()] = true
			all = append(all, ip)
		}
	}
	return all, nil
}

// Change is what became of an address or a member that a person has named.
type Change struct {
	What string `json:"what"`
	Done string `json:"done"` // what was done, such as "added"
	// Note is what the person should know beside that, "" for nothing.
	Note string `json:"note,omitempty"`
}

// String is a line for people.
func (c Change) String() string {
	if c.Note != "" {
		return c.What + ": " + c.Done + "; " + c.Note
	}
	return c.What + ": " + c.Done
}

// Add puts addresses into the list. One that is there already stays, with the prefix
// length that it has.
func (c *Client) Add(ctx context.Context, texts []string) ([]Change, error) {
	ips, err := parseAll(texts)
	if err != nil {
		return nil, err
	}
	all, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	var ops []clientv3.Op
	var changes []Change
	for _, ip := range ips {
		if keys := all.listed[ip.Addr()]; len(keys) > 0 {
			change := Change{What: ip.Addr().String(), Done: "already in the pool"}
			if listed, _ := parseList(keys); listed[0] != ip {
				change.Note = fmt.Sprintf("as %v; to change that, remove the address first", listed[0])
			}
			changes = append(changes, change)
			continue
		}
		ops = append(ops, clientv3.OpPut(c.Prefix+"ips/"+key(ip), ""))
		change := Change{What: key(ip), Done: "added"}
		if len(all.Nodes) == 0 {
			change.Note = "no member can serve it now"
		}
		changes = append(changes, change)
	}
	return changes, c.write(ctx, ops)
}

// ErrAbsent says that what a person has named is not there.
var ErrAbsent = errors.New("not there")

// Remove takes addresses out of the list, however they are written there. Those that are
// not in the list are in the error, and the others are removed.
func (c *Client) Remove(ctx context.Context, texts []string) ([]Change, error) {
	all, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	var ops []clientv3.Op
	var changes []Change
	var absent []string
	seen := map[string]bool{}
	for _, text := range texts {
		keys := []string{text} // a key that is not an address can be removed too
		if ip, err := ips.ParseAddress(text); err == nil {
			keys = all.listed[ip.Addr()]
		} else if !slices.Contains(all.IPs, text) {
			keys = nil
		}
		if len(keys) == 0 {
			absent = append(absent, text)
		}
		for _, k := range keys {
			if !seen[k] {
				seen[k] = true
				ops = append(ops, clientv3.OpDelete(c.Prefix+"ips/"+k))
				changes = append(changes, Change{What: k, Done: "removed"})
			}
		}
	}
	if err := c.write(ctx, ops); err != nil {
		return nil, err
	}
	if len(absent) > 0 {
		return changes, fmt.Errorf("remove %s from the pool below %s: %w; berth pool list shows what is", strings.Join(absent, ", "), c.Prefix, ErrAbsent)
	}
	return changes, nil
}

// Drain has a member give up all its addresses and take no others, or with undo take
// some again. own says that the member is that of this host, which need not run.
func (c *Client) Drain(ctx context.Context, member string, own, undo bool) (Change, error) {
	all, err := c.read(ctx)
	if err != nil {
		return Change{}, err
	}
	_, present := all.Nodes[member]
	drained := all.Drained[member]
	if !present && !drained && !own {
		names := strings.Join(slices.Sorted(maps.Keys(all.Nodes)), ", ")
		return Change{}, fmt.Errorf("member %q of the pool below %s: %w; members are: %s", member, c.Prefix, ErrAbsent, cmp.Or(names, "none"))
	}
	op, change := clientv3.OpPut(c.Prefix+"drained/"+url.PathEscape(member), ""), Change{What: member, Done: "drained"}
	switch {
	case undo && !drained:
		return Change{What: member, Done: "not drained"}, nil
	case undo:
		op, change.Done = clientv3.OpDelete(c.Prefix+"drained/"+url.PathEscape(member)), "takes part again"
	case drained:
		return Change{What: member, Done: "already drained"}, nil
	case !all.others(member):
		change.Note = "no other member can serve the addresses now"
	}
	return change, c.write(ctx, []clientv3.Op{op})
}

// others reports whether a member beside this one can have addresses.
func (all content) others(member string) bool {
	for name := range all.Nodes {
		if name != member && !all.Drained[name] {
			return true
		}
	}
	return false
}

// AddNew puts an address into the list. added is false if the list has it already, however
// it is written there; of several clients that add one key at once, it is true for one.
func (c *Client) AddNew(ctx context.Context, ip vrrp.FloatingIP) (added bool, err error) {
	all, err := c.read(ctx)
	if err != nil || len(all.listed[ip.Addr()]) > 0 {
		return false, err
	}
	if _, added, err = c.Etcd.Swap(ctx, c.Prefix+"ips/"+key(ip), 0, []byte{}); err != nil {
		return false, fmt.Errorf("write the pool below %s: %w", c.Prefix, err)
	}
	return added, nil
}

package faults

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

// PoolSize is how many addresses the pool of a fault has: a number that three hosts
// cannot share evenly.
const PoolSize = 10

// PoolAddresses returns the n addresses of a lab's pool.
func PoolAddresses(n int) (list []netip.Addr) {
	v4, v6 := netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("2001:db8::200")
	for i := range n {
		if i%2 == 0 {
			v4 = v4.Next()
			list = append(list, v4)
		} else {
			v6 = v6.Next()
			list = append(list, v6)
		}
	}
	return list
}

// The keys of the pool.
const (
	poolDir    = prefix + "pool/"
	listDir    = poolDir + "ips/"
	nodesDir   = poolDir + "nodes/"
	heldDir    = poolDir + "held/"
	drainedDir = poolDir + "drained/"
)

func (l *Lab) put(ctx context.Context, key string) error {
	return l.Etcd.Call(ctx, "kv/put", map[string][]byte{"key": []byte(key), "value": nil}, nil)
}

func (l *Lab) remove(ctx context.Context, key string) error {
	return l.Etcd.Call(ctx, "kv/deleterange", map[string][]byte{"key": []byte(key)}, nil)
}

// List adds addresses to the pool.
func (l *Lab) List(ctx context.Context, addresses ...netip.Addr) error {
	var errs []error
	for _, a := range addresses {
		// The address may have an owner before the answer of etcd is read.
		l.record.act(Act{What: "list " + a.String(), Listed: []netip.Addr{a}})
		errs = append(errs, l.put(ctx, listDir+a.String()))
	}
	return errors.Join(errs...)
}

// Retract removes addresses from the pool.
func (l *Lab) Retract(ctx context.Context, addresses ...netip.Addr) error {
	var errs []error
	for _, a := range addresses {
		l.record.act(Act{What: "retract " + a.String(), Retracted: []netip.Addr{a}})
		errs = append(errs, l.remove(ctx, listDir+a.String()))
	}
	return errors.Join(errs...)
}

// serving returns the hosts among which the pool is to be spread when no fault is in
// force: those whose berth runs.
func (l *Lab) serving() (names []string) {
	for _, h := range l.Hosts {
		if h.Running() {
			names = append(names, h.Name())
		}
	}
	return names
}

// spread reports whether each address of the pool has one owner, and the hosts have
// the same number of them, to within one.
func (l *Lab) spread() bool {
	counts := make(map[string]int)
	for _, a := range l.record.history.Addresses {
		owners := l.record.owners(a)
		if len(owners) != 1 {
			return false
		}
		counts[owners[0]]++
	}
	return unevenness(counts, l.serving()) <= 1
}

// unevenness is by how much the host with the most addresses has more than the one with
// the fewest. Addresses at another host make it the number of all.
func unevenness(counts map[string]int, hosts []string) int {
	if len(hosts) == 0 {
		return 0
	}
	all, most, fewest := 0, 0, counts[hosts[0]]
	for host, n := range counts {
		all += n
		if !slices.Contains(hosts, host) {
			fewest = -1
		}
	}
	if fewest < 0 {
		return all
	}
	for _, h := range hosts {
		most, fewest = max(most, counts[h]), min(fewest, counts[h])
	}
	return most - fewest
}

// owned returns the addresses that a host has.
func (l *Lab) owned(h *Host) (list []netip.Addr) {
	for _, a := range l.record.history.Addresses {
		if slices.Contains(l.record.owners(a), h.Name()) {
			list = append(list, a)
		}
	}
	return list
}

package election

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keys below the prefix. Names of instances are path-escaped.
const (
	electionsDir = "elections/" // <instance>/<lease in hex>: a candidacy, unless the instance has a place of its own
	releasedDir  = "released/"  // <instance>: the token that an owner last gave up
	withdrawnDir = "withdrawn/" // <instance>: the token that was last given up by a member that never owned with it
	wantedDir    = "wanted/"    // <instance>: the member that is asked to take over
	membersDir   = "members/"   // <member>: what a member tells of itself, under its lease; decides nothing
	addedDir     = "added/"     // <member>/<address>: an address that was added to a member at run time
)

// Keys below the prefix of the pool, beside releasedDir and withdrawnDir.
const (
	ipsDir     = "ips/"     // <address>[/<length>]: an address of the pool
	nodesDir   = "nodes/"   // <member>: a member that takes part
	drainedDir = "drained/" // <member>: a member that is to have no address
	heldDir    = "held/"    // <address>: the candidacy of the one member that has it
)

// ref names what has one owner: an instance of the elections, or an address of the pool.
type ref struct {
	pool bool
	name string
}

// AddedKey returns the key of an address that is added to a member at run time. prefix is
// that of the elections, with its slash. The key has no lease.
func AddedKey(prefix, member, address string) string {
	return prefix + addedDir + url.PathEscape(member) + "/" + url.PathEscape(address)
}

// addedName returns what an address is called by what follows the member in its key. A
// text that AddedKey does not write stands for itself, so that a person who wrote the key
// can be told of it.
func addedName(rest string) string {
	if name, err := url.PathUnescape(rest); err == nil && url.PathEscape(name) == rest {
		return name
	}
	return rest
}

// keyspace says where the keys are.
type keyspace struct {
	prefix string            // of the elections
	pool   string            // of the pool, "" for none
	places map[string]string // by instance: where its candidates stand, if not below electionsDir
}

// place returns below which key the candidates stand: a directory, or for an address of
// the pool the key of the only one.
func (s keyspace) place(r ref) string {
	switch place, elsewhere := s.places[r.name]; {
	case r.pool:
		return s.pool + heldDir + url.PathEscape(r.name)
	case elsewhere:
		return place
	}
	return s.prefix + electionsDir + url.PathEscape(r.name) + "/"
}

// candidate returns the key of a member with this lease.
func (s keyspace) candidate(r ref, lease clientv3.LeaseID) string {
	if r.pool {
		return s.place(r)
	}
	return s.place(r) + strconv.FormatInt(int64(lease), 16)
}

// record returns the key of a record, which is in releasedDir or withdrawnDir.
func (s keyspace) record(dir string, r ref) string {
	if r.pool {
		return s.pool + dir + url.PathEscape(r.name)
	}
	return s.prefix + dir + url.PathEscape(r.name)
}

// spans returns the prefixes below which all keys lie, none below another.
func (s keyspace) spans() []string {
	all := []string{s.prefix}
	if s.pool != "" {
		all = append(all, s.pool)
	}
	for _, place := range s.places {
		all = append(all, place)
	}
	slices.Sort(all)
	var spans []string
	for _, p := range all {
		if n := len(spans); n == 0 || !strings.HasPrefix(p, spans[n-1]) {
			spans = append(spans, p)
		}
	}
	return spans
}

// parse returns the directory of a key, what the key is about, and what follows that in
// the key; for a key of another kind the directory is empty.
func (s keyspace) parse(key string) (dir string, about ref, rest string) {
	above := key[:strings.LastIndexByte(key, '/')+1]
	for instance, place := range s.places {
		if place == above {
			return electionsDir, ref{name: instance}, key[len(place):]
		}
	}
	if tail, below := strings.CutPrefix(key, s.pool); below && s.pool != "" {
		dir, name, _ := strings.Cut(tail, "/")
		switch dir += "/"; dir {
		case ipsDir:
			return dir, ref{pool: true, name: name}, ""
		case nodesDir, drainedDir, heldDir:
			return named(dir, true, name)
		case releasedDir, withdrawnDir:
			if s.pool != s.prefix || isAddress(name) {
				return named(dir, true, name)
			}
		}
	}
	tail, below := strings.CutPrefix(key, s.prefix)
	if !below {
		return "", ref{}, ""
	}
	dir, name, _ := strings.Cut(tail, "/")
	tail = name
	dir, about, rest = named(dir+"/", false, tail)
	switch dir {
	case membersDir, addedDir: // the exact name of a member, and no other way to write it
		if written, _, _ := strings.Cut(tail, "/"); url.PathEscape(about.name) != written {
			return "", ref{}, ""
		}
	}
	if _, elsewhere := s.places[about.name]; elsewhere && dir == electionsDir {
		return "", ref{}, ""
	}
	return dir, about, rest
}

// named takes the name in a key, and what follows it.
func named(dir string, pool bool, tail string) (string, ref, string) {
	name, rest, _ := strings.Cut(tail, "/")
	name, err := url.PathUnescape(name)
	if err != nil || name == "" {
		return "", ref{}, ""
	}
	return dir, ref{pool: pool, name: name}, rest
}

// isAddress reports whether a name is that of an address of the pool. Where the pool and
// the elections have one prefix, records of both are in the same directories.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

package election

import (
	"encoding/json"
	"net/url"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// roster is a copy of the keys of one directory in which members tell of themselves, each
// in one key under its lease. The lock of the observer guards it.
type roster struct {
	dir   string // with its prefix and slash
	span  *span
	nodes map[string]node // by member

	presenting int  // calls of tell
	presented  bool // it was called
	absent     bool // this member takes no part: the last call has ended, and left nothing to a successor

	touched bool          // since ring was last called
	changed chan struct{} // closed at the next change
}

// node is a key of a roster.
type node struct {
	entry
	modified int64 // revision
	value    []byte
}

// nodeValue is the value of such a key.
type nodeValue struct {
	candidacy
	Node json.RawMessage `json:"node,omitempty"`
}

func newRoster(dir string, s *span) *roster {
	return &roster{dir: dir, span: s, nodes: map[string]node{}, changed: make(chan struct{})}
}

// key is that of a member.
func (r *roster) key(member string) string { return r.dir + url.PathEscape(member) }

// clear forgets everything, if it is in that span.
func (r *roster) clear(s *span) {
	if r.span == s {
		r.nodes, r.touched = map[string]node{}, true
	}
}

// putNode takes the key of a member.
func (o *observer) putNode(r *roster, member string, kv *mvccpb.KeyValue) {
	if kv.Lease == 0 { // a person's, perhaps over that of a member
		r.remove(member)
		return
	}
	var v nodeValue
	o.decode(kv, &v)
	e := entry{v.candidacy, string(kv.Key), clientv3.LeaseID(kv.Lease), kv.CreateRevision}
	r.nodes[member], r.touched = node{e, kv.ModRevision, v.Node}, true
}

func (r *roster) remove(member string) {
	delete(r.nodes, member)
	r.touched = true
}

// ring tells that keys have changed, if they have.
func (r *roster) ring() {
	if r.touched {
		r.touched = false
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// rosters returns all of them.
func (o *observer) rosters() []*roster {
	if o.pool == nil {
		return []*roster{o.members}
	}
	return []*roster{o.members, o.pool.nodes}
}

// present notes that a call of tell begins, absent that it has ended, and whether the key
// of this member must go.
func (o *observer) present(r *roster) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.presenting++
	r.presented = true
}

func (o *observer) absent(r *roster, gone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.presenting--
	r.absent = gone
}

// unclaimedNodes notes that the keys of an adopted lease must go in which this process does
// not tell of itself.
func (o *observer) unclaimedNodes() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.rosters() {
		if !r.presented {
			r.absent = true
		}
	}
}

// strays returns the keys of this member that are under a lease of this process although
// the member does not tell of itself there.
func (o *observer) strays(member string) (strays []node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.rosters() {
		if n, there := r.nodes[member]; there && r.absent && r.presenting == 0 && o.had(n.lease) {
			strays = append(strays, n)
		}
	}
	return strays
}

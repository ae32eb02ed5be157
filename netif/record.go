package netif

import (
	"encoding/json"
	"net/netip"
	"slices"
	"sync"

	"berth/internal/files"

	"go.uber.org/zap"
)

// protocol marks what is bound here: IFA_PROTO of Linux 5.18 and later, shown by
// "ip address show proto 190". Numbers below 4 are the kernel's own.
const protocol = 190

// recordSize is more than the record of the largest host.
const recordSize = 16 << 20

// record is the file that says what this host's berth has bound, on all interfaces. It
// is a help, no promise: all that is in it has a lifetime in the kernel.
type record struct {
	path    string
	managed map[netip.Addr]bool // an Interface looks after them

	mu sync.Mutex
	recorded
	failing bool // the last write failed
}

type recorded struct {
	Protocol  uint8          `json:"protocol"`
	Addresses []netip.Prefix `json:"addresses"`
}

// openRecord reads the file. One that is missing or broken has nothing to tell.
// managed are the addresses of all interfaces that share the record.
func openRecord(path string, managed ...[]netip.Prefix) *record {
	r := &record{path: path, managed: map[netip.Addr]bool{}}
	for _, p := range slices.Concat(managed...) {
		r.managed[p.Addr()] = true
	}
	if path != "" {
		if text, err := files.ReadOwn(path, recordSize); err != nil || json.Unmarshal(text, &r.recorded) != nil {
			r.recorded = recorded{}
		}
	}
	r.Protocol = protocol
	return r
}

// left reports whether an address was bound here by an earlier run and is managed no
// more.
func (r *record) left(a address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.managed[a.prefix.Addr()] && a.mortal() && slices.Contains(r.Addresses, a.prefix)
}

func (r *record) add(addrs []netip.Prefix, log *zap.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known()
	for _, p := range addrs {
		if !known[p] {
			r.Addresses = append(r.Addresses, p)
		}
	}
	r.write(log)
}

func (r *record) remove(addrs []netip.Prefix, log *zap.Logger) {
	if len(addrs) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := make(map[netip.Prefix]bool, len(addrs))
	for _, p := range addrs {
		gone[p] = true
	}
	r.Addresses = slices.DeleteFunc(r.Addresses, func(p netip.Prefix) bool { return gone[p] })
	r.write(log)
}

func (r *record) known() map[netip.Prefix]bool {
	known := make(map[netip.Prefix]bool, len(r.Addresses))
	for _, p := range r.Addresses {
		known[p] = true
	}
	return known
}

func (r *record) write(log *zap.Logger) {
	if r.path == "" {
		return
	}
	text, err := json.Marshal(r.recorded)
	if err == nil {
		err = files.Replace(r.path, append(text, '\n'), 0o600)
	}
	if err != nil && !r.failing {
		log.Warn("cannot record what is bound; what a run that was killed leaves behind ends by its lifetime alone", zap.String("file", r.path), zap.Error(err))
	}
	r.failing = err != nil
}

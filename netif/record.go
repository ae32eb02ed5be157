package netif

import (
	"encoding/json"
	"net/netip"
	"slices"
	"sync"

	"berth/internal/files"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// protocol marks what is bound here: IFA_PROTO of Linux 5.18 and later, shown by
// "ip address show proto 190". Numbers below 4 are the kernel's own.
const protocol = 190

// recordSize bounds the file in bytes, above the record of the largest host.
const recordSize = 16 << 20

// boundRecord is the file that tells which addresses berth has bound on this host, on all
// interfaces. Nothing relies on it: all addresses in it have a lifetime in the kernel.
type boundRecord struct {
	path    string
	managed map[netip.Addr]bool // by one of the interfaces that share the record
	writing *journal.Condition

	mu sync.Mutex
	recorded
}

// recorded is the content of the file.
type recorded struct {
	Protocol  uint8          `json:"protocol"`
	Addresses []netip.Prefix `json:"addresses"`
}

// openRecord reads the file. One that is missing or cannot be used counts as empty.
// managed are the addresses of all interfaces that share the record.
func openRecord(path string, j *journal.Journal, managed ...[]netip.Prefix) *boundRecord {
	r := &boundRecord{path: path, managed: map[netip.Addr]bool{}, writing: j.Condition()}
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

// abandoned reports whether an earlier run bound an address that is not managed any
// more.
func (r *boundRecord) abandoned(a address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.managed[a.prefix.Addr()] && a.mayBeOurs() && slices.Contains(r.Addresses, a.prefix)
}

func (r *boundRecord) add(addrs []netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := set(r.Addresses)
	for _, p := range addrs {
		if !known[p] {
			r.Addresses = append(r.Addresses, p)
		}
	}
	r.write()
}

func (r *boundRecord) remove(addrs []netip.Prefix) {
	if len(addrs) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := set(addrs)
	r.Addresses = slices.DeleteFunc(r.Addresses, func(p netip.Prefix) bool { return gone[p] })
	r.write()
}

func set(addrs []netip.Prefix) map[netip.Prefix]bool {
	s := make(map[netip.Prefix]bool, len(addrs))
	for _, p := range addrs {
		s[p] = true
	}
	return s
}

// write is called with the lock held.
func (r *boundRecord) write() {
	if r.path == "" {
		return
	}
	text, err := json.Marshal(r.recorded)
	if err == nil {
		err = files.Replace(r.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		r.writing.Fail(unrecorded, err, zap.String("file", r.path))
		return
	}
	r.writing.Clear(zap.String("file", r.path))
}

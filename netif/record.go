package netif

import (
	"encoding/json"
	"fmt"
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

// boundRecord is what the interfaces of a host share: which of them manages an address,
// and the file that tells which addresses berth has bound on this host, on all
// interfaces. Nothing relies on the file: all addresses in it have a lifetime in the
// kernel.
type boundRecord struct {
	path    string
	writing *journal.Condition

	mu         sync.Mutex
	interfaces []*Interface
	managed    map[netip.Addr]*Interface // nil for an address of Options.Managed
	bound      map[netip.Prefix]bool
}

// recorded is the content of the file.
type recorded struct {
	Protocol  uint8          `json:"protocol"`
	Addresses []netip.Prefix `json:"addresses"`
}

// openRecord reads the file. One that is missing or cannot be used counts as empty.
// managed are the addresses of all interfaces that share the record.
func openRecord(path string, j *journal.Journal, managed ...[]netip.Prefix) *boundRecord {
	r := &boundRecord{path: path, managed: map[netip.Addr]*Interface{}, bound: map[netip.Prefix]bool{}, writing: j.Condition()}
	for _, p := range slices.Concat(managed...) {
		r.managed[p.Addr()] = nil
	}
	if path == "" {
		return r
	}
	var former recorded
	if text, err := files.ReadOwn(path, recordSize); err == nil && json.Unmarshal(text, &former) == nil {
		for _, p := range former.Addresses {
			r.bound[p] = true
		}
	}
	return r
}

// share makes an interface one of those that share the record.
func (r *boundRecord) share(i *Interface) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interfaces = append(r.interfaces, i)
}

// shares reports whether another interface than i shares the record and has an index.
func (r *boundRecord) shares(index int, i *Interface) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.interfaces, func(other *Interface) bool { return other != i && other.has(index) })
}

// claim makes an interface the one that manages an address beside those of
// Options.Managed, and returns an error if another decides about the address.
func (r *boundRecord) claim(a netip.Addr, i *Interface) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch by, managed := r.managed[a]; {
	case !managed:
		r.managed[a] = i
		return nil
	case by == nil:
		return errFixed
	case by != i:
		return fmt.Errorf("it is managed on %s", by.o.Name)
	default:
		return nil
	}
}

// free undoes claim.
func (r *boundRecord) free(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.managed, a)
}

// has reports whether berth has bound an address, in this run or an earlier one.
func (r *boundRecord) has(a address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return a.mayBeOurs() && r.bound[a.prefix]
}

// abandoned reports whether an earlier run bound an address that is not managed any
// more.
func (r *boundRecord) abandoned(a address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, managed := r.managed[a.prefix.Addr()]
	return !managed && a.mayBeOurs() && r.bound[a.prefix]
}

func (r *boundRecord) add(addrs []netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range addrs {
		r.bound[p] = true
	}
	r.write()
}

func (r *boundRecord) remove(addrs []netip.Prefix) {
	if len(addrs) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range addrs {
		delete(r.bound, p)
	}
	r.write()
}

// write is called with the lock held.
func (r *boundRecord) write() {
	if r.path == "" {
		return
	}
	content := recorded{Protocol: protocol, Addresses: make([]netip.Prefix, 0, len(r.bound))}
	for p := range r.bound {
		content.Addresses = append(content.Addresses, p)
	}
	slices.SortFunc(content.Addresses, netip.Prefix.Compare)
	text, err := json.Marshal(content)
	if err == nil {
		err = files.Replace(r.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		r.writing.Fail(unrecorded, err, zap.String("file", r.path))
		return
	}
	r.writing.Clear(zap.String("file", r.path))
}

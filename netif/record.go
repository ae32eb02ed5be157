package netif

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"

	"go.uber.org/zap"
)

// protocol marks what is bound here: IFA_PROTO of Linux 5.18 and later, shown by
// "ip address show proto 190". Numbers below 4 are the kernel's own.
const protocol = 190

// record is the file that says what this host's berth has bound. It is a help, no
// promise: all that is in it has a lifetime in the kernel.
type record struct {
	path string
	recorded
}

type recorded struct {
	Interface string         `json:"interface"`
	Protocol  uint8          `json:"protocol"`
	Addresses []netip.Prefix `json:"addresses"`
}

// openRecord reads the file. One that is missing, broken or of another interface
// has nothing to tell.
func openRecord(path, name string) *record {
	r := &record{path: path}
	if text, err := os.ReadFile(path); path == "" || err != nil || json.Unmarshal(text, &r.recorded) != nil || r.Interface != name {
		r.recorded = recorded{}
	}
	r.Interface, r.Protocol = name, protocol
	return r
}

// left reports whether an address was bound here by an earlier run. An older
// kernel keeps no mark; there the limited life speaks for it.
func (r *record) left(a address) bool {
	return slices.Contains(r.Addresses, a.prefix) && a.valid != forever && (a.proto == protocol || a.proto == 0)
}

func (r *record) add(addrs []netip.Prefix, log *zap.Logger) {
	for _, p := range addrs {
		if !slices.Contains(r.Addresses, p) {
			r.Addresses = append(r.Addresses, p)
		}
	}
	r.write(log)
}

func (r *record) remove(addrs []netip.Prefix, log *zap.Logger) {
	if len(addrs) == 0 {
		return
	}
	r.Addresses = slices.DeleteFunc(r.Addresses, func(p netip.Prefix) bool { return slices.Contains(addrs, p) })
	r.write(log)
}

func (r *record) write(log *zap.Logger) {
	if r.path == "" {
		return
	}
	text, err := json.Marshal(r.recorded)
	if err == nil {
		err = os.WriteFile(r.path+".new", append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".new", r.path)
	}
	if err != nil {
		log.Debug("cannot record what is bound", zap.Error(err))
	}
}

package roster

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"berth/heartbeat"
	"berth/internal/files"

	"go.uber.org/zap"
)

// maxMemory is more bytes than the servers of a group have in the file.
const maxMemory = 1 << 20

// remembered is a server of the group in the file.
type remembered struct {
	ID      string         `json:"id"`
	Address netip.AddrPort `json:"address"`
	Name    string         `json:"name"`
}

// recall takes the servers that the process before this one knew. A process that is started
// again so sends to its peers at once, however slowly the provider tells the group: else
// they would take its addresses.
func (r *Roster) recall() {
	if r.o.Memory == "" {
		return
	}
	text, err := files.ReadOwn(r.o.Memory, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all []remembered
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		r.o.Journal.Tell(memoryIgnored, zap.String("file", r.o.Memory), zap.Error(err))
		return
	}
	for _, m := range all {
		// The port is that of this configuration.
		if m.ID != "" && m.Address.Addr().IsValid() && len(r.usable([]netip.Addr{m.Address.Addr()})) > 0 {
			r.group[m.ID] = &member{Peer: heartbeat.Peer{Addr: netip.AddrPortFrom(m.Address.Addr(), r.o.Port), Name: m.Name}}
		}
	}
	r.answered = true
}

// remember writes the servers for the process after this one.
func (r *Roster) remember() {
	r.mu.Lock()
	all := make([]remembered, 0, len(r.group))
	for id, m := range r.group {
		all = append(all, remembered{id, m.Addr, m.Name})
	}
	r.mu.Unlock()
	if text, err := json.Marshal(all); err == nil { // texts and addresses can be written
		r.memory.Put(text)
	}
}

// missing says which of the peers this host cannot know yet, "" if none. A name that does not
// exist, as the name servers say, is no reason to wait: they were asked, and have answered.
func (r *Roster) missing() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Group != nil {
		if !r.answered {
			return "the group of the peers has not been read yet"
		}
		return ""
	}
	for _, h := range r.o.Hosts {
		if len(r.names[h]) == 0 && !r.absent[h] {
			return "the address of the peer " + h.Host + " is not known yet"
		}
	}
	return ""
}

// learned tells whether the peers are known, of which a look-up has told something. Peers
// that become known only now are heard first: until then nobody could tell that they live.
// It is called by look alone.
func (r *Roster) learned() {
	if r.o.Known == nil || r.settling != nil {
		return
	}
	if why := r.missing(); why != "" {
		r.o.Known.Set(false, why)
		return
	}
	r.o.Known.Set(false, "its peers are known since "+time.Now().Format(time.TimeOnly)+", and are heard first")
	r.settling = time.AfterFunc(r.o.HoldOff, func() { r.o.Known.Set(true, "") })
}

// answeredNo reports whether name servers have said that a name does not exist, or has no
// address that can be reached.
func answeredNo(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound || errors.Is(err, errFamily)
}

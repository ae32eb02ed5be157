package added

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"berth/internal/files"

	"go.uber.org/zap"
)

// recorded is the content of the file of the last list.
type recorded struct {
	// Stands says that etcd had lost the list when the file was written.
	Stands    bool     `json:"stands,omitempty"`
	Addresses []stored `json:"addresses"`
}

// recordMax bounds the file, in bytes. An address takes some hundred.
const recordMax = 16 << 20

// readRecord takes the list of the process before this one. It counts while etcd does not
// tell the list of this history.
func (s *Set) readRecord() (b book) {
	if s.Record == "" {
		return b
	}
	text, err := files.ReadOwn(s.Record, recordMax)
	var found recorded
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b
	case err != nil:
		s.Journal.Tell(listUnreadable, zap.Error(fmt.Errorf("read %s: %w", s.Record, err)))
		return b
	}
	b.known, b.stands, b.list = true, found.Stands, map[netip.Addr]entry{}
	for _, v := range found.Addresses {
		if e, err := v.entry(); err == nil {
			b.list[e.ip.Addr()] = e
		}
	}
	return b
}

// putRecord has the list written. It does not block.
func (s *Set) putRecord() {
	content := recorded{Stands: s.book.stands, Addresses: []stored{}}
	for _, a := range s.book.sorted() {
		content.Addresses = append(content.Addresses, s.book.list[a].stored())
	}
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // texts and numbers always have a form
	}
	s.record.Put(append(text, '\n'))
}

package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/record"
	"berth/vrrp"

	"go.uber.org/zap"
)

// recordFile keeps the list of addresses, so that a process that starts while etcd cannot
// be reached, or after etcd has lost the list, knows the last one.
type recordFile struct {
	*record.File
	path    string // "" for none
	journal *journal.Journal
}

// recorded is the content of the file.
type recorded struct {
	// Stands says that etcd had lost the list when the file was written.
	Stands bool `json:"stands,omitempty"`
	// Drained says that the member was drained.
	Drained   bool     `json:"drained,omitempty"`
	Addresses []string `json:"addresses"`
}

// recordMax bounds the file, in bytes. No list of a pool needs so many.
const recordMax = 16 << 20

func newRecord(path string, j *journal.Journal) *recordFile {
	return &recordFile{record.New(path, listUnwritable, j), path, j}
}

// read returns what the process before this one has written: nothing without a file that
// can be used.
func (r *recordFile) read() (b book, drained bool) {
	if r.path == "" {
		return b, false
	}
	text, err := files.ReadOwn(r.path, recordMax)
	var found recorded
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, false
	case err != nil:
		r.journal.Tell(listUnreadable, zap.Error(fmt.Errorf("read %s: %w", r.path, err)))
		return b, false
	}
	b.list, _ = parseList(found.Addresses)
	b.stands = found.Stands && len(b.list) > 0
	return b, found.Drained
}

// put has the list written. It does not block.
func (r *recordFile) put(list []vrrp.FloatingIP, stands, drained bool) {
	content := recorded{Stands: stands, Drained: drained, Addresses: []string{}}
	for _, ip := range list {
		content.Addresses = append(content.Addresses, key(ip))
	}
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // texts always have a form
	}
	r.Put(append(text, '\n'))
}

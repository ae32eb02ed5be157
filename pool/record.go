package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

// record keeps the list of addresses in a file, so that a process that starts while etcd
// cannot be reached, or after etcd has lost the list, knows the last one.
type record struct {
	path    string // "" for none
	journal *journal.Journal
	writing *journal.Condition

	mu   sync.Mutex
	next []byte        // to be written
	due  chan struct{} // one slot: next is not what was written
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

func newRecord(path string, j *journal.Journal) *record {
	return &record{path: path, journal: j, writing: j.Condition(), due: make(chan struct{}, 1)}
}

// read returns what the process before this one has written: nothing without a file that
// can be used.
func (r *record) read() (b book, drained bool) {
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

// put has the list written. It does not block: a disk that hangs must move no address.
func (r *record) put(list []vrrp.FloatingIP, stands, drained bool) {
	content := recorded{Stands: stands, Drained: drained, Addresses: []string{}}
	for _, ip := range list {
		content.Addresses = append(content.Addresses, key(ip))
	}
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // texts always have a form
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(text, '\n')
	select {
	case r.due <- struct{}{}:
	default:
	}
}

// run writes what is put until ctx ends.
func (r *record) run(ctx context.Context) error {
	defer r.writing.Drop()
	for {
		select {
		case <-ctx.Done():
			r.flush()
			return context.Cause(ctx)
		case <-r.due:
			r.write()
		}
	}
}

// flush writes what was put last.
func (r *record) flush() {
	select {
	case <-r.due:
		r.write()
	default:
	}
}

func (r *record) write() {
	if r.path == "" {
		return
	}
	r.mu.Lock()
	text := r.next
	r.mu.Unlock()
	if err := files.Replace(r.path, text, 0o600); err != nil {
		r.writing.Fail(listUnwritable, err)
		return
	}
	r.writing.Clear()
}

// Package record keeps the newest of what a part of berth knows in a file, for the next
// process. Writing is apart from the part that knows it: a disk that hangs must move no
// address.
package record

import (
	"context"
	"sync"

	"berth/internal/files"
	"berth/internal/journal"
)

// File is a file with the text that was put last. Its methods may be called by several
// goroutines at once.
type File struct {
	path       string // "" for none
	unwritable journal.Kind
	writing    *journal.Condition

	due  chan struct{} // one slot: next is not what was written
	mu   sync.Mutex    // guards next
	next []byte        // to be written
}

// New returns a file with a path, "" for none. unwritable tells that the file cannot be
// written. It does no I/O.
func New(path string, unwritable journal.Kind, j *journal.Journal) *File {
	return &File{path: path, unwritable: unwritable, writing: j.Condition(), due: make(chan struct{}, 1)}
}

// Put has the text written, for this user alone. It does not block.
func (f *File) Put(text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = text
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// Run writes what is put until ctx ends, then what was put last, and returns the cause.
func (f *File) Run(ctx context.Context) error {
	defer f.writing.Drop()
	for {
		select {
		case <-ctx.Done():
			f.Flush()
			return context.Cause(ctx)
		case <-f.due:
			f.write()
		}
	}
}

// Flush writes now what was put last.
func (f *File) Flush() {
	select {
	case <-f.due:
		f.write()
	default:
	}
}

func (f *File) write() {
	if f.path == "" {
		return
	}
	f.mu.Lock()
	text := f.next
	f.mu.Unlock()
	if err := files.Replace(f.path, text, 0o600); err != nil {
		f.writing.Fail(f.unwritable, err)
		return
	}
	f.writing.Clear()
}

package status

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/files"
)

// flushDelay joins the changes of a burst into one write per instance, after the
// first claims are out: these must not wait for files that are for people.
const flushDelay = 200 * time.Millisecond

// stateDelay takes its place when a state has changed: whoever has just handed an
// instance over looks where it is.
const stateDelay = 20 * time.Millisecond

// Run writes what changed until ctx ends, then writes the rest and returns
// ctx's cause.
func (b *Board) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			b.Flush()
			return context.Cause(ctx)
		case <-b.changed:
		}
		select {
		case <-ctx.Done():
		case <-time.After(flushDelay):
		case <-b.state:
			select {
			case <-ctx.Done():
			case <-time.After(stateDelay):
			}
		}
		b.Flush()
	}
}

// Flush writes now what changed. A failure is a warning, once until it
// recovers: status is for people, the addresses matter more.
func (b *Board) Flush() {
	b.mu.Lock()
	var todo []Instance
	for name := range b.dirty {
		todo = append(todo, b.known[name].entry())
	}
	clear(b.dirty)
	b.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	for _, in := range todo {
		if err := b.write(in); err != nil {
			b.writing.Fail(unwritable, err)
			return
		}
	}
	b.writing.Clear()
}

func (b *Board) write(in Instance) error {
	text, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if err := files.Replace(filepath.Join(b.dir, fileName(in)), append(text, '\n'), 0o644); err != nil {
		return err
	}
	b.tidy(in)
	return nil
}

// tidy removes the file of a berth of before the prefix and the member were part of
// its name: left behind it would go on telling of a process that is gone.
func (b *Board) tidy(in Instance) {
	if in.Prefix == "" {
		return
	}
	path := filepath.Join(b.dir, fileName(Instance{Instance: in.Instance}))
	if old, err := read(path); err == nil && old.Mode == in.Mode && old.Prefix == "" && old.Lease == in.Lease {
		_ = os.Remove(path) // it is in nobody's way but a reader's
	}
}

const suffix = ".json"

// maxFile bounds a file in bytes; an address takes some hundred.
const maxFile = 4 << 20

func dir(runDirectory string) string { return filepath.Join(runDirectory, "status") }

// fileName escapes the name so that it holds no slash and begins with no dot. An
// instance of one name in two elections is two.
func fileName(in Instance) string {
	name := url.PathEscape(in.Instance)
	if name == "" || strings.HasPrefix(name, ".") {
		name = "%" + name // no result of PathEscape begins so
	}
	if in.Prefix != "" {
		election := sha256.Sum256([]byte(in.Prefix + "\x00" + in.Member))
		name += "%%" + hex.EncodeToString(election[:8]) // nor has one this
	}
	return name + suffix
}

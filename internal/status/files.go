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
// first claims are out: no claim waits for a file that people read.
const flushDelay = 200 * time.Millisecond

// stateDelay takes its place when a state has changed: an operator who has just
// handed an instance over asks for its state.
const stateDelay = 20 * time.Millisecond

// reasonDelay takes its place when nothing but a reason has changed: one that varies with
// each run of a health check must not have the files written all the time.
const reasonDelay = time.Second

// Run writes what changed until ctx ends, then writes the rest and returns
// ctx's cause.
func (b *Board) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			b.Flush()
			return context.Cause(ctx)
		case <-b.changed:
		case <-b.reason:
			select {
			case <-ctx.Done():
			case <-b.changed:
			case <-time.After(reasonDelay):
				b.Flush()
				continue
			}
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

// Flush writes now what changed. An entry that cannot be written is written with the
// next change of any: status is for people, and the addresses matter more.
func (b *Board) Flush() {
	b.mu.Lock()
	var todo []Instance
	for name := range b.dirty {
		todo = append(todo, b.entry(b.known[name]))
	}
	clear(b.dirty)
	var gone []Instance
	for name := range b.gone {
		in := b.self
		in.Instance = name
		gone = append(gone, in)
	}
	clear(b.gone)
	stale := b.stale
	b.stale = nil
	b.mu.Unlock()
	for _, in := range append(gone, b.left(stale)...) {
		_ = os.Remove(filepath.Join(b.dir, fileName(in))) // berth status marks a file that stays as stale
	}
	if len(todo) == 0 {
		return
	}
	for i, in := range todo {
		err := b.write(in)
		if err == nil {
			continue
		}
		b.writing.Fail(unwritable, err)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, left := range todo[i:] {
			b.dirty[left.Instance] = true
		}
		return
	}
	b.writing.Clear()
}

// left returns the stale instances of which a former process with the same place in the
// election has left files, and none that is on the board.
func (b *Board) left(stale func(instance string) bool) (all []Instance) {
	if stale == nil {
		return nil
	}
	found, _ := readAll(b.dir) // what cannot be read is not known to be stale
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, in := range found {
		if in.Prefix == b.self.Prefix && in.Member == b.self.Member && b.known[in.Instance] == nil && stale(in.Instance) {
			all = append(all, in)
		}
	}
	return all
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

// tidy removes the file of an earlier version of berth, which did not have prefix and
// member in the name: left behind, the file would go on telling of a process that has
// ended.
func (b *Board) tidy(in Instance) {
	if in.Prefix == "" {
		return
	}
	path := filepath.Join(b.dir, fileName(Instance{Instance: in.Instance}))
	if old, err := read(path); err == nil && old.Mode == in.Mode && old.Prefix == "" && old.Lease == in.Lease {
		_ = os.Remove(path) // berth status marks a file that stays as stale
	}
}

const suffix = ".json"

// maxFile bounds a file, in bytes. An address takes some hundred.
const maxFile = 4 << 20

// fileName escapes the name of the instance, so that the result has no slash and does
// not begin with a dot. One name in two elections makes two files.
func fileName(in Instance) string {
	name := url.PathEscape(in.Instance)
	if name == "" || strings.HasPrefix(name, ".") {
		name = "%" + name // PathEscape returns no such beginning
	}
	if in.Prefix != "" {
		election := sha256.Sum256([]byte(in.Prefix + "\x00" + in.Member))
		name += "%%" + hex.EncodeToString(election[:8]) // and no such text
	}
	return name + suffix
}

package seat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"berth/election"
	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/rundir"

	"go.uber.org/zap"
)

// History keeps on record what a member has seen of etcd's history. The record stays
// when berth ends.
type History struct {
	path    string
	written election.Past
	writing *journal.Condition
}

// historyMax is more bytes than such a record has.
const historyMax = 64 << 10

// OpenHistory returns what the process before this one has seen, which is nothing
// without a record that can be used.
func OpenHistory(o Options) (*History, election.Past) {
	h := &History{path: rundir.Dir(o.RunDirectory).History(o.Name), writing: o.Journal.Condition()}
	text, err := files.ReadOwn(h.path, historyMax)
	if errors.Is(err, fs.ErrNotExist) {
		return h, election.Past{}
	}
	var past election.Past
	if err == nil {
		err = json.Unmarshal(text, &past)
	}
	if err != nil {
		o.Journal.Tell(historyUnreadable, zap.Error(fmt.Errorf("read %s: %w", h.path, err)))
		return h, election.Past{}
	}
	h.written = past
	return h, past
}

// Run puts on record what seen returns, while that says that it counts, at most
// once a second and once more when ctx ends. It returns ctx's cause.
func (h *History) Run(ctx context.Context, seen func() (election.Past, bool)) error {
	defer h.writing.Drop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			h.write(seen())
			return context.Cause(ctx)
		case <-tick.C:
			h.write(seen())
		}
	}
}

func (h *History) write(past election.Past, ok bool) {
	if !ok || past == h.written {
		return
	}
	text, err := json.Marshal(past)
	if err == nil {
		err = files.Replace(h.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		h.writing.Fail(historyUnwritable, err)
		return
	}
	h.writing.Clear()
	h.written = past
}

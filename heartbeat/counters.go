package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"berth/internal/files"
	"berth/internal/journal"
	"berth/internal/record"

	"go.uber.org/zap"
)

// reserve is how many counters are put on record at once, so that the file need not be
// written for each datagram that is sent.
const reserve = 1 << 32

// maxCounters is the size of a file of counters beyond which it is none.
const maxCounters = 1 << 20

// counters are those of signed datagrams: the next of this host, and the greatest that
// was accepted from each peer.
type counters struct {
	Own   uint64                `json:"own"` // greater than any that was sent
	Peers map[netip.Addr]uint64 `json:"peers"`

	next uint64 // of this host, below Own
}

// loadCounters reads the counters of former processes. The counter of this host begins at
// the wall clock in nanoseconds, or above the greatest on record if the clock was set back;
// where nothing is on record the clock alone has to do.
func loadCounters(path string, now time.Time) (*counters, error) {
	c := &counters{}
	var err error
	if path != "" {
		err = c.read(path)
	}
	if c.Peers == nil {
		c.Peers = map[netip.Addr]uint64{}
	}
	c.next = max(c.Own+1, uint64(max(now.UnixNano(), 1)))
	c.Own = c.next + reserve
	return c, err
}

func (c *counters) read(path string) error {
	text, err := files.Read(path, maxCounters)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	if err := json.Unmarshal(text, c); err != nil {
		*c = counters{}
		return fmt.Errorf("read counters: %s: %w", path, err)
	}
	return nil
}

// take returns the next counter of this host, and whether the record must be renewed.
func (c *counters) take() (counter uint64, due bool) {
	counter = c.next
	c.next++
	if due = c.Own-c.next < reserve/2; due {
		c.Own = c.next + reserve
	}
	return counter, due
}

// accept reports whether the counter of a datagram from a peer is greater than all
// before, and keeps it.
func (c *counters) accept(from netip.Addr, counter uint64) bool {
	if counter <= c.Peers[from] {
		return false
	}
	c.Peers[from] = counter
	return true
}

func (c *counters) text() []byte {
	text, _ := json.Marshal(c) // of such values it never fails
	return append(text, '\n')
}

// newRecord returns the file of the counters.
func newRecord(path string, j *journal.Journal) *record.File {
	return record.New(path, countersUnwritable, j)
}

// store writes the counters whenever they have changed, until ctx ends, and then what is
// newest.
func (n *Node) store(ctx context.Context) error {
	write := func() {
		n.mu.Lock()
		text := n.counters.text()
		n.mu.Unlock()
		n.record.Put(text)
		n.record.Flush()
	}
	defer write()
	for {
		write()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.counted:
		}
	}
}

// load reads the counters.
func (n *Node) load() {
	c, err := loadCounters(n.options.Counters, time.Now())
	if err != nil {
		n.options.Journal.Tell(countersUnreadable, zap.Error(err))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counters = c
}

package election

import (
	"berth/internal/journal"
)

// span is the keys below one prefix, of which one watch keeps the copy current. Two
// watches tell of changes in two spans in any order.
type span struct {
	prefix   string
	watching *journal.Condition

	// The lock of the observer guards the rest.
	current  bool // the watch is alive
	read     bool // everything was read once
	denied   bool // etcd has refused to tell it, until it was read
	era      int  // of etcd's history, to which the rest belongs
	revision int64
	began    int64 // the revision at which it was read for the first time
}

// span returns the span in which a key is.
func (o *observer) span(key string) *span {
	for _, s := range o.spans {
		if len(key) >= len(s.prefix) && key[:len(s.prefix)] == s.prefix {
			return s
		}
	}
	return nil
}

// valid reports whether the copy of a span is that of etcd now, as far as its watch
// tells. It is called with the lock held.
func (o *observer) valid(s *span) bool {
	era, _, _ := o.etcd.history.current()
	return s.current && s.era == era
}

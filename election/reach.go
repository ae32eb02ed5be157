package election

import (
	"errors"
	"slices"
)

// errUnwatched says that the copy of the keys may not be what etcd has now.
var errUnwatched = errors.New("the watch of the keys is interrupted")

// Reach returns why etcd cannot be asked by this member now, nil where it can: etcd
// acknowledges its lease, and the watch of everything that etcd does not refuse to tell is
// alive.
func (m *Member) Reach() error {
	if !m.Acknowledged() {
		m.session.mu.Lock()
		defer m.session.mu.Unlock()
		if m.session.failure == nil {
			return errors.New("etcd has acknowledged no lease")
		}
		return m.session.failure
	}
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.ContainsFunc(o.spans, func(s *span) bool { return !s.denied && !o.valid(s) }) {
		return errUnwatched
	}
	return nil
}

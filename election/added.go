package election

// AddedKeys is a copy of the keys below added/ of this member at one revision, which
// nobody may change.
type AddedKeys struct {
	Revision int64
	// Era counts the breaks of etcd's history. In another era the keys may have vanished
	// although nobody has deleted them.
	Era int
	// Values are by what follows added/<member>/, unescaped: by the address with which
	// AddedKey makes the key. A key that AddedKey does not make is there as it is written.
	Values map[string]AddedValue
}

// AddedValue is a key below added/.
type AddedValue struct {
	Value    []byte
	Revision int64 // of its last change, for [Etcd.Swap]
}

// addedCopy is the observer's copy of the keys below added/, whose lock guards it.
type addedCopy struct {
	span    *span
	of      string                           // this member
	members map[string]map[string]AddedValue // by member and what follows it, as written; the values are those of this member alone

	shared  map[string]AddedValue // a copy of those of this member, nil after their change
	touched bool                  // since ring was last called
	changed chan struct{}         // closed at the next change of the keys of this member
}

func newAddedCopy(s *span, of string) *addedCopy {
	return &addedCopy{span: s, of: of, members: map[string]map[string]AddedValue{}, changed: make(chan struct{})}
}

// clear forgets everything, if it is in that span.
func (a *addedCopy) clear(s *span) {
	if a.span == s {
		clear(a.members)
		a.touched = true
	}
}

func (a *addedCopy) put(member, rest string, v AddedValue) {
	if rest == "" {
		return
	}
	if a.members[member] == nil {
		a.members[member] = map[string]AddedValue{}
	}
	if member != a.of {
		v = AddedValue{}
	}
	a.members[member][rest] = v
	a.touched = a.touched || member == a.of
}

func (a *addedCopy) remove(member, rest string) {
	delete(a.members[member], rest)
	if len(a.members[member]) == 0 {
		delete(a.members, member)
	}
	a.touched = a.touched || member == a.of
}

// ring tells that keys of this member have changed, if they have.
func (a *addedCopy) ring() {
	if a.touched {
		a.touched, a.shared = false, nil
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// values returns those of this member by name. Where a key that AddedKey does not make is
// written as an address is called, the key of the address counts.
func (a *addedCopy) values() map[string]AddedValue {
	own, values := a.members[a.of], map[string]AddedValue{}
	for rest, v := range own {
		if addedName(rest) == rest {
			values[rest] = v
		}
	}
	for rest, v := range own {
		if name := addedName(rest); name != rest {
			values[name] = v
		}
	}
	return values
}

// Added returns the addresses that were added to this member at run time, known is false
// until all keys were read, and a channel that is closed at their next change.
func (m *Member) Added() (keys AddedKeys, known bool, changed <-chan struct{}) {
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.added
	if !a.span.read {
		return AddedKeys{}, false, a.changed
	}
	if a.shared == nil {
		a.shared = a.values()
	}
	return AddedKeys{a.span.revision, a.span.era, a.shared}, true, a.changed
}

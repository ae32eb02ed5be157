package keepalivedconf

// group is a vrrp_sync_group while it is being read.
type group struct {
	name    string
	at      place
	members []string
	notify  bool
}

func (m *machine) trackGroupInterface(words [][]byte) {
	m.group()
	m.trackInterface(words)
}

// group returns the group that the words of a vrrp_sync_group block apply to.
func (m *machine) group() *group {
	if m.currentSync == nil {
		m.refuse("keepalived may crash here: this belongs to a vrrp_sync_group that does not exist, because it has no valid name and no {; give it a name and both braces")
		return &group{}
	}
	return m.currentSync
}

func (m *machine) inGroup() bool { return m.currentSync != nil }

func (m *machine) beginGroup(s statement) {
	if len(s.words) != 2 {
		m.warn("vrrp_sync_group needs one name and has %d, so the whole block is skipped; put a name with spaces in double quotes", len(s.words)-1)
		m.skipBlock("a vrrp_sync_group without a valid name")
		return
	}
	name := string(s.words[1])
	if first := m.groupByName[name]; first != nil {
		m.warn("vrrp_sync_group %s exists already in line %d, so this whole block is skipped; rename it or merge the two", name, first.at.line)
		m.skipBlock("the second vrrp_sync_group " + name)
		return
	}
	m.currentSync = &group{name: name, at: m.r.at}
	if !m.r.dialect.has[emptyGroupsVanish] {
		m.addGroup()
	}
}

func (m *machine) addGroup() {
	m.groups = append(m.groups, m.currentSync)
	m.groupByName[m.currentSync.name] = m.currentSync
}

// endGroup is not called for a block whose end is that of a second group block, so that
// the sync group does not exist where it is added here.
func (m *machine) endGroup() {
	switch {
	case !m.r.dialect.has[emptyGroupsVanish]:
		return
	case m.currentSync == nil:
	case m.currentSync.members == nil:
		m.r.report.warn(m.r.message(m.currentSync.at), "vrrp_sync_group %s has no group block with members and does not exist; name its members", m.currentSync.name)
	default:
		m.addGroup()
	}
	m.currentSync = nil
}

func (m *machine) groupMembers(s statement) {
	g := m.group()
	if g.members != nil {
		const format = "the second group block of vrrp_sync_group %s is skipped, and its } ends the sync group"
		if m.r.dialect.has[emptyGroupsVanish] {
			m.warn(format+", which does not exist then; put all members in one", g.name)
		} else {
			m.warn(format+"; put all members in one", g.name)
		}
		m.skipBlock("the second group of vrrp_sync_group " + g.name)
		return
	}
	m.values(s, func(m *machine, words [][]byte) {
		for _, w := range words {
			g.members = append(g.members, string(w))
		}
	})
	if g.members == nil {
		m.warn("vrrp_sync_group %s has an empty group block; name its members", g.name)
	}
}

func (m *machine) beginTrackGroup(s statement) {
	exists := false
	if len(s.words) == 2 {
		_, exists = m.tracked[string(s.words[1])]
	}
	if len(s.words) != 2 || exists {
		m.warn("track_group needs one name of its own, so the whole block is skipped; give it one")
		m.skipBlock("a track_group without a valid name")
		return
	}
	m.tracked[string(s.words[1])] = false
	m.trackGroup, m.inTracked = string(s.words[1]), true
}

func (m *machine) inTrackGroup() bool { return m.inTracked }

func (m *machine) endTrackGroup() {
	if !m.r.dialect.has[emptyGroupsVanish] {
		return
	}
	if !m.tracked[m.trackGroup] {
		delete(m.tracked, m.trackGroup)
	}
	m.inTracked = false
}

func (m *machine) trackGroupMembers(s statement) {
	if m.tracked[m.trackGroup] {
		m.warn("the second group block of track_group %s is skipped, and its } ends the track group; put all members in one", m.trackGroup)
		m.skipBlock("the second group of track_group " + m.trackGroup)
		return
	}
	m.values(s, func(m *machine, _ [][]byte) { m.tracked[m.trackGroup] = true })
}

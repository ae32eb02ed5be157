package keepalivedconf

// bfd is a bfd_instance while it is being read. Only its name and the processes
// that it serves matter, because another bfd_instance of that name is skipped.
type bfd struct {
	name          string
	vrrp, checker bool
}

const bfdNameLimit = 32

func (m *machine) beginBFD(s statement) {
	name := string(s.words[1])
	m.bfd = bfd{name: name}
	if len(name) >= bfdNameLimit || m.followed[name] {
		m.warn("bfd_instance needs a name of its own with less than %d letters, so the whole block is skipped; give it one", bfdNameLimit)
		m.skipBlock("a bfd_instance without a valid name")
		return
	}
	m.followed[name] = true
}

func (m *machine) endBFD() {
	if m.bfd.checker && !m.bfd.vrrp {
		delete(m.followed, m.bfd.name)
	}
}

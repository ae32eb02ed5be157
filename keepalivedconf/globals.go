package keepalivedconf

import (
	"net/netip"
	"slices"
)

// The multicast groups of RFC 5798, keepalived's default destinations.
var (
	multicast4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	multicast6 = netip.MustParseAddr("ff02::12")
)

func (m *machine) setDefaultInterface(s statement) {
	if len(s.words) > 1 {
		m.globals.defaultInterface = string(s.words[1])
	}
}

func (m *machine) setGlobalVersion(s statement) {
	if v, ok := m.readVersion(s); ok {
		m.globals.version = v
	}
}

func (m *machine) setVMACPrefix(s statement) {
	if m.globals.vmacPrefix == "" {
		m.globals.vmacPrefix = string(s.words[1])
	}
}

func (m *machine) setMulticastGroup(s statement) {
	group, want := &m.globals.group4, IPv4
	if string(s.words[0]) == "vrrp_mcast_group6" {
		group, want = &m.globals.group6, IPv6
	}
	address, err := parseAddress(cutRange(string(s.words[1])))
	if err != nil || familyOf(address) != want || !address.IsMulticast() {
		m.warn("%s %s is ignored; write an IPv%d multicast group", s.words[0], s.words[1], want)
		return
	}
	*group = address
}

// setIncludeCheck reads include_check, which decides which failures of the plain
// includes after it end keepalived: without a word, every failure does.
func (m *machine) setIncludeCheck(s statement) {
	if len(s.words) < 2 {
		m.r.check = checkAll
		return
	}
	for n, w := range s.words[1:] {
		word := string(w)
		add, remove := false, false
		switch {
		case len(word) > 0 && word[0] == '-':
			remove, word = true, word[1:]
		case len(word) > 0 && word[0] == '+':
			add, word = true, word[1:]
		case n == 0:
			m.r.check = 0
		default:
			m.warn("%s is ignored, because only the first word of include_check may stand without + or -; add one", word)
			continue
		}
		check, ok := includeChecks[word]
		switch {
		case !ok:
			m.warn("include_check %s is ignored; write read, match, wildcard_match or brace_match", word)
		case add:
			m.r.check |= check
		case remove:
			m.r.check &^= check
		default:
			m.r.check = checkRead | check
		}
	}
}

var includeChecks = map[string]includeCheck{
	"read":           checkRead,
	"match":          checkMatch,
	"wildcard_match": checkWildcard,
	"brace_match":    checkBrace,
}

func (m *machine) setScriptUser(s statement) {
	if len(s.words) < 2 {
		m.warn("script_user lacks the user and is ignored; add it")
		return
	}
	m.globals.scriptUser = true
}

// noteFIFO reads the FIFOs and their scripts, whose user is decided when their
// line is read.
func (m *machine) noteFIFO(s statement) {
	word := string(s.words[0])
	if len(s.words) < 2 {
		m.warn("%s lacks its value and is ignored; add it", word)
		return
	}
	if path := string(s.words[1]); (word == "notify_fifo" || word == "vrrp_notify_fifo") && !slices.Contains(m.globals.fifos, path) {
		m.globals.fifos = append(slices.Clip(m.globals.fifos), path)
	}
	if len(s.words) == 2 && !m.globals.scriptUser {
		m.globals.earlyScripts = append(m.globals.earlyScripts, earlyScript{word, m.r.at})
	}
}

func (m *machine) setDynamicInterfaces(s statement) {
	m.globals.dynamicInterfaces = true
	if len(s.words) > 1 && string(s.words[1]) == "allow_if_changes" {
		m.globals.allowIfChanges = true
	}
}

// checkScriptUser warns about lines that stand before the script_user that they
// need.
func (m *machine) checkScriptUser() {
	for _, early := range m.globals.earlyScripts {
		at := m.r.message(early.at)
		switch {
		case m.globals.scriptUser:
			m.r.report.warn(at, "%s stands before script_user and is used as another user; put script_user first", early.word)
		case m.globals.scriptSecurity:
			m.r.report.warn(at, "%s has no user: with enable_script_security and without a user keepalived_script it is lost at the next reload; put script_user before it", early.word)
		}
	}
}

// missingCommand refuses a script line without a command. keepalived splits the
// line a second time to find the command, and exits where the line has none; it
// only ignores a line with an open quote.
func missingCommand(s statement) bool {
	n, ok := commandWords(s.line)
	return ok && n < 2
}

func (m *machine) setInstanceNotify(s statement) {
	i := m.instance()
	if deleted := string(s.words[0]) == "notify_deleted"; deleted && len(s.words) < 2 {
		return // it has a meaning without a command
	}
	if missingCommand(s) {
		m.refuse("%s lacks its command, at which keepalived exits; add it", s.words[0])
		return
	}
	i.notify = true
}

func (m *machine) setGroupNotify(s statement) {
	g := m.group()
	if missingCommand(s) {
		m.refuse("%s lacks its command, at which keepalived exits; add it", s.words[0])
		return
	}
	g.notify = true
}

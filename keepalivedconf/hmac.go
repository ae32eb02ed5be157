package keepalivedconf

import "strings"

// hmac is the auth_hmac block of an instance. Only its room in a packet matters.
type hmac struct {
	keys        map[int]bool // by number
	active      int
	receiveOnly bool
}

// hmacTrailer is the size of what follows the addresses of a packet, in bytes.
const hmacTrailer = 28

func (m *machine) beginHMAC(statement) {
	if i := m.instance(); i.hmac == nil {
		i.hmac = &hmac{keys: map[int]bool{}}
	}
}

// addHMACKey reads key NUMBER VALUE. A value that begins with file: is in a file, which is
// not read here: it counts as a valid one.
func (m *machine) addHMACKey(s statement) {
	const least, greatest = 32, 64
	if len(s.words) < 3 {
		m.warn("key of auth_hmac is ignored, because it needs a number and a value; add them")
		return
	}
	id, ok := strictNumber(string(s.words[1]), 1, 255)
	if !ok {
		m.warn("key %s of auth_hmac is ignored; write a number from 1 to 255", s.words[1])
		return
	}
	value := string(s.words[2])
	length := len(value)
	if digits, isHex := strings.CutPrefix(value, "hex:"); isHex {
		length = len(digits) / 2
	}
	if !strings.HasPrefix(value, "file:") && (length < least || length > greatest) {
		m.warn("key %d of auth_hmac is ignored, because it has %d bytes; write %d to %d", id, length, least, greatest)
		return
	}
	m.instance().hmac.keys[id] = true
}

func (m *machine) setHMACKey(s statement) {
	id, ok := strictNumber(string(s.words[1]), 1, 255)
	if !ok {
		m.warn("active_key %s of auth_hmac is ignored; write a number from 1 to 255", s.words[1])
		return
	}
	m.instance().hmac.active = id
}

func (m *machine) setHMACMode(s statement) {
	switch word := string(s.words[1]); word {
	case "enforce", "permissive", "receive-only":
		m.instance().hmac.receiveOnly = word == "receive-only"
	default:
		m.warn("mode %s of auth_hmac is ignored; write enforce, permissive or receive-only", word)
	}
}

// complete returns nil where keepalived leaves out auth_hmac, because its active key is not
// there.
func (h *hmac) complete() *hmac {
	if h == nil || !h.keys[h.active] {
		return nil
	}
	return h
}

func (h *hmac) trailer() int {
	if h == nil || h.receiveOnly {
		return 0
	}
	return hmacTrailer
}

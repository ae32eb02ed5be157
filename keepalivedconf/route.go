package keepalivedconf

// Routes and rules concern instances only where they end keepalived: by an
// interface that does not exist, or by an option without its value at the end
// of the line. An option with a wrong value makes keepalived drop the line
// without looking at the rest of it. So each option is known here by the kind
// of its value.
type optionKind uint8

const (
	isDestination       optionKind = iota // no option, but the destination of a route
	isBeforeDestination                   // "to", or the type of a route
	isFlag                                // takes no value
	takesWord
	takesNumber  // a number, for some after the word lock
	takesAddress // an address, for some after inet or inet6
	takesInterface
)

var routeOptions = map[string]optionKind{
	"inet": isFlag, "inet6": isFlag, "onlink": isFlag, "add": isFlag, "append": isFlag, "prepend": isFlag,
	"no_track": isFlag,

	"to": isBeforeDestination, "unicast": isBeforeDestination, "local": isBeforeDestination,
	"broadcast": isBeforeDestination, "anycast": isBeforeDestination, "multicast": isBeforeDestination,
	"blackhole": isBeforeDestination, "unreachable": isBeforeDestination,
	"prohibit": isBeforeDestination, "throw": isBeforeDestination, "nat": isBeforeDestination,
	"xresolve": isBeforeDestination,

	"as": takesWord, "tos": takesWord, "dsfield": takesWord, "table": takesWord, "protocol": takesWord,
	"scope": takesWord, "rtt": takesWord, "rttvar": takesWord, "realms": takesWord, "rto_min": takesWord,
	"features": takesWord, "congctl": takesWord, "pref": takesWord, "track_group": takesWord,
	"ttl-propagate": takesWord,

	"metric": takesNumber, "priority": takesNumber, "preference": takesNumber, "mtu": takesNumber,
	"hoplimit": takesNumber, "advmss": takesNumber, "reordering": takesNumber, "window": takesNumber,
	"cwnd": takesNumber, "ssthresh": takesNumber, "initcwnd": takesNumber, "initrwnd": takesNumber,
	"quickack": takesNumber, "fastopen_no_cookie": takesNumber, "expires": takesNumber,

	"src": takesAddress, "via": takesAddress, "gw": takesAddress, "from": takesAddress,
	"dev": takesInterface, "oif": takesInterface,
}

var ruleOptions = map[string]optionKind{
	"inet": isFlag, "inet6": isFlag, "not": isFlag, "l3mdev": isFlag, "no_track": isFlag, "nop": isFlag,
	"blackhole": isFlag, "unreachable": isFlag, "prohibit": isFlag,

	"table": takesWord, "lookup": takesWord, "tos": takesWord, "dsfield": takesWord, "fwmark": takesWord,
	"realms": takesWord, "suppress_ifgroup": takesWord, "sup_group": takesWord, "uidrange": takesWord,
	"protocol": takesWord, "ipproto": takesWord, "sport": takesWord, "dport": takesWord,
	"track_group": takesWord, "type": takesWord,

	"preference": takesNumber, "order": takesNumber, "priority": takesNumber, "goto": takesNumber,
	"suppress_prefixlength": takesNumber, "sup_pl": takesNumber, "tunnel-id": takesNumber,

	"from": takesAddress, "to": takesAddress,
	"dev": takesInterface, "iif": takesInterface, "oif": takesInterface,
}

func (m *machine) route(words [][]byte) { m.routing("route", words, routeOptions, true) }
func (m *machine) rule(words [][]byte)  { m.routing("rule", words, ruleOptions, false) }

// fits reports whether a destination or an address has this family, which is that of
// the first address if it was not known.
func (f *Family) fits(text string) bool {
	switch text {
	case "default", "any", "all", "default6":
		return true
	}
	a, err := parseAddress(cutMask(text))
	if err != nil {
		return false
	}
	if *f == FamilyUnknown {
		*f = familyOf(a)
	}
	return *f == familyOf(a)
}

// routing follows the options of a route or rule as far as keepalived does.
func (m *machine) routing(kind string, words [][]byte, options map[string]optionKind, destination bool) {
	family := FamilyUnknown
	n := 0
	value := func() (string, bool) {
		option := words[n]
		if n++; n == len(words) {
			m.refuse("the %s lacks the value of %s, at which keepalived exits; add it", kind, option)
			return "", false
		}
		return string(words[n]), true
	}
	for ; n < len(words); n++ {
		option := string(words[n])
		kindOf := options[option]
		if v, rest := cInt(option, 0); destination && kindOf == isDestination && rest == "" && v >= 0 && v <= 255 {
			kindOf = isBeforeDestination // the type as a number
		}
		switch kindOf {
		case isFlag:
		case isBeforeDestination:
			if n+1 == len(words) {
				m.refuse("the %s lacks its destination, at which keepalived exits; add it", kind)
				return
			}
		case isDestination:
			if !destination || !family.fits(option) {
				m.warn("%s %s is dropped, because %s is not understood; correct it", kind, words[0], option)
				return
			}
		case takesWord:
			if _, ok := value(); !ok {
				return
			}
		case takesNumber:
			text, ok := value()
			if ok && text == "lock" {
				text, ok = value()
			}
			if !ok {
				return
			}
			if _, ok := strictNumber(text, 0, 1<<32-1); !ok {
				m.warn("%s %s is dropped, because %s %s is not a number; correct it", kind, words[0], option, text)
				return
			}
		case takesAddress:
			text, ok := value()
			if ok && (text == "inet" || text == "inet6") {
				text, ok = value()
			}
			if !ok {
				return
			}
			if !family.fits(text) {
				m.warn("%s %s is dropped, because %s %s is not an address of its family; correct it", kind, words[0], option, text)
				return
			}
		case takesInterface:
			text, ok := value()
			if !ok {
				return
			}
			if _, usable := m.useInterface(text); !usable {
				return
			}
		}
	}
}

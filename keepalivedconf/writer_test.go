package keepalivedconf_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// writer writes one random configuration.
type writer struct {
	*rand.Rand
	file  int // being written: it includes only files after it
	lines []string
	depth int
}

// randomSample returns the configuration of a seed.
func randomSample(seed uint64) sample {
	source := rand.New(rand.NewPCG(seed, 0))
	s := make(sample, 4)
	for n := len(s) - 1; n >= 0; n-- {
		w := &writer{Rand: source, file: n}
		if n == 0 {
			w.some(0, 3, w.define)
			w.maybe(0.3, w.globalDefs)
			w.some(1, 5, w.top)
		} else {
			w.oneOf(
				func() { w.some(1, 3, w.address) },
				func() { w.some(1, 2, w.top) },
				func() { w.some(1, 3, w.instanceLine) },
				func() { w.some(1, 2, w.define) },
			)
		}
		s[n] = w.spoil()
	}
	return s
}

func (w *writer) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *writer) maybe(p float64, do func()) {
	if w.Float64() < p {
		do()
	}
}

func (w *writer) some(least, most int, do func()) {
	for range least + w.IntN(most-least+1) {
		do()
	}
}

func (w *writer) oneOf(do ...func()) { do[w.IntN(len(do))]() }

func (w *writer) word(words ...string) string { return words[w.IntN(len(words))] }

// block writes a keyword with its block in one of the many ways that mean the same,
// or in one of some that do not.
func (w *writer) block(head string, body func()) {
	if w.depth > 6 {
		return
	}
	w.depth++
	defer func() { w.depth-- }()
	switch w.IntN(20) {
	case 0, 1:
		w.add("%s", head)
		w.add("{")
	case 2:
		w.add("%s{", head)
	case 3:
		w.add("%s # comment", head)
		w.add("")
		w.add("{ # another")
	case 4:
		w.add("%s extra {", head)
	case 5:
		w.add("%s", head)
	case 6:
		w.add("@oracle-host %s {", head)
	default:
		w.add("%s {", head)
	}
	start := len(w.lines)
	body()
	if w.IntN(12) == 0 && len(w.lines) > start { // the first line beside the brace
		w.lines[start-1] += " " + w.lines[start]
		w.lines = append(w.lines[:start], w.lines[start+1:]...)
	}
	switch w.IntN(24) {
	case 0: // no end
	case 1:
		w.lines[len(w.lines)-1] += " }"
	case 2:
		w.add("}}")
	case 3:
		w.add("\"}\"")
	case 4:
		w.add("} # end")
	default:
		w.add("}")
	}
}

func (w *writer) name() string {
	return w.word("A", "B", "C", "D", "\"a b\"", "$N", "${N}x", "x#y", "\"x#y\"", "'q'", "a\\#b", "", "A B", "I${i}", "größe", "\"\"", strings.Repeat("n", 600))
}

func (w *writer) iface() string {
	return w.word("eth0", "eth0", "eth0", "eth1", "$IF", "lo", "no/such")
}

func (w *writer) top() {
	w.oneOf(
		w.instance, w.instance, w.instance, w.instance, w.instance, w.instance, w.instance, w.instance,
		w.syncGroup, w.otherBlock, w.define, w.include, w.loose, w.loopOfInstances, w.versioned,
	)
}

// versioned writes an instance of a kind that versions read differently.
func (w *writer) versioned() {
	lines := func(least, most int, words ...string) func() {
		return func() { w.some(least, most, func() { w.add("%s", w.word(words...)) }) }
	}
	same := lines(2, 5, "192.0.2.7", "192.0.2.7/24", "192.0.2.7 dev eth0", "192.0.2.8/24 dev eth1", "192.0.2.8", "2001:db8::7", "2001:db8::7/64")
	w.block("vrrp_instance V"+w.word("", "1", "2", "${_ENV NO_SUCH_VARIABLE}"), func() {
		w.add("virtual_router_id %d", 1+w.IntN(255))
		w.oneOf(
			func() {
				w.add("unicast_src_ip %s", w.word("192.0.2.77", "192.0.2.77", "2001:db8::77", "fe80::77", "bad"))
				w.block("unicast_peer", lines(1, 3, "192.0.2.70", "192.0.2.71"))
			},
			func() { w.add("interface eth0") },
			func() {
				w.add("interface eth1")
				w.block("unicast_peer", lines(1, 4, "192.0.2.70", "192.0.2.71"))
				w.add("%s", w.word("strict_mode on", "strict_mode off", "advert_int 40.955", "advert_int 0x10", "version 3"))
			},
			func() {
				w.add("interface eth2")
				w.block("auth_hmac", lines(0, 4, "key 1 0123456789012345678901234567890123456789", "active_key 1", "mode receive-only", "anti_replay time", "time_window 5", "anti_replay"))
				w.add("%s", w.word("no_virtual_ipaddress", "strict_mode on", "advert_int 1e1", "authentication {"))
			},
		)
		w.maybe(0.5, func() { w.block("virtual_ipaddress_excluded", same) })
		w.maybe(0.9, func() { w.block("virtual_ipaddress", same) })
		w.maybe(0.2, func() {
			w.block("virtual_ipaddress", lines(1, 2, "192.0.2.${_RANDOM 7 7}/24", "192.0.2.9 label abcdefghijklmnop", "192.0.2.9 # c \\", "10.${_ENV NO_SUCH_VARIABLE}0.0.1"))
		})
		w.maybe(0.1, func() {
			w.block("virtual_ipaddress", func() { w.add("~SEQ(i,1,%d) 2001:db8:1::${i}", 86+w.IntN(6)) })
		})
	})
}

func (w *writer) instance() {
	w.block("vrrp_instance "+w.name(), func() {
		if w.IntN(8) > 0 {
			w.add("interface %s", w.word("eth0", "eth0", "eth1", "eth2", w.iface()))
		}
		if w.IntN(12) > 0 {
			w.add("virtual_router_id %d", 1+w.IntN(255))
		}
		w.some(0, 4, w.instanceLine)
		if w.IntN(10) > 0 {
			w.block("virtual_ipaddress", func() { w.some(1, 5, w.addressLine) })
		}
		w.some(0, 2, w.instanceLine)
	})
}

func (w *writer) instanceLine() {
	w.oneOf(
		func() { w.add("priority %s", w.word("100", "255", "0", "1", "x", "50x", "\" 7\"", "+9", "")) },
		func() { w.add("state %s", w.word("MASTER", "BACKUP", "master", "FAULT")) },
		func() { w.add("advert_int %s", w.word("1", "0.5", "3", "1.5", "0.01", "abc", "300", "2s")) },
		func() { w.add("version %s", w.word("2", "3", "3x", "4")) },
		func() {
			w.add("%s", w.word("nopreempt", "preempt", "dont_track_primary", "accept", "smtp_alert", "nonsense 1 2", "promote_secondaries"))
		},
		func() { w.add("native_ipv6") },
		func() { w.add("strict_mode %s", w.word("", "on", "off", "x")) },
		func() { w.add("virtual_router_id %s", w.word("7", "0", "256", "x", "9x")) },
		func() { w.add("interface %s", w.iface()) },
		func() {
			w.add("notify %s", w.word("/bin/true", "\"/bin/true a 'b c'\"", "/bin/true {}", "\"\"", "'/bin/true"))
		},
		func() {
			w.add("%s %s", w.word("unicast_src_ip", "mcast_src_ip"), w.word("192.0.2.1", "2001:db8::1", "bad", "192.0.2.1/24"))
		},
		func() { w.add("mcast_dst_ip %s", w.word("224.0.0.77", "ff02::77", "192.0.2.1", "bad")) },
		func() {
			w.block("unicast_peer", func() {
				w.some(0, 3, func() { w.add("%s", w.word("192.0.2.3", "2001:db8::3", "bad", "192.0.2.4 min_ttl 3", "192.0.2.5/24")) })
			})
		},
		func() {
			w.block("authentication", func() {
				w.add("auth_type %s", w.word("PASS", "AH", "x"))
				w.add("auth_pass %s", w.word("secret", "\"\"", "123456789"))
			})
		},
		func() { w.block("virtual_ipaddress_excluded", func() { w.some(0, 4, w.addressLine) }) },
		func() { w.block("virtual_ipaddress", func() { w.some(0, 3, w.addressLine) }) },
		func() { w.block("track_interface", func() { w.add("%s", w.iface()) }) },
		func() {
			w.block("virtual_routes", func() {
				w.add("%s198.51.100.0/24 dev %s", w.word("", "", "to ", "unicast ", "0x10 ", "256 "), w.iface())
			})
		},
		func() {
			w.block(w.word("nonsense", "auth_hmac", "virtual_server 1.2.3.4 80", "global_defs"), func() { w.some(0, 2, w.instanceLine) })
		},
		w.define, w.include, w.include, w.loose,
	)
}

func (w *writer) addressLine() {
	w.oneOf(w.address, w.address, w.address, w.address, w.address, w.loopOfAddresses, w.include, w.define, w.loose)
}

func (w *writer) address() {
	text := w.word("192.0.2.", "198.51.100.", "203.0.113.") + strconv.Itoa(w.IntN(256))
	switch w.IntN(8) {
	case 0, 1:
		text = "2001:db8::" + strconv.FormatInt(int64(w.IntN(65536)), 16)
	case 2:
		text = w.word("bad", "192.0.2.256", "::ffff:192.0.2.1", "::1", "1:2", "192.0.02.1", "$X", "${X}", "$X/24", "${P}.7", "\"192.0.2.9\"", "192.0.2.1\"/24\"")
	}
	text += w.word("", "", "/24", "/32", "/64", "/0", "/33", "/x", "/", "/24x", "/ 24", "/+24", "/-1", "/129")
	for range w.IntN(3) {
		text += " " + w.word(
			"dev eth0", "dev eth1", "dev $IF", "dev", "label x", "label abcdefghijklmnop", "brd +", "brd -", "brd 192.0.2.255",
			"brd x", "scope link", "scope x", "peer 192.0.2.77", "peer 2001:db8::77", "peer 192.0.2.77/24", "home", "-nodad",
			"no_track", "preferred_lft 5", "preferred_lft x", "use_vmac", "track_group g", "192.0.2.3", "nonsense", "# comment", "! comment",
			"\"dev\" \"eth1\"", "noprefixroute",
		)
	}
	w.add("%s%s", w.word("", "", "", "", "", "@oracle-host ", "@other ", "@^other ", "  ", "\t"), text)
}

func (w *writer) loopOfAddresses() {
	w.add("%s", w.word(
		"~SEQ(i,1,3) 192.0.2.$i", "~SEQ(i,1,2,6) 192.0.2.${i}/24", "~SEQ(i,3,1) 192.0.2.$i", "~SEQx(i,9,12) 2001:db8::$i",
		"~SEQ(i,2) ~SEQ(j,1,$i) 192.0.${i}.${j}", "~LST(i,3,5) 192.0.2.$i dev eth1", "~LST({i,d},{1,eth0},{2}) 192.0.2.$i dev $d",
		"~SEQ(i,1,0,3) 192.0.2.$i", "~SEQ(i,1,3", "~LST(i) x", "@oracle-host ~SEQ(i,1,2) 192.0.2.$i", "~SEQ(i,1,2) @oracle-host 192.0.2.$i",
		"~SEQ(i,1,2) $M", "~SEQ(i,1,2) { 192.0.2.$i", "~SEQ(i,1,2) 192.0.2.$i }", "~SEQ(i,1,2) include f"+strconv.Itoa(w.file+1),
		"~LST(i,1,2) ~LST({a,b},{3,4},{5,6}) 192.${i}.${a}.${b}", "~SEQ(i,1,2) $X",
	))
}

func (w *writer) loopOfInstances() {
	w.add("$B=vrrp_instance I$i { \\")
	w.add("interface %s \\", w.word("eth0", "eth$i", "eth${i}"))
	w.add("virtual_router_id ${i} \\")
	w.add("virtual_ipaddress { \\")
	w.some(0, 2, func() { w.address(); w.lines[len(w.lines)-1] += " \\" })
	w.add("} \\")
	w.add("}")
	w.add("%s", w.word("~SEQ(i,21,23) $B", "~LST(i,31,33) $B", "~SEQ(j,1,2) ~SEQ(i,41,42) $B", "$B", "$i=51", "~SEQ(i,61,62) $B x"))
}

func (w *writer) define() {
	w.oneOf(
		func() {
			w.add("$X=%s", w.word("192.0.2.41", "192.0.2.42 dev eth1", "198.51.100.4 # comment", "${P}.5", "", "@oracle-host 192.0.2.43", "~SEQ(i,1,2) 192.0.2.$i", "}", "{"))
		},
		func() { w.add("$N=%s", w.word("N1", "N2", "\"N 3\"", "N${IF}", "$P")) },
		func() { w.add("$IF=%s", w.word("eth0", "eth1", "eth3")) },
		func() { w.add("$P=%s", w.word("192.0.2", "198.51.100")) },
		func() { w.add("$P = x") },
		func() {
			w.add("$M=%s \\", w.word("192.0.2.91", "virtual_ipaddress {", "$i=3", "include f"+strconv.Itoa(w.file+1), "~SEQ(k,1,2) 192.0.9.$k", ""))
			w.some(0, 3, func() {
				w.add("%s \\", w.word("192.0.2.92", "# comment", "}", "$X", "priority 9", "", "192.0.2.93 # c"))
			})
			w.maybe(0.8, func() { w.add("%s", w.word("192.0.2.94", "}", "", "# c", "$N")) })
		},
		func() {
			w.add("%s", w.word("$M", "${M}", "$X", "$M x", "$X $X", "${_HASH} x", "${_INSTANCE}", "@oracle-host $M"))
		},
	)
}

func (w *writer) include() {
	if w.file == 3 {
		return
	}
	pattern := w.word("f1", "f2", "f3", "f3", "f[23]", "{f2,f3}", "nope", "\"f3\"", "f3 # c", "*nope")
	if n := strings.IndexAny(pattern, "123"); n >= 0 && int(pattern[n]-'0') <= w.file || w.file > 1 {
		pattern = "f3"
	}
	w.add("%s%s %s", w.word("", "", "", "", "", "@oracle-host ", "@other "), w.word("include", "include", "include", "include", "includer", "includem", "includew", "includeb", "includea", "includex"), pattern)
}

func (w *writer) syncGroup() {
	w.block("vrrp_sync_group "+w.word("G", "H", "G", "", "\"g 1\""), func() {
		w.some(1, 2, func() {
			w.block("group", func() { w.some(0, 4, func() { w.add("%s", w.word("A", "B", "C", "A B", "nope", "\"a b\"", "N1")) }) })
		})
		w.maybe(0.3, func() { w.add("%s", w.word("smtp_alert", "notify /bin/true", "notify", "nonsense")) })
	})
}

func (w *writer) globalDefs() {
	w.block("global_defs", func() {
		w.some(0, 4, func() {
			w.add("%s", w.word("vrrp_version 3", "vrrp_version 2", "vrrp_version x", "vrrp_strict", "dynamic_interfaces", "dynamic_interfaces allow_if_changes", "router_id x", "include_check",
				"include_check match", "nonsense", "vrrp_mcast_group4 224.0.0.9", "script_user root", "vrrp_garp_interval", "enable_script_security"))
		})
		w.maybe(0.2, func() { w.block("notification_email", func() { w.add("root@localhost") }) })
		w.maybe(0.1, func() { w.block("nonsense", func() { w.add("x") }) })
	})
}

func (w *writer) otherBlock() {
	head := w.word("virtual_server 192.0.2.1 80", "virtual_server_group G", "SSL", "vrrp_script s", "track_file f", "static_ipaddress",
		"nonsense", "garp_group", "vrrp_track_process p", "bfd_instance b", "track_group T", "vrrp_script", "linkbeat_use_polling", "use_pid_dir")
	w.block(head, func() {
		w.some(0, 3, func() {
			w.oneOf(
				func() {
					w.add("%s", w.word("weight 3", "interval 2", "group {", "}", "script \"/bin/true {\"", "file /x", "192.0.2.7/24 dev eth0", "garp_interval 1", "process x", "user root"))
				},
				func() {
					w.block(w.word("real_server 192.0.2.2 80", "nonsense", "TCP_CHECK", "group"), func() { w.add("weight 1") })
				},
				w.instance,
				w.loose,
			)
		})
	})
}

// loose writes a line that is seldom valid in its place.
func (w *writer) loose() {
	w.add("%s", w.word(
		"", "# comment", "! comment", "# comment \\", "}", "{", "\"", "\"a", "}}", "{}", "\\", "\\#x", "x \\", "\t", "priority 5 # x",
		"\"}\"", "\"{\"", "$", "${", "$X", "${NOPE}", "~", "~FOO(1)", "@", "@oracle-host", "@oracle-host }", "@oracle-host {", "include", "x\x00y", "\xef\xbb\xbf",
		"vrrp_instance", "virtual_ipaddress", "192.0.2.200", "#"+strings.Repeat("x", 1010+w.IntN(20))+" 192.0.2.201", strings.Repeat(" ", 1000+w.IntN(30))+"192.0.2.202/24",
	))
}

// spoil makes a few mistakes in the lines: lost, doubled, joined or cut lines, and
// another end of line.
func (w *writer) spoil() []string {
	lines := w.lines
	for range w.IntN(3) {
		if len(lines) < 3 || w.IntN(2) == 0 {
			continue
		}
		at := w.IntN(len(lines) - 1)
		switch w.IntN(7) {
		case 0:
			lines = append(lines[:at:at], lines[at+1:]...)
		case 1:
			lines = append(lines[:at+1:at+1], lines[at:]...)
		case 2:
			lines[at] += " " + lines[at+1]
			lines = append(lines[:at+1:at+1], lines[at+2:]...)
		case 3:
			lines[at] = lines[at][:w.IntN(len(lines[at])+1)]
		case 4:
			lines[at] += "\r"
		case 5:
			lines[at] = strings.ReplaceAll(lines[at], " ", w.word("\t", "  ", "\f", "\r", "\u00a0"))
		case 6:
			n := w.IntN(len(lines[at]) + 1)
			lines[at] = lines[at][:n] + w.word("\"", "#", "}", "{", "\\", " ", "$", "\\#") + lines[at][n:]
		}
	}
	return lines
}

package keepalivedconf

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// ParseFile reads the configuration that keepalived would read with -f path.
// path is a glob pattern, as for keepalived; a relative one starts from the
// working directory.
//
// ParseFile returns an error only if no file can be read there; mistakes in the
// content are in the Config. ParseFile may be called concurrently.
func ParseFile(path string, o Options) (*Config, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("read keepalived configuration: %w", err)
	}
	r := newReader(o, dialectOf(o.Version), &report{})
	r.dir = dir
	r.include(path, checkRead|checkMatch|checkWildcard)
	if len(r.stack) == 0 {
		err := r.mainError
		if err == nil {
			err = os.ErrNotExist
		}
		return nil, fmt.Errorf("read keepalived configuration %s: %w", path, err)
	}
	if e := r.stack[0]; len(e.matches) > 1 {
		r.report.warn(Message{File: filepath.Clean(path)}, "the pattern names %d files, all of which are read; name one file", len(e.matches))
	}

	parent := newMachine(r, o, partGlobal)
	parent.run()
	if r.dialect.has[readsCopy] {
		r.startSecondPass(dir)
	} else {
		r.startAgain(dir)
		r.include(path, 0)
	}
	return r.finish(parent, o), nil
}

// ParseConsolidated reads the text that a running keepalived's parent process
// left for its VRRP process: all files in one, without comments, with lines that
// mark their borders. Since 2.2 the text is an unnamed file, open in both processes,
// to which /proc/PID/fd has a link that ends in ConsolidatedName. Files that a
// condition or a macro includes are read from the disk.
//
// ParseConsolidated returns an error if the text is not whole: keepalived writes it
// while it reads the files.
func ParseConsolidated(data []byte, o Options) (*Config, error) {
	r := newReader(o, dialectOf(o.Version), &report{})
	if err := r.consolidated(data); err != nil {
		return nil, fmt.Errorf("read keepalived's consolidated configuration: %w", err)
	}
	r.startSecondPass("/")
	parent := newMachine(r, o, partGlobal)
	parent.run()
	r.startSecondPass("/")
	return r.finish(parent, o), nil
}

// finish makes the second pass, which is that of the VRRP process, and returns the
// result of both passes.
func (r *reader) finish(parent *machine, o Options) *Config {
	parentRefusals := len(r.report.refusals)
	child := newMachine(r, o, partVRRP)
	child.globals = parent.globals
	child.run()

	config := child.complete()
	if !parent.hasVRRP {
		// keepalived starts no VRRP process, so that the second pass does not happen.
		if len(child.instances) > 0 {
			r.report.warn(Message{File: r.files[0]}, "keepalived starts no VRRP process, because its first reading of the files finds every vrrp_instance inside another block or definition; close that before them")
		}
		config.Instances, config.Groups = nil, nil
		r.report.refusals = r.report.refusals[:parentRefusals]
	}
	config.Files, config.Dirs, config.FIFOs = r.files, r.dirs, child.globals.fifos
	config.Warnings, config.Refusals = r.report.warnings, r.report.refusals
	config.Unclosed, config.Skipped, config.FailedIncludes = r.report.unclosed, r.report.skipped, r.report.failedIncludes
	config.Refused = len(config.Refusals) > 0
	config.Sum = SumConsolidated(r.copied.data)
	return config
}

// statement is a line of the grammar, split into words.
type statement struct {
	words [][]byte
	line  []byte
}

// machine is keepalived's parser. Instead of a syntax tree it has a stack of
// keyword tables, whose top has the words that are known at the moment. A word that
// is not in the table is ignored, but the braces after it are not, which is why one
// unknown block can end the block around it.
type machine struct {
	r          *reader
	options    Options
	active     part // the parts of the tables that this process reads
	root       table
	globals    globals
	hasVRRP    bool
	interfaces map[string]iface

	level     int  // blocks of keywords that are open
	endInside bool // the files ended in a block
	skip      skipping
	words     [][]byte

	// Instances and groups in the order of the files. Keywords of a block apply to
	// the current one, which is the last one for a version that applies them outside it
	// too.
	instances   []*instance
	current     *instance
	byName      map[string]*instance
	vmacNames   map[string]bool // taken by use_vmac
	groups      []*group
	currentSync *group
	groupByName map[string]*group
	// Track groups of static addresses, and whether they have members.
	tracked    map[string]bool
	trackGroup string // the current one
	inTracked  bool   // there is one
	// BFD instances that the VRRP process follows.
	followed map[string]bool
	bfd      bfd // the last one

	open    []string // blocks that are open, for messages
	unknown string   // unknown keyword of the line before, for messages
}

// globals is what global_defs sets and instances need.
type globals struct {
	dynamicInterfaces bool
	allowIfChanges    bool // an interface may become another one
	defaultInterface  string
	version           int
	strict            bool
	vmacPrefix        string
	group4, group6    netip.Addr // multicast groups
	scriptUser        bool       // script_user was given
	scriptSecurity    bool
	earlyScripts      []earlyScript
	fifos             []string
}

// earlyScript is a line that needs the script user and stands before script_user.
type earlyScript struct {
	word string
	at   place
}

// skipping is the state of passing over a block.
type skipping struct {
	// wanted is set by a keyword whose block is to be skipped; it becomes a depth
	// of one if the next line is an opening brace, and is dropped otherwise.
	wanted bool
	depth  int
	// The block that is skipped, for messages.
	name   string
	since  place
	hidden bool // a message has been given
}

func newMachine(r *reader, o Options, active part) *machine {
	return &machine{
		r:           r,
		options:     o,
		active:      active,
		root:        keywords(r.dialect),
		globals:     globals{version: 2, defaultInterface: "eth0", group4: multicast4, group6: multicast6},
		interfaces:  map[string]iface{},
		byName:      map[string]*instance{},
		vmacNames:   map[string]bool{},
		groupByName: map[string]*group{},
		tracked:     map[string]bool{},
		followed:    map[string]bool{},
	}
}

// run parses everything.
func (m *machine) run() {
	m.block(m.root, false)
	if m.endInside && m.r.dialect.has[crashesAtOpenBlock] {
		m.r.crash("the file ends inside a block")
	}
	if m.reportsStructure() {
		if m.skip.depth > 0 {
			m.unclosed(m.r.message(m.skip.since), "the block of %s is never closed: everything after it is skipped; add the missing }", m.skip.name)
		} else if m.r.depth > 0 {
			m.unclosed(m.r.message(m.r.at), "the end of the file lacks %d closing }; add them", m.r.depth)
		}
	}
}

// reportsStructure reports whether this pass warns about unknown words and braces
// here, so that each message is given once: the first pass does inside global_defs,
// which the second pass skips, and the second pass everywhere else.
func (m *machine) reportsStructure() bool { return m.active&partVRRP != 0 || m.level > 0 }

// next returns the next line that has words.
func (m *machine) next() (statement, bool) {
	for {
		line, ok := m.r.next()
		if !ok {
			return statement{}, false
		}
		if m.skip.depth > 0 && m.r.letters&(isBrace|isQuote) == 0 && !bytes.HasPrefix(line, []byte("vrrp_instance")) {
			continue // nothing in it can end the skipping
		}
		words, openQuote := appendWords(m.words[:0], line)
		m.words = words
		if openQuote && m.reportsStructure() {
			m.r.warn("a double quote is not closed: the words after it are lost; close it")
		}
		if len(words) > 0 {
			return statement{words, line}, true
		}
	}
}

// block parses lines with a table until the block ends. needBrace means that
// its opening brace has not been read yet. It reports whether the block was
// skipped.
func (m *machine) block(t table, needBrace bool) (skipped bool) {
	for {
		s, ok := m.next()
		if !ok {
			m.endInside = m.endInside || m.level > 0
			return false
		}
		word := s.words[0]
		if m.skip.wanted {
			m.skip.wanted = false
			if string(word) == "{" {
				m.skip.depth = 1
				needBrace = false
				continue
			}
		}
		if m.skip.depth > 0 {
			if m.skipLine(s) && m.level > 0 {
				return true
			}
			continue
		}
		if needBrace {
			needBrace = false
			if string(word) == "{" && m.level > 0 {
				continue
			}
			m.note("the { of the block is missing; add it")
		} else if string(word) == "{" {
			m.strayBrace()
			continue
		}
		if string(word) == "}" && m.level > 0 {
			return false
		}
		m.unknown = ""
		if m.r.dialect.has[loopsAreKeywords] && bytes.HasPrefix(word, []byte("~SEQ")) {
			m.r.addLoop(s.line)
			continue
		}
		if k := t[string(word)]; k != nil {
			m.keyword(k, s)
		} else {
			m.unknownKeyword(string(word))
		}
	}
}

// keyword executes a statement whose first word is known.
func (m *machine) keyword(k *keyword, s statement) {
	active := k.part == 0 || k.part&m.active != 0
	if k.makesVRRP {
		m.hasVRRP = true
	}
	if !active {
		m.skipBlock(k.name)
		if string(s.words[len(s.words)-1]) == "{" {
			m.skip.wanted, m.skip.depth = false, 1
		}
		return
	}
	needBrace := true
	if k.sub != nil && string(s.words[len(s.words)-1]) == "{" {
		s.words = s.words[:len(s.words)-1]
		needBrace = false
	}
	ignored := k.inside != nil && m.r.dialect.has[wordsOutsideAreIgnored] && !k.inside(m)
	switch {
	case ignored:
		m.note("%s is ignored, because it belongs to a block that does not exist; give the block a valid name", k.name)
	case len(s.words) <= k.args:
		m.refuse("%s lacks its value, at which keepalived exits; add it", k.name)
	case k.do != nil:
		m.openBlock(k, s)
		k.do(m, s)
		if k.sub == nil && len(m.open) > m.level {
			m.open = m.open[:m.level]
		}
	}
	if k.sub == nil {
		return
	}
	m.openBlock(k, s)
	m.level++
	if !m.block(k.sub, needBrace) && k.end != nil {
		k.end(m)
	}
	m.level--
	if len(m.open) > m.level {
		m.open = m.open[:m.level]
	}
}

// openBlock remembers the name of a block for messages.
func (m *machine) openBlock(k *keyword, s statement) {
	if k.sub == nil || len(m.open) > m.level {
		return
	}
	name := k.name
	if len(s.words) > 1 {
		name += " " + string(s.words[1])
	}
	m.open = append(m.open, name)
}

// skipBlock has the block of the current keyword passed over, if one follows.
func (m *machine) skipBlock(name string) {
	m.skip = skipping{wanted: true, name: name, since: m.r.at}
}

// skipLine counts the braces of a line that is passed over. It reports
// whether the line ends the skipping.
func (m *machine) skipLine(s statement) bool {
	for _, w := range s.words {
		switch string(w) {
		case "{":
			m.skip.depth++
		case "}":
			if m.skip.depth--; m.skip.depth == 0 {
				return true
			}
		}
	}
	if m.reportsStructure() && !m.skip.hidden && string(s.words[0]) == "vrrp_instance" {
		m.skip.hidden = true
		m.warn("this vrrp_instance does not exist for keepalived, because it is inside the block of %s in line %d; close that block before it", m.skip.name, m.skip.since.line)
	}
	return false
}

// values parses the lines of a value block, each of which is given to do. The
// first closing brace ends it, and a missing opening one is overlooked.
func (m *machine) values(s statement, do func(*machine, [][]byte)) {
	name := string(s.words[0])
	since := m.r.at
	needBrace := true
	if len(s.words) > 1 {
		if string(s.words[1]) == "{" { // only a quoted one can stand here
			needBrace = false
			if words := s.words[2:]; len(words) > 0 {
				do(m, words)
			}
		} else {
			m.warn("the words between %s and its { are ignored; put them inside the braces", name)
		}
	}
	for {
		s, ok := m.next()
		if !ok {
			m.endInside = true
			m.unclosed(m.r.message(since), "the block %s is not closed; add the missing }", name)
			return
		}
		words := s.words
		if needBrace {
			needBrace = false
			if string(words[0]) == "{" {
				if words = words[1:]; len(words) == 0 {
					continue
				}
			} else {
				m.note("the { after %s is missing; add it", name)
			}
		}
		last := string(words[len(words)-1]) == "}"
		if last {
			words = words[:len(words)-1]
		}
		if len(words) > 0 {
			do(m, words)
		}
		if last {
			return
		}
	}
}

// unclosed warns of a block that the end of the file leaves open.
func (m *machine) unclosed(at Message, format string, args ...any) {
	m.r.report.warn(at, format, args...)
	m.r.report.doubt(&m.r.report.unclosed, at, format, args...)
}

// note warns if this pass reports structure, see reportsStructure.
func (m *machine) note(format string, args ...any) {
	if m.reportsStructure() {
		m.r.warn(format, args...)
	}
}

func (m *machine) warn(format string, args ...any)   { m.r.warn(format, args...) }
func (m *machine) refuse(format string, args ...any) { m.r.refuse(format, args...) }

func (m *machine) unknownKeyword(word string) {
	m.unknown = word
	if word == "}" {
		return // the reader has warned about it, or it ends an unknown block
	}
	where := ""
	if len(m.open) > 0 {
		where = " in " + m.open[len(m.open)-1]
	}
	m.note("%s is unknown%s and ignored; check the spelling, the place and the keepalived version", word, where)
}

// strayBrace warns about an opening brace that belongs to no keyword: keepalived
// ignores it, but not the closing brace that belongs to it.
func (m *machine) strayBrace() {
	switch {
	case m.level == 0:
		m.note("this { belongs to no known block and is ignored")
	case m.unknown != "":
		m.note("the block of the unknown word %s has a } which ends %s there, so that what follows is lost; remove the block", m.unknown, m.open[len(m.open)-1])
	default:
		m.note("this { is ignored, but its } ends %s there, so that what follows is lost; remove both", m.open[len(m.open)-1])
	}
}

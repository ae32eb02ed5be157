package keepalivedconf_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/keepalivedconf"
)

// answer is keepalived's answer to a question. Instances and groups count only if
// keepalived accepted the file.
type answer struct {
	Accepted  bool
	Crashed   bool // in keepalived's answer only: which is why Accepted is not set
	Instances []seen
	Groups    []seenGroup
	Log       string
	Error     string // why there is no answer
	// Undefined is in ours only: keepalived's answer means nothing; Endless: and may
	// take hours.
	Undefined, Endless bool
	// Consolidated is in keepalived's answer only: the text that its parent process
	// left for its VRRP process. Sum is in ours only, of the same text.
	Consolidated []byte
	Sum          [sha256.Size]byte
}

// seen has the fields that are both in the data dump and in our reading.
type seen struct {
	Name      string
	Interface string
	VRID      int
	Version   int
	Priority  int
	Interval  time.Duration
	Preempt   bool
	Peers     []string
	Addresses []string
	Excluded  []string
}

type seenGroup struct {
	Name    string
	Members []string
}

// readConsolidated fills in the text that keepalived has open.
func (a *answer) readConsolidated(pid int) error {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasSuffix(target, keepalivedconf.ConsolidatedName) {
			a.Consolidated, err = os.ReadFile(filepath.Join(dir, e.Name()))
			return err
		}
	}
	return nil
}

// parseDump reads the sections about instances and groups of a data dump.
func parseDump(text string) (answer, error) {
	a := answer{Accepted: true}
	var (
		current *seen
		list    *[]string
		section string
		members bool
	)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "------<") {
			section, current, list, members = line, nil, nil, false
			continue
		}
		if name, ok := strings.CutPrefix(line, " VRRP Instance = "); ok {
			a.Instances = append(a.Instances, seen{Name: name})
			current, list = &a.Instances[len(a.Instances)-1], nil
			continue
		}
		if name, ok := strings.CutPrefix(line, " VRRP Sync Group = "); ok {
			a.Groups = append(a.Groups, seenGroup{Name: name[:strings.LastIndexByte(name, ',')]})
			members = false
			continue
		}
		if item, ok := strings.CutPrefix(line, "     "); ok {
			switch {
			case members:
				g := &a.Groups[len(a.Groups)-1]
				g.Members = append(g.Members, item)
			case list != nil:
				*list = append(*list, withLength(item))
			}
			continue
		}
		list, members = nil, section == "------< VRRP Sync groups >------" && strings.HasPrefix(line, "   VRRP member instances")
		if current == nil {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		var err error
		switch {
		case strings.HasPrefix(line, "   Virtual IP = "), strings.HasPrefix(line, "   Virtual IP ("), line == "   Virtual IP :":
			list = &current.Addresses
		case strings.HasPrefix(line, "   Virtual IP Excluded"):
			list = &current.Excluded
		case strings.HasPrefix(line, "   Unicast Peer"):
			list = &current.Peers
		case name == "Interface":
			current.Interface = strings.TrimPrefix(value, "not configured")
		case name == "VRRP Version":
			current.Version, err = strconv.Atoi(value)
		case name == "Virtual Router ID":
			current.VRID, err = strconv.Atoi(value)
		case name == "Priority":
			current.Priority, err = strconv.Atoi(value)
		case name == "Preempt":
			current.Preempt = strings.HasPrefix(value, "enabled")
		case name == "Advert interval":
			number, unit, _ := strings.Cut(value, " ")
			current.Interval, err = time.ParseDuration(number + map[string]string{"sec": "s", "milli-sec": "ms"}[unit])
		}
		if err != nil {
			return answer{}, fmt.Errorf("read the dump line %q: %w", line, err)
		}
	}
	return a, nil
}

// withLength returns the first word of an item in Go's spelling of it, with
// the length that the dump leaves out for a single host.
func withLength(item string) string {
	word, _, _ := strings.Cut(item, " ")
	if a, err := netip.ParseAddr(word); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	if p, err := netip.ParsePrefix(word); err == nil {
		return p.String()
	}
	return word
}

// crashMessage is a part of messages about a text that makes keepalived read memory that
// is not its own, endlessMessages are parts of those about a text with which it may run
// for hours.
const crashMessage = "may crash here"

var endlessMessages = []string{"included more than", "macros and includes add", "without end", "more than 1000 deep"}

// ourAnswer brings our reading into the form of keepalived's. It also returns
// the interfaces that the file names.
func ourAnswer(path, version string) (answer, []string, error) {
	var (
		mu    sync.Mutex
		names []string
	)
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{
		ConfigID: configID,
		Version:  version,
		Interfaces: func(name string) (int, bool) {
			mu.Lock()
			defer mu.Unlock()
			if name != "lo" && !slices.Contains(names, name) {
				names = append(names, name)
			}
			return 1500, true
		},
	})
	if err != nil {
		return answer{}, nil, err
	}
	a := answer{Accepted: !c.Refused, Sum: c.Sum}
	for _, m := range c.Refusals {
		a.Log += fmt.Sprintf("%s:%d: %s\n", m.File, m.Line, m.Message)
	}
	for _, m := range slices.Concat(c.Refusals, c.Warnings) {
		a.Endless = a.Endless || slices.ContainsFunc(endlessMessages, func(text string) bool { return strings.Contains(m.Message, text) })
		a.Undefined = a.Undefined || a.Endless || strings.Contains(m.Message, crashMessage)
	}
	if c.Refused {
		return a, names, nil
	}
	a.Instances = seenIn(c)
	for _, g := range c.Groups {
		a.Groups = append(a.Groups, seenGroup{g.Name, g.Members})
	}
	return a, names, nil
}

// seenIn brings our instances into the form of the data dump's.
func seenIn(c *keepalivedconf.Config) []seen {
	var all []seen
	for _, i := range c.Instances {
		s := seen{
			Name: i.Name, Interface: i.Interface, VRID: i.VRID, Version: i.Version,
			Priority: i.Priority, Interval: i.AdvertInterval, Preempt: !i.NoPreempt,
		}
		for _, p := range i.Peers {
			s.Peers = append(s.Peers, p.String()+"/"+strconv.Itoa(p.BitLen()))
		}
		for _, ip := range i.Addresses {
			s.Addresses = append(s.Addresses, ip.Prefix.String())
		}
		for _, ip := range i.Excluded {
			s.Excluded = append(s.Excluded, ip.Prefix.String())
		}
		if i.VMAC != "" {
			s.Interface = i.VMAC
		}
		all = append(all, s)
	}
	return all
}

package keepalivedconf

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"berth/vrrp"
)

// Options says in which surroundings a file is to be read.
type Options struct {
	// ConfigID is the word that @id lines are compared with: what keepalived
	// gets with -i. Empty means its default, the host name up to the first
	// dot.
	ConfigID string
	// Version is the keepalived version whose reading is wanted, for example
	// "2.2.7". Empty means Newest.
	Version string
	// Interfaces tells what the machine has: the MTU of an interface, and
	// whether it exists. nil means that every interface that a file names
	// exists with an MTU of 1500.
	Interfaces func(name string) (mtu int, ok bool)
}

// Config is what keepalived would have in memory after reading a file.
type Config struct {
	// Instances has the VRRP instances in the order of the file. Where
	// Refused is set it has what could be read all the same.
	Instances []Instance
	// Groups has the sync groups that have members.
	Groups []Group
	// FIFOs has the paths of notify_fifo and vrrp_notify_fifo, into which the
	// VRRP process writes events.
	FIFOs []string
	// Warnings is what the file's author ought to know.
	Warnings []Message
	// Refused tells that keepalived would not run this file; Refusals says
	// why.
	Refused  bool
	Refusals []Message
	// Unclosed tells where the file ends although a block is still open. Skipped
	// has the lines of an address block that keepalived skips because they begin
	// with no address, and those that look like a place that a template was to
	// fill. FailedIncludes has the includes of which a file does not exist or
	// cannot be read, and the wildcards that match nothing. keepalived accepts all
	// of these, and each is among Warnings or Refusals too; but a file in the
	// middle of being written looks like that.
	Unclosed, Skipped, FailedIncludes []Message
	// Sum identifies the text that keepalived's parent process leaves for its
	// VRRP process: two readings with one Sum read the same lines, but for
	// comments and empty lines. See ParseConsolidated.
	Sum [sha256.Size]byte
	// Files has every file that was read. Dirs has every directory in which a
	// wildcard looked for files, or which lacks a file that is to be included.
	// A change to one of them, or a new file in one of Dirs, may change the
	// result.
	Files []string
	Dirs  []string
}

// Instance returns the instance of that name.
func (c *Config) Instance(name string) (*Instance, bool) {
	for i := range c.Instances {
		if c.Instances[i].Name == name {
			return &c.Instances[i], true
		}
	}
	return nil, false
}

// Message says what is noteworthy about a place in a file, and the cure. Line
// is 0 where the whole file is meant.
type Message struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// Group is a vrrp_sync_group.
type Group struct {
	Name    string
	Members []string // those that exist and are in no earlier group
	Notify  bool     // the group has a notify script of its own
	File    string
	Line    int
}

// Family is the address family of an instance.
type Family uint8

// The families. An instance without any address counts as IPv4.
const (
	FamilyUnknown Family = 0
	IPv4          Family = 4
	IPv6          Family = 6
)

// Instance is a vrrp_instance as keepalived completes it.
type Instance struct {
	Name      string
	Interface string // empty if none was given; it may not exist
	VRID      int    // 0 if none was given, or none that is valid
	Family    Family
	Version   int    // VRRP version 2 or 3
	State     string // MASTER or BACKUP: the wanted initial state
	Priority  int    // base priority, 1 to 255
	NoPreempt bool
	// AdvertInterval is rounded as the VRRP version demands.
	AdvertInterval time.Duration
	Unicast        bool // has unicast peers
	Peers          []netip.Addr
	VMAC           string // name given with use_vmac, or keepalived's default for it
	Notify         bool   // has a notify script of its own
	// Addresses is virtual_ipaddress, without what did not fit the packet;
	// Excluded is virtual_ipaddress_excluded with it.
	Addresses []vrrp.FloatingIP
	Excluded  []vrrp.FloatingIP
	File      string
	Line      int
}

// Managed returns the addresses that follow the MASTER of the instance: those
// of both lists, each address once, in order.
func (i *Instance) Managed() []vrrp.FloatingIP {
	all := make([]vrrp.FloatingIP, 0, len(i.Addresses)+len(i.Excluded))
	seen := make(map[netip.Addr]bool, cap(all))
	for _, list := range [][]vrrp.FloatingIP{i.Addresses, i.Excluded} {
		for _, ip := range list {
			if a := ip.Addr(); !seen[a] {
				seen[a] = true
				all = append(all, ip)
			}
		}
	}
	return all
}

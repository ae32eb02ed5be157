package keepalivedconf

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"berth/vrrp"
)

// Options is the environment in which a file is read.
type Options struct {
	// ConfigID is the word that @id lines are compared with: the value of
	// keepalived's option -i. Empty means its default, the host name up to the
	// first dot.
	ConfigID string
	// Version is the keepalived version whose behaviour counts, for example "2.2.7".
	// Empty means Newest.
	Version string
	// Interfaces returns the MTU of an interface of the machine, in bytes, and
	// whether it exists. nil means that every interface that a file names exists
	// with an MTU of 1500.
	Interfaces func(name string) (mtu int, ok bool)
}

// Config is the configuration that keepalived would have in memory after it read a
// file.
type Config struct {
	// Instances has the VRRP instances in the order of the file. Where Refused is
	// set it has the instances that could be read all the same.
	Instances []Instance
	// Groups has the sync groups that have members.
	Groups []Group
	// FIFOs has the paths of notify_fifo and vrrp_notify_fifo, into which the
	// VRRP process writes events.
	FIFOs []string
	// Warnings has everything in the file that its author should correct and that
	// keepalived accepts.
	Warnings []Message
	// Refused reports that keepalived would not run with this file.
	Refused bool
	// Refusals has the reasons for Refused.
	Refusals []Message
	// Unclosed has the places where the file ends although a block is still open.
	// Skipped has the lines of an address block that keepalived skips because they
	// do not begin with an address, and the lines that look like a place of a
	// template that was not filled. FailedIncludes has the includes of a file that
	// does not exist or cannot be read, and the wildcards that match nothing.
	// keepalived accepts all of these, and each is among Warnings or Refusals too;
	// but a file that is being written looks like that.
	Unclosed, Skipped, FailedIncludes []Message
	// Sum identifies the text that keepalived's parent process leaves for its
	// VRRP process: two readings with one Sum read the same lines, but for
	// comments and empty lines. See ParseConsolidated.
	Sum [sha256.Size]byte
	// Files has every file that was read. A change to one of them may change the
	// result.
	Files []string
	// Dirs has every directory that was searched for a wildcard, or that lacks an
	// included file. A new file in one of them may change the result.
	Dirs []string
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

// Message is a warning or a refusal about a place in a file.
type Message struct {
	File    string `json:"file"`    // path, as included
	Line    int    `json:"line"`    // counted from 1; 0 where the whole file is meant
	Message string `json:"message"` // the problem and its cure, one line
}

// Group is a vrrp_sync_group.
type Group struct {
	Name    string   // unique among groups
	Members []string // names of instances that exist and are in no earlier group
	Notify  bool     // the group has a notify script of its own
	File    string   // path of the file in which it begins
	Line    int      // of its first line, counted from 1
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
	Name      string // unique among instances
	Interface string // empty if the file names none that can be used; it may not exist
	VRID      int    // virtual_router_id, 1 to 255; 0 if the file has no valid one
	Family    Family // of Addresses; Excluded may have both
	Version   int    // VRRP version 2 or 3
	State     string // MASTER or BACKUP: the wanted initial state
	Priority  int    // base priority, 1 to 255
	NoPreempt bool   // nopreempt, where it has an effect
	// AdvertInterval is rounded as the VRRP version demands.
	AdvertInterval time.Duration
	Unicast        bool         // has unicast peers
	Peers          []netip.Addr // unicast_peer, in the order of the file
	VMAC           string       // interface name given with use_vmac, or keepalived's default for it
	Notify         bool         // has a notify script of its own
	// Addresses has the virtual_ipaddress that fit the packet.
	Addresses []vrrp.FloatingIP
	// Excluded has the virtual_ipaddress_excluded, and the virtual_ipaddress that
	// do not fit the packet.
	Excluded []vrrp.FloatingIP
	File     string // path of the file in which it begins
	Line     int    // of its first line, counted from 1
}

// Managed returns the addresses that follow the MASTER of the instance: the
// addresses of both lists, each once, in order.
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

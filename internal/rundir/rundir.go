// Package rundir has the names of all files below the run directory. Each file is a
// help for the next process or for people; berth acts without any of them. All but the
// locks are replaced whole, through a file .new-* beside them, and docs/files.md has the
// same table.
//
//   - status/INSTANCE.json (0644): what is known now about the instance, for berth status; in an election the name ends with a digest of prefix and member. Written by the process that acts for the instance. Without it berth status shows nothing of the instance until its next change, and a notify script finds no instances of a sync group that keepalived.conf has lost.
//   - lock/INSTANCE.lock (0600): the lock of the instance. Written by the process that acts for the instance, in FIFO and notify mode. Without it two processes can act for one instance, until each finds the other by its socket.
//   - lock/INSTANCE.lock.owner (0600): the newest event of the instance and the process that acts on it. Written by that process. Without it an older event that comes late can undo the newest.
//   - names.json (0644): the last good addresses of host names. Written by every process that connects to a provider or to etcd. Without it a connection waits for the name servers.
//   - peers-GROUP.json (0600): the servers of the group of heartbeat.security-group, as they were read last. Written by berth watch. Without it a restart knows no peers, and is not MASTER, until the provider has told the group.
//   - keepalived-version (0644): the version of the installed keepalived. Written by the process that asked keepalived for it. Without it the next process asks.
//   - keepalived.conf.json (0600): the last good reading of keepalived.conf. Written by the process that read it, in FIFO and notify mode. Without it an instance has no addresses while keepalived.conf cannot be read.
//   - ids-PROVIDER-DIGEST.json (0600): the ids of this server and of the provider's objects, by the account's endpoint. Written by every process that points addresses. Without it the first claim looks them up.
//   - identity (0644): the identity of this host among the members of etcd. Written by the first process with fencing or an election. Without it a new one is made, and what this host left in etcd counts as another host's until its lease has ended.
//   - etcd-MEMBER.json (0644): the lease of the member, and when it ends. Written by the process that is the member. Without it a restart waits until the former lease has ended.
//   - etcd-MEMBER.lock (0600): the lock of the member. Written by the process that is the member. Without it two processes can be one member.
//   - etcd-MEMBER.history (0600): what was seen of etcd's history. Written by the process that is the member. Without it a restart does not notice that etcd was restored from a backup.
//   - etcd-MEMBER.addresses (0600): the addresses that an election has bound. Written by berth elect. Without it leftovers of an earlier run on an interface that is not configured any more stay until their lifetime in the kernel ends.
//   - patroni-URL.lock (0600): the lock of the process that follows a Patroni. Written by berth elect where Patroni decides. Without it two processes can have the same addresses.
//   - patroni-URL.addresses (0600): the addresses that it has bound. Written by that process. Without it leftovers of an earlier run on an interface that is not configured any more stay until their lifetime in the kernel ends.
//   - etcd-MEMBER.pool (0600): the last list of the pool, and whether the member is drained. Written by berth elect. Without it a restart while etcd has lost the list serves no address of the pool until the list is in etcd again.
//   - etcd-MEMBER.added (0600): the addresses that were added to the member at run time. Written by berth elect. Without it a restart while etcd has lost them serves none of them, and one that acts without etcd does not know them.
//
// A mode of 0644 is for every user to read; such a file has no secret. berth believes a
// file only if the user who runs berth wrote it, except status/; the commands status,
// takeover and release also read etcd-MEMBER.json and identity of another user. lock is a
// directory of that user alone.
package rundir

import (
	"fmt"
	"path/filepath"
)

// Dir is the path of a run directory.
type Dir string

func (d Dir) file(name string) string { return filepath.Join(string(d), name) }

// Status returns the directory of the status files.
func (d Dir) Status() string { return d.file("status") }

// LockFileTemplate returns the path of the lock of an instance, with %s in place of
// the name. A % in the path of the run directory stays as it is.
func (d Dir) LockFileTemplate() string { return filepath.Join(string(d), "lock", "%s.lock") }

// Names returns the file of the addresses of host names.
func (d Dir) Names() string { return d.file("names.json") }

// Peers is the file of the servers of a group; group is escaped.
func (d Dir) Peers(group string) string { return d.file("peers-" + group + ".json") }

// KeepalivedVersion returns the file of the version of the installed keepalived.
func (d Dir) KeepalivedVersion() string { return d.file("keepalived-version") }

// KeepalivedConf returns the file of the last good reading of keepalived.conf.
func (d Dir) KeepalivedConf() string { return d.file("keepalived.conf.json") }

// ProviderIDs returns the file of the ids of a provider's objects. digest tells
// accounts and hosts apart.
func (d Dir) ProviderIDs(provider string, digest []byte) string {
	return d.file(fmt.Sprintf("ids-%s-%x.json", provider, digest))
}

// Identity returns the file of the identity of this host among the members of etcd.
func (d Dir) Identity() string { return d.file("identity") }

// Lease returns the file of the lease of a member. member is prefix and name as one
// part of a file name.
func (d Dir) Lease(member string) string { return d.member(member, ".json") }

// MemberLock returns the lock file of a member.
func (d Dir) MemberLock(member string) string { return d.member(member, ".lock") }

// History returns the file of what a member has seen of etcd's history.
func (d Dir) History(member string) string { return d.member(member, ".history") }

// Bound returns the file of the addresses that a member has bound.
func (d Dir) Bound(member string) string { return d.member(member, ".addresses") }

// FollowerLock returns the lock file of the process that follows a Patroni. url is that of
// Patroni as one part of a file name.
func (d Dir) FollowerLock(url string) string { return d.file("patroni-" + url + ".lock") }

// FollowerBound returns the file of the addresses that that process has bound.
func (d Dir) FollowerBound(url string) string { return d.file("patroni-" + url + ".addresses") }

// Pool returns the file of the last list of the pool that a member has seen.
func (d Dir) Pool(member string) string { return d.member(member, ".pool") }

// Added returns the file of the addresses that were added to a member at run time.
func (d Dir) Added(member string) string { return d.member(member, ".added") }

func (d Dir) member(member, ending string) string { return d.file("etcd-" + member + ending) }

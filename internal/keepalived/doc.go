// Package keepalived knows the keepalived that runs on this host: its processes and
// their death, whether it has the FIFO open that berth reads, its version, and what it
// answers when it is asked for the states and addresses of its instances.
//
// keepalived's parent process and its VRRP process are watched by pidfd, so that the
// kernel wakes berth, and through /proc only where a pidfd is refused. berth polls
// only for birth, once a second: a new pid in the pid file, or a new VRRP process after
// a crash.
//
// Dead is only what was watched and seen to end. A pid file that is stale, that was
// written in another PID namespace, or whose pid belongs to another program says
// nothing: keepalived may run where berth cannot see it.
//
// The state dump is what keepalived writes on the signal that keepalived(8) calls JSON.
// Which addresses follow from keepalived.conf is decided by internal/reading.
package keepalived

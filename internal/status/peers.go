package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"berth/vrrp"
)

// Watching is the mode of a process to which its peers tell by heartbeats who is MASTER.
const Watching = "watch"

// Peer is what is known about another host that sends heartbeats.
type Peer struct {
	Peer     string    `json:"peer"`    // for people
	Address  string    `json:"address"` // and port, to which this host sends
	Alive    bool      `json:"alive"`
	Priority int       `json:"priority,omitempty"` // as the newest heartbeat told it; the lowest is MASTER
	ID       string    `json:"id,omitempty"`
	Heard    time.Time `json:"last_heard,omitzero"` // zero: never
}

// Peers puts on the board what is known about the peers of an instance. It is called by
// the part that watches the heartbeats, also where nothing but times has changed.
func (b *Board) Peers(instance string, peers []Peer) {
	b.changeReason(instance, func(f *facts) bool {
		former := f.Instance.Peers
		f.Instance.Peers = peers
		return slices.EqualFunc(former, peers, func(p, q Peer) bool {
			p.Heard, q.Heard = time.Time{}, time.Time{}
			return p == q
		})
	})
}

// ranking is why heartbeats have not made this host MASTER.
func (in Instance) ranking() string {
	if in.Mode != Watching || in.State == vrrp.Master {
		return ""
	}
	return in.Reason
}

// peerTable writes the peers for people, below the instances: a line for each peer of each
// process, with the instances about which the peer tells the same. It writes nothing if
// there is none. A process tells now and then when it heard a peer; what it told is as old
// as its entry while it lives.
func peerTable(w io.Writer, all []Instance, now time.Time, alive func(Instance) bool) error {
	type line struct {
		pid int
		Peer
		instances []string
		told      time.Time
	}
	var lines []*line
	for _, in := range all {
		told := in.Updated
		if !alive(in) {
			told = now
		}
		for _, p := range in.Peers {
			i := slices.IndexFunc(lines, func(l *line) bool {
				return l.pid == in.PID && l.Address == p.Address && l.Alive == p.Alive && l.Priority == p.Priority && l.ID == p.ID
			})
			if i < 0 {
				i, lines = len(lines), append(lines, &line{pid: in.PID, Peer: p, told: told})
			}
			if p.Heard.After(lines[i].Heard) {
				lines[i].Heard, lines[i].told = p.Heard, told
			}
			lines[i].instances = append(lines[i].instances, in.Instance)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nPEER\tADDRESS\tALIVE\tPRIORITY\tLAST HEARD\tID\tINSTANCES")
	for _, l := range lines {
		alive, priority, heard := "no", "-", "never"
		if l.Alive {
			alive = "yes"
		}
		if !l.Heard.IsZero() {
			priority, heard = fmt.Sprint(l.Priority), ago(l.Heard, l.told)
		}
		names, more := l.instances, ""
		if n := len(names) - maxNames; n > 0 {
			names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Peer.Peer, l.Address, alive, priority, heard, dash(l.ID), strings.Join(names, ", ")+more)
	}
	return tw.Flush()
}

// Watcher returns the pid of a process of this host that sends heartbeats, 0 if none is
// known. gone reports whether a process has ended.
func Watcher(runDirectory string, gone func(Instance) bool) int {
	all, _ := Read(runDirectory) // what cannot be read is not known
	for _, in := range all {
		if in.Mode == Watching && !gone(in) {
			return in.PID
		}
	}
	return 0
}

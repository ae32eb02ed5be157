package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"berth/election"
)

// Overview is a pool as etcd has it, for people and programs.
type Overview struct {
	Prefix    string        `json:"prefix"`
	Addresses []AddressView `json:"addresses"`
	Members   []MemberView  `json:"members"`
	Strays    []StrayView   `json:"without_effect"`
	Note      string        `json:"note,omitempty"`
}

// AddressView is an address of the list.
type AddressView struct {
	Address  string `json:"address"`            // with its prefix length
	Holder   string `json:"holder,omitempty"`   // the member that has it
	Assigned string `json:"assigned,omitempty"` // the member that is to have it
	// Waiting says that the member to which it is assigned does not have it yet.
	Waiting bool `json:"waiting"`
}

// MemberView is a member that takes part, is drained, or still has addresses.
type MemberView struct {
	Member   string `json:"member"`
	Weight   int    `json:"weight,omitempty"` // 0 while the member does not take part
	State    string `json:"state"`            // able, drained, or not able
	Held     int    `json:"held"`
	Assigned int    `json:"assigned"`
}

// StrayView is a key without effect.
type StrayView struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// The states of a member.
const (
	memberAble    = "able"
	memberDrained = "drained"
	memberAbsent  = "not able"
)

// List returns the addresses and the members, with the assignment that the members
// compute.
func (c *Client) List(ctx context.Context) (*Overview, error) {
	all, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	return OverviewOf(c.Prefix, all.PoolKeys), nil
}

// OverviewOf returns the overview of a pool whose keys below the prefix are these.
func OverviewOf(prefix string, all election.PoolKeys) *Overview {
	var b book
	b.follow(all.IPs, 0)
	s := assess("", all, &b)
	o := &Overview{Prefix: prefix, Addresses: []AddressView{}, Members: []MemberView{}, Strays: []StrayView{}}
	held, assigned := map[string]int{}, map[string]int{}
	for _, m := range s.holder {
		held[m]++
	}
	for _, ip := range s.list {
		a := AddressView{Address: ip.String(), Holder: s.holder[ip.Addr()], Assigned: s.assigned[ip.Addr()]}
		a.Waiting = a.Assigned != "" && a.Holder != a.Assigned
		assigned[a.Assigned]++
		o.Addresses = append(o.Addresses, a)
	}
	weights := map[string]int{}
	for _, m := range s.members {
		weights[m.Member] = m.Weight
	}
	names := slices.Concat(slices.Collect(maps.Keys(weights)), slices.Collect(maps.Keys(all.Drained)), slices.Collect(maps.Keys(held)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		m := MemberView{Member: name, Weight: weights[name], Held: held[name], Assigned: assigned[name], State: memberAbsent}
		switch {
		case all.Drained[name]:
			m.State = memberDrained
		case m.Weight > 0:
			m.State = memberAble
		}
		o.Members = append(o.Members, m)
	}
	for _, st := range s.strays {
		o.Strays = append(o.Strays, StrayView{st.key, st.reason})
	}
	o.Note = lostNote(all, s)
	return o
}

// lostNote returns a note if etcd has lost the list, as the members say, else "".
func lostNote(all election.PoolKeys, s situation) string {
	for _, n := range all.Nodes {
		if v, err := parseNode(n.Value); err == nil && v.List != digest(nil) && len(all.IPs) == 0 {
			return fmt.Sprintf("etcd has lost the list with its history; members serve the last list (%d addresses) until addresses are added again", len(s.holder))
		}
	}
	return ""
}

// holderOf returns the member of the value of a key below held/.
func holderOf(value []byte) string {
	var v struct {
		Member string `json:"member"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return ""
	}
	return v.Member
}

// toldBy returns what a member has told in the value of its key below nodes/.
func toldBy(value []byte) []byte {
	var v struct {
		Node json.RawMessage `json:"node"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil
	}
	return v.Node
}

// JSON writes the overview for programs.
func (o *Overview) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(o)
}

// Table writes the overview for people.
func (o *Overview) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ADDRESS\tHOLDER\tASSIGNED\tNOTE")
	for _, a := range o.Addresses {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", shorten(a.Address), cmp.Or(a.Holder, "-"), cmp.Or(a.Assigned, "-"), a.Note())
	}
	fmt.Fprintln(tw, "\nMEMBER\tWEIGHT\tADDRESSES\tSTATE")
	for _, m := range o.Members {
		weight := "-"
		if m.Weight > 0 {
			weight = fmt.Sprint(m.Weight)
		}
		fmt.Fprintf(tw, "%s\t%s\t%d of %d assigned\t%s\n", m.Member, weight, m.Held, m.Assigned, m.State)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, st := range o.Strays {
		fmt.Fprintf(w, "\n%s%s has no effect: %s\n", o.Prefix, st.Key, st.Reason)
	}
	if o.Note != "" {
		fmt.Fprintf(w, "\n%s\n", o.Note)
	}
	return nil
}

// shorten leaves out the length of a single address.
func shorten(address string) string {
	if p, err := netip.ParsePrefix(address); err == nil && p.IsSingleIP() {
		return strings.TrimSuffix(address, fmt.Sprintf("/%d", p.Bits()))
	}
	return address
}

// Note says why no member has the address, or not the one to which it is assigned; "-" for
// neither.
func (a AddressView) Note() string {
	switch {
	case a.Assigned == "":
		return "no member can have it"
	case a.Waiting && a.Holder != "":
		return "waiting until " + a.Holder + " gives it up"
	case a.Waiting:
		return "waiting for " + a.Assigned
	}
	return "-"
}

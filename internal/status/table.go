package status

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"berth/vrrp"
)

// Stale returns an error that names the instances that are MASTER on this host although
// the process that acted for them has ended, nil if there is none. alive reports
// whether the process that wrote an entry is not seen to have ended.
func Stale(all []Instance, alive func(Instance) bool) error {
	var errs []error
	for _, in := range all {
		if in.State == vrrp.Master && !alive(in) {
			errs = append(errs, fmt.Errorf("STALE: %s is MASTER here, process %d is gone and no process acts for it; start berth again", in.Instance, in.PID))
		}
	}
	return errors.Join(errs...)
}

// Table writes the entries for people, a line for each address. alive is as for Stale.
func Table(w io.Writer, all []Instance, now time.Time, alive func(Instance) bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "INSTANCE\tSTATE\tSINCE\tADDRESS\tOWNER\tLAST CALL\tLEASE\tNOTE")
	for i, in := range all {
		name := in.Instance
		// One name in two elections of this host.
		twice := func(j int) bool { return j >= 0 && j < len(all) && all[j].Instance == in.Instance }
		if in.Prefix != "" && (twice(i-1) || twice(i+1)) {
			name += " (" + in.Prefix + " as " + in.Member + ")"
		}
		first := in.urgent(now, alive)
		last := cmp.Or(in.astray(), in.doubled(), in.contested(), in.Configuration, in.correction(), in.ranking())
		row := func(state, address, owner string, call time.Time, note string) {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, state, ago(in.Since, now), address, dash(owner), ago(call, now), in.lease(now), dash(in.withDeaf(note)))
		}
		if len(in.Addresses) == 0 {
			row(in.State.String(), "-", in.Owner, time.Time{}, cmp.Or(first, last))
		}
		for _, a := range in.Addresses {
			state, note := in.address(a)
			row(state, a.Address, a.holder(), a.LastCall, cmp.Or(first, a.LastError, note, last))
		}
	}
	return errors.Join(tw.Flush(), peerTable(w, all, now, alive), healthTable(w, all, now))
}

// urgent is the note that stands before all that is known of an address.
func (in Instance) urgent(now time.Time, alive func(Instance) bool) string {
	switch {
	case in.State == vrrp.Master && !alive(in):
		return fmt.Sprintf("STALE: process %d is gone, no process acts for this instance", in.PID)
	case in.State == vrrp.Unknown:
		return in.Reason
	case in.Error == "" && in.State == vrrp.Master && in.Lease != "":
		return in.leaseNote(now)
	}
	return in.Error
}

// address returns the state of an address, and the note that this state needs.
func (in Instance) address(a Address) (state, note string) {
	switch {
	case a.Suspended:
		return "suspended", "the address has gone from this host without an event"
	case a.Contested:
		return "contested", "another host also claims the address; thefts: " + strconv.Itoa(a.Thefts)
	case slices.Contains(in.Contested, a.Address):
		return "contested", ""
	}
	return in.State.String(), ""
}

// holder is the host that has the address.
func (a Address) holder() string {
	if a.Owner == Here {
		return "this host"
	}
	return a.Owner
}

// astray names the addresses that this host has although another host owns them.
func (in Instance) astray() string {
	if len(in.Astray) == 0 {
		return ""
	}
	return "this host has addresses that another host owns: " + strings.Join(in.Astray, ", ")
}

// contested names the addresses in dispute on this host or its network.
func (in Instance) contested() string {
	if len(in.Contested) == 0 {
		return ""
	}
	return "another host also claims, or another program of this host changes: " + strings.Join(in.Contested, ", ")
}

// correction tells what the machine showed and no event had told. It comes last: it
// can be days old.
func (in Instance) correction() string {
	if in.Correction == "" {
		return ""
	}
	times := strconv.Itoa(in.Corrections) + " times"
	if in.Corrections == 1 {
		times = "once"
	}
	return "corrected " + times + " from what the host shows: " + in.Correction
}

// withDeaf puts before a note that no event of keepalived can arrive.
func (in Instance) withDeaf(note string) string {
	if in.Deaf == "" {
		return note
	}
	return strings.TrimSuffix("deaf: "+in.Deaf+"; "+note, "; ")
}

// doubled tells that two hosts take part in the election under one name.
func (in Instance) doubled() string {
	if !in.Doubled {
		return ""
	}
	return "another host takes part under the name of this one; give each an etcd.member of its own"
}

// leaseNote tells that an owner acts although its lease is not known to live.
func (in Instance) leaseNote(now time.Time) string {
	switch {
	case !in.Unacknowledged.IsZero():
		return fmt.Sprintf("etcd has not acknowledged the lease since %s; the owner goes on, as on-etcd-loss says", clock(in.Unacknowledged))
	case !in.LeaseEnd.IsZero() && !in.LeaseEnd.After(now):
		return fmt.Sprintf("the lease ended at %s, and no other is known", clock(in.LeaseEnd))
	}
	return ""
}

// lease tells how long the lease lasts unless it is renewed.
func (in Instance) lease(now time.Time) string {
	if in.State == vrrp.Master && !in.Unacknowledged.IsZero() {
		return "unknown"
	}
	if in.LeaseEnd.IsZero() || in.State != vrrp.Master {
		return "-"
	}
	left := in.LeaseEnd.Sub(now).Round(100 * time.Millisecond)
	if left <= 0 {
		return "ended"
	}
	return left.String() + " left"
}

func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// ago prints a moment as people ask for it: how long ago.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}

func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}

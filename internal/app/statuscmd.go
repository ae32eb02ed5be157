package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"berth/internal/pidfd"
	"berth/internal/status"
	"berth/refresher"
	"berth/vrrp"
)

// Status prints what is managed now on this host, from the files in the run
// directory. The error is for exit status 1 if and only if an instance is MASTER
// here and nobody acts for it; what cannot be told is a *UsageError.
func (o *Options) Status(runDirectory, instance string, asJSON bool) error {
	all, err := status.Read(runDirectory)
	wanted := []status.Instance{}
	for _, in := range all {
		if instance == "" || in.Instance == instance {
			wanted = append(wanted, in)
		}
	}
	if instance != "" && len(wanted) == 0 && err == nil {
		return &UsageError{fmt.Errorf("no status of instance %q below %s; no berth has acted for it since boot", instance, runDirectory)}
	}
	unattended := stale(wanted, alive)
	if err != nil && unattended == nil {
		err = &UsageError{err}
	}
	err = errors.Join(err, unattended)
	if asJSON {
		enc := json.NewEncoder(o.Stdout)
		enc.SetIndent("", "  ")
		return errors.Join(enc.Encode(wanted), err)
	}
	return errors.Join(statusTable(o.Stdout, wanted, time.Now(), alive), err)
}

// alive reports whether the process that wrote an entry is not seen to have ended.
func alive(in status.Instance) bool { return !pidfd.Gone(in.PID, in.Start) }

// stale returns an error that names the instances that are MASTER here although
// the process that acted for them is gone.
func stale(all []status.Instance, alive func(status.Instance) bool) error {
	var errs []error
	for _, in := range all {
		if in.State == vrrp.Master && !alive(in) {
			errs = append(errs, fmt.Errorf("STALE: %s is MASTER here, process %d is gone and nobody acts for it; start berth again", in.Instance, in.PID))
		}
	}
	return errors.Join(errs...)
}

func statusTable(w io.Writer, all []status.Instance, now time.Time, alive func(status.Instance) bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "INSTANCE\tSTATE\tSINCE\tADDRESS\tOWNER\tLAST CALL\tLEASE\tNOTE")
	for i, in := range all {
		// One name in two elections of this host.
		twice := func(j int) bool { return j >= 0 && j < len(all) && all[j].Instance == in.Instance }
		if in.Prefix != "" && (twice(i-1) || twice(i+1)) {
			in.Instance += " (" + in.Prefix + " as " + in.Member + ")"
		}
		note := in.Error
		if in.State == vrrp.Master && !alive(in) {
			note = fmt.Sprintf("STALE: process %d is gone, nobody acts for this instance", in.PID)
		} else if in.State == vrrp.Unknown {
			note = in.Reason
		}
		if note == "" && in.State == vrrp.Master && in.Lease != "" {
			note = leaseNote(in, now)
		}
		if len(in.Addresses) == 0 {
			note = cmp.Or(note, stray(in), doubled(in), fight(in), in.Configuration, correction(in))
			fmt.Fprintf(tw, "%s\t%s\t%s\t-\t%s\t-\t%s\t%s\n", in.Instance, in.State, since(in.Since, now), dash(in.Owner), lease(in, now), dash(withDeaf(in, note)))
		}
		for _, a := range in.Addresses {
			line := cmp.Or(note, a.LastError)
			owner := a.Owner
			if owner == refresher.Here {
				owner = "this host"
			}
			state := in.State.String()
			switch {
			case a.Suspended:
				state = "suspended"
				line = cmp.Or(line, "the address has gone from this host without an event")
			case a.Contested:
				state = "contested"
				line = cmp.Or(line, "another host takes the address away again and again; thefts: "+strconv.Itoa(a.Thefts))
			case slices.Contains(in.Contested, a.Address):
				state = "contested"
			}
			line = cmp.Or(line, stray(in), doubled(in), fight(in), in.Configuration, correction(in))
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", in.Instance, state, since(in.Since, now), a.Address, dash(owner), since(a.LastCall, now), lease(in, now), dash(withDeaf(in, line)))
		}
	}
	return tw.Flush()
}

// stray names the addresses that two machines answer for.
func stray(in status.Instance) string {
	if len(in.Astray) == 0 {
		return ""
	}
	return "this host does not own what it answers for: " + strings.Join(in.Astray, ", ")
}

// fight names the addresses over which there is a fight on this host or its network.
func fight(in status.Instance) string {
	if len(in.Contested) == 0 {
		return ""
	}
	return "somebody changes again and again: " + strings.Join(in.Contested, ", ")
}

// correction tells what the machine showed and no event had told. It comes last: it
// can be days old.
func correction(in status.Instance) string {
	if in.Correction == "" {
		return ""
	}
	times := strconv.Itoa(in.Corrections) + " times"
	if in.Corrections == 1 {
		times = "once"
	}
	return "corrected " + times + " from the machine: " + in.Correction
}

// withDeaf puts before a note that no event of keepalived can arrive.
func withDeaf(in status.Instance, note string) string {
	if in.Deaf == "" {
		return note
	}
	return strings.TrimSuffix("deaf: "+in.Deaf+"; "+note, "; ")
}

// doubled tells that a name is that of two hosts.
func doubled(in status.Instance) string {
	if !in.Doubled {
		return ""
	}
	return "another host takes part under the name of this one; give each an etcd.member of its own"
}

// leaseNote tells that an owner acts although its lease is not known to live.
func leaseNote(in status.Instance, now time.Time) string {
	switch {
	case !in.Unacknowledged.IsZero():
		return fmt.Sprintf("etcd has not acknowledged the lease since %s; the owner goes on, as on-etcd-loss says", clock(in.Unacknowledged))
	case !in.LeaseEnd.IsZero() && !in.LeaseEnd.After(now):
		return fmt.Sprintf("the lease ended at %s, and no other is known", clock(in.LeaseEnd))
	}
	return ""
}

func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// lease tells how long the lease lasts unless it is renewed.
func lease(in status.Instance, now time.Time) string {
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

// since prints a moment as people ask for it: how long ago.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}

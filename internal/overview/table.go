package overview

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"berth/keepalivedconf"
)

// JSON writes the overview for programs.
func (o *Overview) JSON(w io.Writer) error {
	out := *o
	if out.Instances == nil {
		out.Instances = []Instance{}
	}
	if out.Warnings == nil {
		out.Warnings = []keepalivedconf.Message{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// Table writes the overview for people: a line for each address, and what is wrong with
// keepalived's configuration.
func (o *Overview) Table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "INSTANCE\tINTERFACE\tADDRESS\tFLOATING IP\tOWNER"+o.memberColumn("MEMBER"))
	for _, in := range o.Instances {
		row := func(address, object, owner string) {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s%s\n", in.Name, dash(in.Interface), address, object, owner, o.memberColumn(in.member()))
		}
		if len(in.Managed)+len(in.Immovable) == 0 {
			row("none", "-", "-")
		}
		for i, address := range in.Managed {
			object, owner := "-", "-"
			if i < len(in.FloatingIPs) {
				object, owner = dash(in.FloatingIPs[i].Object), in.FloatingIPs[i].Owner
			}
			row(address, object, owner)
		}
		for _, a := range in.Immovable {
			row(a.Address, "-", "never moved: "+a.Reason)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if v := o.Version; v != nil {
		fmt.Fprintln(w, v)
		for _, text := range v.Warnings {
			fmt.Fprintf(w, "warning: %s\n", text)
		}
	}
	for _, list := range []struct {
		what     string
		messages []keepalivedconf.Message
	}{{"warning", o.Warnings}, {"refused", o.Refusals}} {
		for _, m := range list.messages {
			if _, err := fmt.Fprintf(w, "%s: %s\n", list.what, Message(m)); err != nil {
				return err
			}
		}
	}
	return nil
}

// member is the member of etcd that owns the instance.
func (in *Instance) member() string {
	if in.Doubled {
		return in.Member + " (two hosts have this name)"
	}
	return dash(in.Member)
}

// memberColumn is a column of its own where etcd names the owner of an instance.
func (o *Overview) memberColumn(text string) string {
	for _, in := range o.Instances {
		if in.Member != "" {
			return "\t" + text
		}
	}
	return ""
}

func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}

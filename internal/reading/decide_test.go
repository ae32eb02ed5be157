package reading

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"berth/keepalivedconf"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

// have makes a reading of "a=1,2 b=3": instances with addresses of 192.0.2.0/24.
func have(t *testing.T, text string) *keepalivedconf.Config {
	t.Helper()
	if text == "" {
		return nil
	}
	c := &keepalivedconf.Config{}
	for _, word := range strings.Fields(text) {
		if text, ok := strings.CutPrefix(word, "!"); ok {
			c.Unclosed = append(c.Unclosed, keepalivedconf.Message{File: "k", Line: 1, Message: text})
			continue
		}
		name, list, ok := strings.Cut(word, "=")
		if !ok {
			continue // an empty reading
		}
		in := keepalivedconf.Instance{Name: name}
		for last := range strings.SplitSeq(list, ",") {
			if last != "" {
				in.Addresses = append(in.Addresses, vrrp.FloatingIP{Prefix: netip.MustParsePrefix("192.0.2." + last + "/32")})
			}
		}
		c.Instances = append(c.Instances, in)
		c.Groups = append(c.Groups, keepalivedconf.Group{Name: "G-" + name, Members: []string{name}})
	}
	return c
}

// shown is have's opposite.
func shown(c *keepalivedconf.Config) string {
	if c == nil {
		return ""
	}
	var words []string
	for i := range c.Instances {
		var list []string
		for _, ip := range c.Instances[i].Managed() {
			list = append(list, strings.TrimPrefix(ip.Addr().String(), "192.0.2."))
		}
		words = append(words, c.Instances[i].Name+"="+strings.Join(list, ","))
	}
	return strings.Join(words, " ")
}

func TestDecide(t *testing.T) {
	for _, row := range []struct {
		name                       string
		newest, runs, good, before string
		bound                      string // last parts of addresses; "?" where they cannot be read
		want                       string
		why                        string // ADDRESS:REASON, one for each difference
	}{
		{name: "nothing is known"},
		{name: "a first reading", newest: "a=1,2", want: "a=1,2"},
		{name: "a first reading that ends inside a block is acted on", newest: "a=1 !open", want: "a=1"},
		{name: "the file is gone", good: "a=1,2", before: "a=1,2", want: "a=1,2"},

		// It is not known what keepalived has loaded.
		{name: "half written, the rest of the instance stays", newest: "a=1 !open", good: "a=1,2,3", want: "a=1,2,3", why: "2:Doubtful 3:Doubtful"},
		{name: "half written, an instance that is missing stays", newest: "a=1 !open", good: "a=1 b=2,3", want: "a=1 b=2,3", why: "2:Doubtful 3:Doubtful"},
		{name: "half written, an address of two instances", newest: "a=1 !open", good: "a=1,2 b=2", want: "a=1,2 b=2", why: "2:Doubtful 2:Doubtful"},
		{name: "half written, it may add", newest: "a=1,4 c=5 !open", good: "a=1,2", want: "a=1,4,2 c=5", why: "2:Doubtful"},
		{name: "what the good reading had as well is not a sign", newest: "a=1 !open", good: "a=1,2 !open", want: "a=1"},
		{name: "emptied by a template", newest: "a=", good: "a=1,2", want: "a=1,2", why: "1:Doubtful 2:Doubtful"},
		{name: "an empty file", newest: "-", good: "a=1,2", want: "a=1,2", why: "1:Doubtful 2:Doubtful"},
		{name: "a good file drops an address that is gone from here", newest: "a=1", good: "a=1,2", bound: "1", want: "a=1"},
		{name: "a good file drops an address that is still here", newest: "a=1", good: "a=1,2", bound: "1,2", want: "a=1,2", why: "2:StillBound"},
		{name: "a good file drops an instance that is still here", newest: "a=1", good: "a=1 b=2", bound: "1,2", want: "a=1 b=2", why: "2:StillBound"},
		{name: "a good file drops an address, and the addresses of the host cannot be read", newest: "a=1", good: "a=1,2", bound: "?", want: "a=1"},
		{name: "a good file adds an address", newest: "a=1,2", good: "a=1", want: "a=1,2"},
		{name: "kept by the last decision and still here", newest: "a=1", good: "a=1", before: "a=1,2", bound: "2", want: "a=1,2", why: "2:StillBound"},
		{name: "kept by the last decision and gone", newest: "a=1", good: "a=1", before: "a=1,2", bound: "1", want: "a=1"},
		{name: "an instance is renamed", newest: "new=1,2", good: "old=1,2", bound: "1,2", want: "new=1,2"},
		{name: "an address moves to another instance", newest: "a=1 b=2,3", good: "a=1,3 b=2", bound: "1,2,3", want: "a=1 b=2,3"},

		// It is known what keepalived has loaded.
		{name: "a good file that keepalived has not loaded drops one", newest: "a=1", runs: "a=1,2", good: "a=1,2", want: "a=1,2", why: "2:NotLoaded"},
		{name: "a good file that keepalived has not loaded adds one", newest: "a=1,2", runs: "a=1", good: "a=1", want: "a=1", why: "2 waits:NotLoaded"},
		{name: "half written and not loaded", newest: "a=1 !open", runs: "a=1,2", good: "a=1,2", want: "a=1,2", why: "2:NotLoaded"},
		{name: "half written and loaded, complaints or not", newest: "a=1 !open", runs: "a=1 !open", good: "a=1,2", want: "a=1"},
		{name: "emptied and loaded", newest: "a=", runs: "a=", good: "a=1", want: "a="},
		{name: "the file is gone and keepalived runs on", runs: "a=1,2", good: "a=1", want: "a=1,2", why: "1:NotLoaded 2:NotLoaded"},
		{name: "loaded, but keepalived has not taken the address off yet", newest: "a=1", runs: "a=1", good: "a=1", before: "a=1,2", bound: "1,2", want: "a=1,2", why: "2:StillBound"},
		{name: "loaded, and keepalived has taken the address off", newest: "a=1", runs: "a=1", good: "a=1", before: "a=1,2", bound: "1", want: "a=1"},
		{name: "a berth that has just started on a file not loaded", newest: "a=1", runs: "a=1,2", want: "a=1,2", why: "2:NotLoaded"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := Facts{Newest: have(t, row.newest), Runs: have(t, row.runs), Good: have(t, row.good), Before: have(t, row.before)}
			if row.bound != "?" {
				f.Bound = func(a netip.Addr) bool {
					return strings.Contains(","+row.bound+",", ","+strings.TrimPrefix(a.String(), "192.0.2.")+",")
				}
			}
			d := Decide(f)
			names := map[Reason]string{NotLoaded: "NotLoaded", Doubtful: "Doubtful", StillBound: "StillBound"}
			var why []string
			for _, diff := range d.Differences {
				waits := " waits"
				if diff.InForce {
					waits = ""
				}
				why = append(why, fmt.Sprintf("%s%s:%s", strings.TrimPrefix(diff.Address.String(), "192.0.2."), waits, names[diff.Reason]))
			}
			if got := shown(d.Config); got != row.want || strings.Join(why, " ") != row.why {
				t.Errorf("in force %q because of %q, want %q because of %q", got, why, row.want, row.why)
			}
			if diff := cmp.Diff(have(t, row.newest), f.Newest, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("the decision changed a reading:\n%s", diff)
			}
		})
	}
}

func TestAGroupOfAHalfWrittenFileKeepsItsMembers(t *testing.T) {
	good, newest := have(t, "a=1 b=2"), have(t, "a=1 !open")
	good.Groups = []keepalivedconf.Group{{Name: "G", Members: []string{"a", "b"}}, {Name: "H", Members: []string{"b"}}}
	newest.Groups = []keepalivedconf.Group{{Name: "G", Members: []string{"a"}}}
	got := Decide(Facts{Newest: newest, Good: good}).Config.Groups
	if diff := cmp.Diff(good.Groups, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if len(newest.Groups[0].Members) != 1 {
		t.Error("the decision changed a reading")
	}
}

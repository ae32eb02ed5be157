package exoscale_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
)

const (
	web   = "5ec00000-0000-4000-8000-000000000001"
	empty = "5ec00000-0000-4000-8000-000000000002"
	net1  = "9e700000-0000-4000-8000-000000000001"
	net2  = "9e700000-0000-4000-8000-000000000002"

	listInstances = "GET /instance"
	readNet1      = "GET /private-network/" + net1
)

// grouped is an account with lb1, lb2 and lb4 in the security group web, lb4 stopped.
func grouped() cloudsim.Config {
	c := account()
	c.SecurityGroups = []cloudsim.SecurityGroup{{ID: web, Name: "web"}, {ID: empty, Name: "empty"}}
	for i := range c.Servers {
		c.Servers[i].Groups = []string{web}
	}
	c.Servers[0].Addresses = append(c.Servers[0].Addresses, netip.MustParseAddr("2001:db8:100::11"))
	c.Servers[3].State = "stopped"
	c.PrivateNetworks = []cloudsim.PrivateNetwork{
		{ID: net1, Zone: zone, Leases: []cloudsim.Lease{{Server: lb1, Address: netip.MustParseAddr("10.0.0.11")}, {Server: lb2, Address: netip.MustParseAddr("10.0.0.12")}}},
		{ID: net2, Zone: zone, Leases: []cloudsim.Lease{{Server: lb4, Address: netip.MustParseAddr("10.1.0.14")}}},
	}
	return c
}

// switching asks another account from a time on.
type switching struct{ http.RoundTripper }

func group(t *testing.T, p providers.Provider, name string) []string {
	t.Helper()
	members, err := p.(providers.Grouper).Group(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range members {
		got = append(got, fmt.Sprintf("%s %s %v self %v", m.ID[:2], m.Name, m.Addresses, m.Self))
	}
	return got
}

var wantWeb = []string{
	"11 lb1 [198.51.100.11 2001:db8:100::11 10.0.0.11] self true",
	"22 lb2 [198.51.100.12 10.0.0.12] self false",
}

func TestGroupHasTheMembersThatRun(t *testing.T) {
	for _, name := range []string{"web", web, strings.ToUpper(web)} {
		sim := providertest.NewSim(t, grouped())
		d, _ := providertest.Deps(t, sim)
		p := newClient(t, d, certain)
		if diff := cmp.Diff(wantWeb, group(t, p, name)); diff != "" {
			t.Errorf("%s: want-, got+:\n%s", name, diff)
		}
		sim.ClearHistory()
		if diff := cmp.Diff(wantWeb, group(t, p, name)); diff != "" {
			t.Errorf("%s, again: want-, got+:\n%s", name, diff)
		}
		wantRequests(t, sim, listInstances, readNet1)
	}
}

func TestGroupFollowsWhatRuns(t *testing.T) {
	sim := providertest.NewSim(t, grouped())
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, certain)
	for _, step := range []struct {
		server, state string
		groups        []string
		want          string // servers
	}{
		{lb4, "running", []string{empty, web}, "11 22 44"},
		{lb4, "migrating", []string{web}, "11 22 44"}, // which it does while it runs
		{lb4, "running", nil, "11 22"},
		{lb2, "stopping", []string{web}, "11"},
		{lb2, "", []string{web}, "11 22"},
		{lb1, "starting", []string{web}, "11 22"}, // this host runs, whatever the list says
		{lb1, "", nil, "22"},
		{lb2, "", nil, ""}, // a group without members
	} {
		if err := sim.SetServer(step.server, step.state, step.groups...); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range group(t, p, "web") {
			got = append(got, line[:2])
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("%s %s %v: want %q, got %v", step.server[:2], step.state, step.groups, step.want, got)
		}
	}
}

func TestUnknownGroupIsNotFoundAndListsThoseThereAre(t *testing.T) {
	for name, want := range map[string]string{"wbe": `no security group has the name or id "wbe"; the account has empty, web`} {
		sim := providertest.NewSim(t, grouped())
		d, _ := providertest.Deps(t, sim)
		_, err := newClient(t, d, certain).(providers.Grouper).Group(t.Context(), name)
		if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.NotFound || !strings.Contains(err.Error(), want) {
			t.Errorf("want the kind not-found with %q, got %v", want, err)
		}
	}
}

func TestGroupThatWasMadeAnewIsFoundAgain(t *testing.T) {
	sim := providertest.NewSim(t, grouped())
	d, _ := providertest.Deps(t, sim)
	switched := &switching{RoundTripper: sim.RoundTripper()}
	d.Transport = switched
	p := newClient(t, d, certain)
	group(t, p, "web")
	const anew = "5ec00000-0000-4000-8000-000000000009"
	c := grouped()
	c.SecurityGroups[0].ID = anew
	for i := range c.Servers {
		c.Servers[i].Groups = []string{anew}
	}
	sim = providertest.NewSim(t, c)
	switched.RoundTripper = sim.RoundTripper()
	if diff := cmp.Diff(wantWeb, group(t, p, "web")); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
}

func TestGroupOfAListWithoutGroupsIsReadFromTheRecords(t *testing.T) {
	sim := providertest.NewSim(t, grouped())
	d, _ := providertest.Deps(t, sim)
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.ListUngrouped}})
	if diff := cmp.Diff(wantWeb, group(t, newClient(t, d, certain), "web")); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
}

// Cannot look is not no: a member that drops out of the answer counts as dead.
func TestGroupThatCannotBeReadIsAnError(t *testing.T) {
	for name, fault := range map[string]cloudsim.Fault{
		"no instance is listed":      {Kind: cloudsim.Status, Status: 200, Body: `{"instances":[]}`, Path: "/v2/instance"},
		"this host is not listed":    {Kind: cloudsim.Status, Status: 200, Body: `{"instances":[{"id":"` + lb2 + `","state":"running"}]}`, Path: "/v2/instance"},
		"no list":                    {Kind: cloudsim.Status, Status: 200, Body: `{}`, Path: "/v2/instance"},
		"no groups":                  {Kind: cloudsim.Status, Status: 200, Body: `{}`, Path: "/v2/security-group"},
		"instances refused":          {Kind: cloudsim.Status, Status: 403, Path: "/v2/instance"},
		"groups refused":             {Kind: cloudsim.Status, Status: 404, Path: "/v2/security-group"},
		"private network unreadable": {Kind: cloudsim.Status, Status: 500, Path: "/v2/private-network"},
	} {
		sim := providertest.NewSim(t, grouped())
		d, _ := providertest.Deps(t, sim)
		sim.SetFaults(cloudsim.Faults{fault})
		members, err := newClient(t, d, certain).(providers.Grouper).Group(t.Context(), "web")
		if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind == providers.NotFound {
			t.Errorf("%s: want an error of another kind than not-found, got %v, %v", name, members, err)
		}
	}
}

func TestPrivateAddressesThatAreRefusedAreThoseToldLast(t *testing.T) {
	sim := providertest.NewSim(t, grouped())
	d, logs := providertest.Deps(t, sim)
	refusal := cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Path: "/v2/private-network"}}
	sim.SetFaults(refusal)
	p := newClient(t, d, certain)
	public := []string{"11 lb1 [198.51.100.11 2001:db8:100::11] self true", "22 lb2 [198.51.100.12] self false"}
	for i, want := range [][]string{public, wantWeb, wantWeb} {
		if i == 1 {
			sim.SetFaults(nil)
		}
		if diff := cmp.Diff(want, group(t, p, "web")); diff != "" {
			t.Errorf("%d: want-, got+:\n%s", i, diff)
		}
		sim.SetFaults(refusal)
	}
	var got []string
	for _, l := range logs.All() {
		got = append(got, l.Message)
	}
	want := []string{
		"the API refuses to tell the addresses in private networks; members of the security group are known by their other addresses",
		"the API tells the addresses in private networks",
		"the API refuses to tell the addresses in private networks; members of the security group are known by their other addresses",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log, want-, got+:\n%s", diff)
	}
}

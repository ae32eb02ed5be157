package cloudsim_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
)

const sg, network = "5ec00000-0000-4000-8000-000000000001", "9e700000-0000-4000-8000-000000000001"

func TestExoscaleTellsSecurityGroupsAndPrivateNetworks(t *testing.T) {
	s := newExoscale(t, func(c *cloudsim.Config) {
		c.SecurityGroups = []cloudsim.SecurityGroup{{ID: sg, Name: "web"}}
		c.Servers[0].Groups = []string{sg}
		c.PrivateNetworks = []cloudsim.PrivateNetwork{{ID: network, Zone: "ch-gva-2", Leases: []cloudsim.Lease{
			{Server: lb1, Address: netip.MustParseAddr("10.0.0.1")}, {Server: lb2}}}}
	})
	ask := func(path string) (int, string) {
		req, _ := http.NewRequest("GET", "http://x/v2/"+path, nil)
		sign(req, "", exoKey, exoSecret, time.Now().Add(time.Minute))
		return send(t, s, req)
	}
	for path, want := range map[string][]string{
		"security-group":             {`"name":"web"`, sg},
		"instance/" + lb1:            {`"security-groups":[{"id":"` + sg + `"}]`, `"private-networks":[{"id":"` + network, `"state":"running"`},
		"instance":                   {`"security-groups":[{"id":"` + sg + `"}]`},
		"private-network/" + network: {`"leases":[{"instance-id":"` + lb1 + `","ip":"10.0.0.1"}]`},
	} {
		status, got := ask(path)
		for _, w := range want {
			if status != 200 || !strings.Contains(got, w) {
				t.Errorf("%s: want %s, got %d with %s", path, w, status, got)
			}
		}
	}
	if status, _ := ask("private-network/" + sg); status != 404 {
		t.Errorf("a network that is not there: want 404, got %d", status)
	}
	s.SetFaults(cloudsim.Faults{{Kind: cloudsim.ListUngrouped}})
	if _, got := ask("instance"); strings.Contains(got, "security-groups") {
		t.Errorf("under the fault: want a list without groups, got %s", got)
	}
	if _, got := ask("instance/" + lb1); !strings.Contains(got, "security-groups") {
		t.Errorf("under the fault: want a record with groups, got %s", got)
	}
	req, _ := http.NewRequest("POST", "http://x/_sim/server", strings.NewReader(`{"server":"`+lb2+`","state":"stopped","security_groups":["`+sg+`"]}`))
	if status, got := send(t, s, req); status != http.StatusNoContent {
		t.Errorf("control: %d %s", status, got)
	}
	if _, got := ask("instance/" + lb2); !strings.Contains(got, sg) || !strings.Contains(got, `"state":"stopped"`) {
		t.Errorf("want what was set, got %s", got)
	}
	if s.SetServer("x", "") == nil || s.SetServer(lb1, "", "x") == nil {
		t.Error("want a server and a group that are not there refused")
	}
}

func TestAccountWithGroupsThatCannotBeIsRefused(t *testing.T) {
	for name, c := range map[string]cloudsim.Config{
		"two groups of one name":       {SecurityGroups: []cloudsim.SecurityGroup{{ID: "1", Name: "web"}, {ID: "2", Name: "web"}}},
		"a server in no known group":   {Servers: []cloudsim.Server{{UUID: lb1, Groups: []string{"1"}}}},
		"a lease of no known server":   {PrivateNetworks: []cloudsim.PrivateNetwork{{ID: network, Leases: []cloudsim.Lease{{Server: lb1}}}}},
		"a lease of another zone":      {Servers: []cloudsim.Server{{UUID: lb1, Region: "a"}}, PrivateNetworks: []cloudsim.PrivateNetwork{{ID: network, Zone: "b", Leases: []cloudsim.Lease{{Server: lb1}}}}},
		"a group without an id at all": {SecurityGroups: []cloudsim.SecurityGroup{{Name: "web"}}},
	} {
		if _, err := cloudsim.New(c); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func TestHetznerUnassignsWhoeverHasTheAddress(t *testing.T) {
	s := newSim(t)
	ask := func(path string) (int, string) {
		req, _ := http.NewRequest("POST", "http://x/hetzner/api/floating_ips/"+path, strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+token)
		return send(t, s, req)
	}
	for range 2 { // once more when no server has it
		status, got := ask("4711/actions/unassign")
		if status != http.StatusCreated || !strings.Contains(got, `"command":"unassign_floating_ip"`) || !strings.Contains(got, `"status":"success"`) {
			t.Errorf("want an action, got %d with %s", status, got)
		}
		if got := s.Holders(v4.Addr()); !slices.Equal(got, nil) {
			t.Errorf("want no holder, got %v", got)
		}
	}
	if status, _ := ask("1/actions/unassign"); status != http.StatusNotFound {
		t.Errorf("an unknown floating IP: want 404, got %d", status)
	}
}

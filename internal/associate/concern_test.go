package associate_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"berth/internal/associate"
	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestConcerns(t *testing.T) {
	vi1 := map[string][]netip.Addr{"VI_1": {one}}
	here := func(state vrrp.State, mode string) []status.Instance {
		return []status.Instance{{Instance: "VI_1", State: state, Mode: mode, PID: 7}, {Instance: "VI_2", State: vrrp.Backup, Mode: mode}}
	}
	rows := []struct {
		name   string
		facts  associate.Facts
		dead   bool
		want   string // "" for no concern
		refuse bool
	}{
		{name: "no berth at all", facts: associate.Facts{Instances: vi1}},
		{name: "MASTER here, associate", facts: associate.Facts{Instances: vi1, Local: here(vrrp.Master, "fifo")}},
		{name: "MASTER here, dissociate", facts: associate.Facts{Release: true, Instances: vi1, Local: here(vrrp.Master, "fifo")},
			want: `berth on this host (process 7) is MASTER of instance "VI_1" and points the address here again; stop it before`},
		{name: "MASTER here, dissociate, but its process has gone", facts: associate.Facts{Release: true, Instances: vi1, Local: here(vrrp.Master, "fifo")}, dead: true},
		{name: "known by the status alone, as an added address", facts: associate.Facts{Release: true,
			Local: []status.Instance{{Instance: "added", State: vrrp.Master, PID: 8, Addresses: []status.Address{{Address: "192.0.2.10/32"}}}}}, want: "process 8"},
		{name: "a status that cannot be read", facts: associate.Facts{Instances: vi1, Unseen: errors.New("permission denied")},
			want: "what berth on this host does about the address is not known: permission denied"},
		{name: "BACKUP here, associate", facts: associate.Facts{Instances: vi1, Local: here(vrrp.Backup, "fifo")},
			want: `instance "VI_1" is BACKUP on this host; the host on which it is MASTER takes the address back`},
		{name: "BACKUP here, dissociate", facts: associate.Facts{Release: true, Instances: vi1, Local: here(vrrp.Backup, "fifo")}},
		{name: "FAULT here, by a service that has ended", facts: associate.Facts{Instances: vi1, Local: here(vrrp.Fault, "fifo")}, dead: true},
		{name: "BACKUP here, by a notify script, which has ended", facts: associate.Facts{Instances: vi1, Local: here(vrrp.Backup, "notify")}, dead: true,
			want: "is BACKUP on this host"},
		{name: "another owns it in etcd", facts: associate.Facts{Instances: vi1, Etcd: true, Elects: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb2"}, Local: here(vrrp.Backup, "elect")},
			want: `lb2 owns instance "VI_1" in etcd and takes the address back; berth takeover, run here, moves it by agreement`, refuse: true},
		{name: "another has the lease that fences", facts: associate.Facts{Instances: vi1, Etcd: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb2"}},
			want: "keepalived's MASTER must be this host first", refuse: true},
		{name: "another owns it, dissociate", facts: associate.Facts{Release: true, Instances: vi1, Etcd: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb2"}}},
		{name: "this host owns it, associate", facts: associate.Facts{Instances: vi1, Etcd: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb1"}}},
		{name: "this host owns it, dissociate", facts: associate.Facts{Release: true, Instances: vi1, Etcd: true, Elects: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb1"}},
			want: "berth release hands it over", refuse: true},
		{name: "this host has the lease that fences, dissociate", facts: associate.Facts{Release: true, Instances: vi1, Etcd: true, Member: "lb1", Owners: map[string]string{"VI_1": "lb1"}},
			want: `this host owns instance "VI_1" in etcd and points the address here again`, refuse: true},
		{name: "nobody owns it", facts: associate.Facts{Instances: vi1, Etcd: true, Member: "lb1"}},
		{name: "etcd does not answer", facts: associate.Facts{Instances: vi1, Etcd: true, Member: "lb1", Unread: errors.New("no answer")},
			want: `the owner of instance "VI_1" in etcd is not known: no answer`, refuse: true},
		{name: "an address of no instance, with a pool", facts: associate.Facts{Etcd: true, Elects: true, Pool: true, Member: "lb1"}, want: "berth pool drain", refuse: true},
		{name: "an address of no instance", facts: associate.Facts{Etcd: true, Elects: true, Member: "lb1"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.facts.Addresses = []netip.Addr{one}
			row.facts.Alive = func(status.Instance) bool { return !row.dead }
			got := associate.Concerns(row.facts)
			if row.want == "" {
				if len(got) != 0 {
					t.Errorf("want none, got %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Address != one || !strings.Contains(got[0].Text, row.want) || got[0].Refuse != row.refuse {
				t.Errorf("want one with %q that refuses %v, got %+v", row.want, row.refuse, got)
			}
		})
	}
}

func TestConcernThatRefusesNeedsForce(t *testing.T) {
	concerns := []associate.Concern{{Address: one, Text: "lb2 owns it", Refuse: true}, {Address: two, Text: "may not stay"}}
	for _, row := range []struct {
		force, dry bool
		want       string   // the error
		told       []string // codes
	}{
		{false, false, "192.0.2.10: lb2 owns it\nnothing was moved; --force moves against the owner in etcd", []string{"associate-concern"}},
		{true, false, "", []string{"associate-forced", "associate-concern"}},
		{false, true, "", []string{"associate-concern", "associate-concern"}},
	} {
		core, logs := observer.New(zapcore.InfoLevel)
		err := associate.Heed(concerns, row.force, row.dry, journal.New(zap.New(core)))
		if (err == nil) != (row.want == "") || (err != nil && err.Error() != row.want) {
			t.Errorf("force %v, dry run %v: want %q, got %v", row.force, row.dry, row.want, err)
		}
		var codes []string
		for _, l := range logs.All() {
			codes = append(codes, l.ContextMap()["code"].(string))
		}
		if strings.Join(codes, " ") != strings.Join(row.told, " ") {
			t.Errorf("force %v, dry run %v: want %v told, got %v", row.force, row.dry, row.told, codes)
		}
	}
}

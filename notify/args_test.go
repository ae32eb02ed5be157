package notify_test

import (
	"testing"

	"berth/notify"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseArgs(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want vrrp.Event
		err  string
	}{
		{"as keepalived writes them", []string{"INSTANCE", "VI_1", "MASTER", "150"}, vrrp.Event{Source: "notify", Instance: "VI_1", State: vrrp.Master, Priority: 150}, ""},
		{"sync group", []string{"GROUP", "G", "BACKUP", "0"}, vrrp.Event{Source: "notify", Group: true, Instance: "G", State: vrrp.Backup}, ""},
		{"small letters", []string{"instance", "VI_1", "FAULT", "1"}, vrrp.Event{Source: "notify", Instance: "VI_1", State: vrrp.Fault, Priority: 1}, ""},
		{"small letters, group", []string{"group", "G", "STOP", "0"}, vrrp.Event{Source: "notify", Group: true, Instance: "G", State: vrrp.Stop}, ""},
		{"without priority", []string{"INSTANCE", "VI_1", "DELETED"}, vrrp.Event{Source: "notify", Instance: "VI_1", State: vrrp.Deleted}, ""},
		{"name like a flag", []string{"INSTANCE", "-odd", "MASTER", "1"}, vrrp.Event{Source: "notify", Instance: "-odd", State: vrrp.Master, Priority: 1}, ""},
		{"empty name", []string{"INSTANCE", "", "MASTER", "1"}, vrrp.Event{Source: "notify", State: vrrp.Master, Priority: 1}, ""},
		{"verify now", []string{"INSTANCE", "VI_1", "MASTER_RX_LOWER_PRI", "1"}, vrrp.Event{Source: "notify", Instance: "VI_1", Kind: vrrp.VerifyNow, Priority: 1}, ""},
		{"too few", []string{"INSTANCE", "VI_1"}, vrrp.Event{}, "expected INSTANCE|GROUP NAME STATE [PRIORITY] after the configuration file; arguments given: 2"},
		{"too many", []string{"INSTANCE", "VI_1", "MASTER", "1", "x"}, vrrp.Event{}, "expected INSTANCE|GROUP NAME STATE [PRIORITY] after the configuration file; arguments given: 5"},
		{"neither instance nor group", []string{"VI_1", "INSTANCE", "MASTER"}, vrrp.Event{}, `expected INSTANCE or GROUP as the second argument, got "VI_1"`},
		{"unknown state", []string{"INSTANCE", "VI_1", "DREAMING"}, vrrp.Event{}, `unknown state "DREAMING"; keepalived writes MASTER, BACKUP, FAULT, STOP, DELETED or MASTER_RX_LOWER_PRI`},
		{"priority that is not a number", []string{"INSTANCE", "VI_1", "MASTER", "high"}, vrrp.Event{Source: "notify", Instance: "VI_1", State: vrrp.Master}, ""},
		{"priority out of range", []string{"INSTANCE", "VI_1", "MASTER", "256"}, vrrp.Event{Source: "notify", Instance: "VI_1", State: vrrp.Master}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := notify.ParseArgs(row.args)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Fatalf("error %v, want %q", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got, cmpopts.IgnoreFields(vrrp.Event{}, "Received")); diff != "" || got.Received.IsZero() {
				t.Errorf("received %v; event (-want +got):\n%s", got.Received, diff)
			}
		})
	}
}

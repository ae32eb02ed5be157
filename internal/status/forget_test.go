package status_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/vrrp"
)

func elected(dir, member string) *status.Board {
	return status.NewBoard(dir, status.Instance{PID: 7, Mode: "elect", Prefix: "/berth/", Member: member}, journal.New(nil))
}

// names returns the instances of which there are files.
func names(t *testing.T, dir string) string {
	t.Helper()
	all, err := status.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, in := range all {
		list = append(list, in.Member+"/"+in.Instance)
	}
	return strings.Join(list, " ")
}

func TestAnInstanceThatIsForgottenLeavesNothing(t *testing.T) {
	dir, r := t.TempDir(), &metrics.Registry{}
	b := elected(dir, "lb1")
	status.NewMetrics(r).Watch(b)
	var last status.Instance
	defer b.Subscribe(func(in status.Instance) { last = in })()
	for _, name := range []string{"10.0.0.1", "web"} {
		b.State(name, status.State{State: vrrp.Master})
	}
	b.Flush()
	b.Forget("10.0.0.1")
	b.Forget("10.0.0.9") // never there
	if last.Instance != "10.0.0.1" || last.State != vrrp.Deleted {
		t.Errorf("want the subscribers to be told, got %+v", last)
	}
	if all := b.Snapshot(); len(all) != 1 || all[0].Instance != "web" {
		t.Errorf("want the other instance alone, got %+v", all)
	}
	b.Flush()
	if got := names(t, dir); got != "lb1/web" {
		t.Errorf("want the file of the other instance alone, got %s", got)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || strings.Contains(text.String(), "10.0.0.1") || !strings.Contains(text.String(), `berth_instance_master{instance="web"} 1`) {
		t.Errorf("want no series of the instance, got %v\n%s", err, text.String())
	}
	// It may come back before its file is removed.
	b.Forget("web")
	b.State("web", status.State{State: vrrp.Backup})
	b.Flush()
	if got := names(t, dir); got != "lb1/web" {
		t.Errorf("want the file of the new instance, got %q", got)
	}
}

func TestFilesOfAFormerProcessAreTidiedUp(t *testing.T) {
	dir := t.TempDir()
	for _, member := range []string{"lb1", "lb10"} {
		former := elected(dir, member)
		for _, name := range []string{"10.0.0.1", "10.0.0.2", "web"} {
			former.State(name, status.State{State: vrrp.Backup})
		}
		former.Flush()
	}
	b := elected(dir, "lb1")
	b.State("10.0.0.2", status.State{State: vrrp.Master})
	b.Tidy(func(instance string) bool { return strings.HasPrefix(instance, "10.") })
	b.Flush()
	got := strings.Fields(names(t, dir))
	slices.Sort(got)
	if want := "lb1/10.0.0.2 lb1/web lb10/10.0.0.1 lb10/10.0.0.2 lb10/web"; strings.Join(got, " ") != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

func TestTheInstancesOfACheckChange(t *testing.T) {
	b := elected(t.TempDir(), "lb1")
	b.State("10.0.0.1", status.State{State: vrrp.Master})
	b.State("10.0.0.2", status.State{State: vrrp.Master})
	checks := func() string {
		var list []string
		for _, in := range b.Snapshot() {
			for _, h := range in.Health {
				list = append(list, in.Instance+" "+h.Check)
			}
		}
		return strings.Join(list, ", ")
	}
	b.Health([]string{"10.0.0.1"}, status.Health{Check: "tcp"})
	b.Health([]string{"10.0.0.1", "10.0.0.2"}, status.Health{Check: "tcp"})
	if got := checks(); got != "10.0.0.1 tcp, 10.0.0.2 tcp" {
		t.Errorf("want the check at both, got %s", got)
	}
	b.Health([]string{"10.0.0.2"}, status.Health{Check: "tcp"})
	if got := checks(); got != "10.0.0.2 tcp" {
		t.Errorf("want the check at one, got %s", got)
	}
	b.DropHealth("tcp")
	if got := checks(); got != "" {
		t.Errorf("want no check, got %s", got)
	}
}

// A check that an address has no more is told of to those that show the address; the change
// of one address is nothing to the others that have the check.
func TestSubscribersAreToldOfTheEndOfACheck(t *testing.T) {
	b := elected(t.TempDir(), "lb1")
	for _, name := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		b.State(name, status.State{State: vrrp.Master})
	}
	var told []string
	defer b.Subscribe(func(in status.Instance) {
		for _, h := range in.Health {
			told = append(told, in.Instance+" "+h.Check)
		}
		if in.Health == nil {
			told = append(told, in.Instance)
		}
	})()
	want := func(what string, want ...string) {
		t.Helper()
		if slices.Sort(told); !slices.Equal(told, want) {
			t.Errorf("%s: want %q, got %q", what, want, told)
		}
		told = nil
	}
	is := status.Health{Check: "tcp", Healthy: true}
	b.Health([]string{"10.0.0.1", "10.0.0.2"}, is)
	want("at first", "10.0.0.1 tcp", "10.0.0.2 tcp")
	b.Health([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, is)
	want("one more", "10.0.0.3 tcp")
	b.Health([]string{"10.0.0.2", "10.0.0.3"}, is)
	want("one less", "10.0.0.1")
	is.Reason = "refused"
	b.Health([]string{"10.0.0.2", "10.0.0.3"}, is)
	want("another reason", "10.0.0.2 tcp", "10.0.0.3 tcp")
	b.DropHealth("tcp")
	want("the end", "10.0.0.2", "10.0.0.3")
	b.DropHealth("tcp")
	want("the end again")
}

// A file that is removed between the listing and its reading is no problem.
func TestAFileThatVanishesIsNoProblem(t *testing.T) {
	dir := t.TempDir()
	b := elected(dir, "lb1")
	b.State("web", status.State{State: vrrp.Master})
	b.Flush()
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "status", "gone.json")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "lb1/web" {
		t.Errorf("want the instance, got %s", got)
	}
}

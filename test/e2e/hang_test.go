package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/test/lab"
	"berth/vrrp"
)

// The API hangs while ten thousand events pass. Only the claims wait for it, the
// newest event of each instance counts, and memory does not grow.
func TestTenThousandEventsWhileTheAPIHangs(t *testing.T) {
	t.Parallel()
	const bursts, perBurst = 50, 200
	hang := time.Duration(rounds(6, 30)) * time.Second
	f := newField(t)
	alone := instance4(255)
	alone.Lines = "    state MASTER\n"
	lost := instance6(255)
	lost.Lines = "    state MASTER\n"
	f.configure(f.host1, lab.FIFO, "refresh-timeout: 3s\nback-off: {initial-interval: 50ms, max-interval: 500ms}\n", alone, lost)
	client := f.client(lab.IPv4a)
	f.Sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.HangBeforeHeaders}})
	f.keepalived(f.host1)
	f.until("the first claims to hang", func() bool { return f.status(f.host1, "VI_6").State == vrrp.Master })

	var events *os.File
	f.must(f.host1.Do(func() (err error) {
		events, err = os.OpenFile(lab.FIFOPath, os.O_WRONLY, 0)
		return err
	}))
	defer events.Close()
	for i := range bursts {
		var burst strings.Builder
		for j := range perBurst / 2 {
			// The last of VI_4 is MASTER, the last of VI_6 BACKUP.
			states := []string{"BACKUP", "MASTER"}
			fmt.Fprintf(&burst, "INSTANCE \"VI_4\" %s %d\nINSTANCE \"VI_6\" %s %d\n", states[(i+j)%2], j, states[(i+j+1)%2], j)
		}
		_, err := events.WriteString(burst.String())
		f.must(err)
		f.pass(hang/bursts, client[0])
	}
	const last = "INSTANCE \"VI_4\" MASTER 201\nINSTANCE \"VI_6\" BACKUP 202\n"
	_, err := events.WriteString(last)
	f.must(err)
	f.until("the last events to count", func() bool {
		return f.status(f.host1, "VI_4").Priority == 201 && f.status(f.host1, "VI_6").Priority == 202
	})
	demoted := time.Now()
	f.heal()
	f.served(f.host1, demoted, client...)
	f.stays(lab.IPv4a, f.host1, time.Second, client[0])
	for _, r := range f.Requests(f.host1, demoted) {
		if r.Write && strings.Contains(r.Path, ":") { // of an IPv6 network
			t.Errorf("want no claim for an instance that is BACKUP, got %v", r)
		}
	}
	tasks, err := f.host1.Tasks()
	f.must(err)
	for _, task := range tasks {
		if task.Name != "berth" {
			continue
		}
		if task.Peak > 64<<10 {
			t.Errorf("want at most 64 MiB of memory, got %d KiB", task.Peak)
		}
		t.Logf("%d events in %v, peak memory %d KiB", bursts*perBurst, hang, task.Peak)
	}
}

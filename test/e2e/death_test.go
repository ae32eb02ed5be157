package e2e_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// A berth that is frozen does not end on SIGTERM; its successor kills it.
func TestFrozenPredecessor(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.Notify, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	tasks, err := f.host1.Tasks()
	f.must(err)
	var frozen testnet.Task
	for _, task := range tasks {
		if task.Name == "berth" {
			frozen = task
		}
	}
	signal(t, f.host1, frozen, unix.SIGSTOP)
	f.must(f.Assign(lab.IPv4a, f.host2))
	begun := time.Now()
	_, err = f.host1.Start("berth", lab.BerthPath, "--verbose", lab.BerthConf, "INSTANCE", "VI_4", "MASTER", "100")
	f.must(err)
	f.until("the successor's first update", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	if took := time.Since(begun) - client[0].Stalled(begun, time.Now()); took > time.Second {
		t.Errorf("want the first update within 1s, got %v", took)
	} else {
		t.Logf("first update of the successor after %v", took)
	}
	// The frozen berth has ended, so that it can send nothing any more.
	tasks, err = f.host1.Tasks()
	f.must(err)
	for _, task := range tasks {
		if task.PID == frozen.PID && len(task.Args) > 0 && task.Args[0] != "" { // not a zombie
			t.Errorf("want the frozen one gone, got %v", task)
		}
	}
}

// keepalived is killed, in each way in which it starts berth: the last request
// arrives no later than a request that was on its way may.
func TestDeathOfKeepalivedInEveryWayItWasStarted(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		mode lab.Mode
		text string // of the notify script
	}{
		{"notify, directly", lab.Notify, "#!/bin/sh\nexec " + lab.BerthPath + " " + lab.BerthConf + " \"$@\" 2>" + lab.Syslog + "\n"},
		{"notify, through a shell", lab.Notify, ""},
		{"FIFO script", lab.Script, ""},
		{"service with pid file", lab.FIFO, ""},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			if way.text != "" {
				f.must(f.host1.WriteFile(lab.NotifyPath, way.text, 0o755))
			}
			owner := instance4(255)
			owner.Lines = "    state MASTER\n"
			f.configure(f.host1, way.mode, dense, owner)
			client := f.client(lab.IPv4a)
			var worst time.Duration
			for round := range rounds(2, 20) {
				began := time.Now()
				f.keepalived(f.host1)
				f.until("host1 to claim", func() bool { return len(f.Requests(f.host1, began)) > 0 })
				f.asksAgainAndAgain(f.host1, f.host2, 6)
				parent, child, err := f.host1.Keepalived()
				f.must(err)
				// The child is dead and its parent does not wait for it: a zombie.
				signal(t, f.host1, parent, unix.SIGSTOP)
				killed := time.Now()
				signal(t, f.host1, child, unix.SIGKILL)
				if round%2 == 0 {
					signal(t, f.host1, parent, unix.SIGKILL)
				}
				f.pass(3*late, client[0])
				for _, r := range f.Requests(f.host1, killed) {
					if after := r.Time.Sub(killed) - client[0].Stalled(killed, r.Time); after > worst {
						worst = after
					}
				}
				if worst > late {
					t.Errorf("round %d: want the last request within %v, got %v", round, late, worst)
				}
				if round%2 != 0 {
					signal(t, f.host1, parent, unix.SIGKILL)
				}
				f.heal()
				f.until("keepalived to be gone", func() bool {
					parent, _, err := f.host1.Keepalived()
					return err == nil && parent.PID == 0
				})
			}
			t.Logf("death of keepalived to last request: %v at most", worst)
		})
	}
}

// keepalived's parent starts another VRRP process in place of one that died. The
// holding that began under the former process ends; that of the new process, whose
// MASTER may be read before, does not.
func TestRespawnedVRRPProcess(t *testing.T) {
	t.Parallel()
	for _, mode := range []lab.Mode{lab.FIFO, lab.Notify, lab.Script} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			owner := instance4(255) // MASTER at once
			owner.Lines = "    state MASTER\n"
			f.configure(f.host1, mode, lab.Fast, owner)
			client := f.client(lab.IPv4a)
			f.keepalived(f.host1)
			f.served(f.host1, time.Now(), client...)
			for range 3 { // keepalived delays further ones ever longer
				_, former, err := f.host1.Keepalived()
				f.must(err)
				signal(t, f.host1, former, unix.SIGKILL)
				f.until("a new VRRP process", func() bool {
					_, child, err := f.host1.Keepalived()
					return err == nil && child.PID != 0 && child.PID != former.PID
				})
				f.must(f.Assign(lab.IPv4a, f.host2))
				f.until("the new VRRP process's MASTER to claim", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
			}
			// The floating IP stays, so it did not come by the last request of the holding
			// that ends.
			f.pass(time.Second, client[0])
			f.must(f.Assign(lab.IPv4a, f.host2))
			f.until("the floating IP to be claimed back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
		})
	}
}

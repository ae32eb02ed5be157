package e2e_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
	"berth/vrrp"
)

// keepalived writes few events about changed, renamed, removed and rejected instances,
// and none about those that stay.
func TestReload(t *testing.T) {
	t.Parallel()
	for _, mode := range []lab.Mode{lab.FIFO, lab.Script} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			f.configure(f.host1, mode, lab.Fast, instance4(100), instance6(100))
			client := f.client(lab.IPv4a, lab.IPv6n)
			k := f.keepalived(f.host1)
			f.served(f.host1, time.Now(), client...)
			f.bound(f.host1, lab.IPv4b, time.Time{})
			reload := func(instances ...lab.Instance) time.Time {
				t.Helper()
				now := time.Now()
				f.must(f.host1.ConfigureKeepalived(mode, instances...))
				f.must(k.Signal(unix.SIGHUP))
				return now
			}

			// Changed: an address less. keepalived writes no event about the others.
			four := instance4(100)
			four.Excluded = nil
			since := reload(four, instance6(100))
			f.unbound(f.host1, lab.IPv4b, since)
			f.pass(1500*time.Millisecond, client[0]) // berth has read the file
			f.must(f.Assign(lab.IPv4b, f.host2))
			f.must(f.Assign(lab.IPv4a, f.host2))
			f.stays(lab.IPv4b, f.host2, 1500*time.Millisecond, client[0])
			f.until("the one that stayed to be claimed back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })

			// Renamed: the addresses stay on the interface, or come back to it.
			four.Name = "VI_renamed"
			reload(four, instance6(100))
			f.until("the new name to be MASTER", func() bool { return f.status(f.host1, "VI_renamed").State == vrrp.Master })
			f.must(f.Assign(lab.IPv4a, f.host2))
			f.until("the renamed one to be claimed back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
			f.until("the former name not to be MASTER", func() bool {
				former, now := f.status(f.host1, "VI_4"), f.status(f.host1, "VI_renamed")
				return former.State != vrrp.Master || former.PID != now.PID // or its process is gone
			})

			// Removed.
			since = reload(four)
			f.unbound(f.host1, lab.IPv6n, since)
			f.pass(200*time.Millisecond, client[0])
			f.must(f.Assign(lab.IPv6n, f.host2))
			f.stays(lab.IPv6n, f.host2, 1500*time.Millisecond, client[0])

			// Rejected: keepalived ends and leaves the addresses behind.
			twin := instance6(100)
			twin.Addresses, twin.Excluded, twin.ID = []netip.Addr{lab.IPv4b}, nil, four.ID
			reload(four, twin)
			<-k.Done()
			ended := k.Exited()
			f.must(f.Assign(lab.IPv4a, f.host2))
			f.stays(lab.IPv4a, f.host2, 1500*time.Millisecond, client[0])
			f.silent(f.host1, ended, client[0])
			if has, _ := f.host1.Has(lab.IPv4a); !has {
				t.Error("want an address left behind, or nothing is tested here")
			}
			// The addresses left behind do not make a new berth MASTER either.
			if mode == lab.FIFO {
				f.restartBerth(f.host1)
				f.stays(lab.IPv4a, f.host2, 1500*time.Millisecond, client[0])
			}

			// Restart.
			f.must(f.host1.ConfigureKeepalived(mode, instance4(100), instance6(100)))
			restarted := time.Now()
			k = f.keepalived(f.host1)
			f.served(f.host1, restarted, client...)
		})
	}
}

// keepalived can write all states into the FIFO at a reload, but leaves out the
// instances that are MASTER. A berth that has run all the time knows these, and one
// that has just started finds them by their addresses.
func TestStatesThatLeaveOutTheMasters(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100), instance6(100))
	f.configure(f.host2, lab.FIFO, lab.Fast, instance6(150))
	conf, err := f.host1.ReadFile(lab.KeepalivedConf)
	f.must(err)
	f.must(f.host1.WriteFile(lab.KeepalivedConf, "global_defs {\n    fifo_write_vrrp_states_on_reload\n}\n"+string(conf), 0o644))
	client := f.client(lab.IPv4a, lab.IPv6n)
	f.keepalived(f.host2)
	f.served(f.host2, time.Now(), client[1])
	k := f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client[0])
	f.until("VI_6 to be BACKUP", func() bool { return f.status(f.host1, "VI_6").State == vrrp.Backup })

	f.must(k.Signal(unix.SIGHUP))
	f.until("the states to be written", func() bool { return f.status(f.host1, "VI_6").Reason == "BACKUP reported again" })
	f.must(f.Assign(lab.IPv4a, f.host2))
	f.until("the MASTER to claim", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	if n := f.status(f.host1, "VI_4").Corrections; n != 0 {
		t.Errorf("want nothing corrected where every event was read, got %d", n)
	}

	f.killBerth(f.host1)
	f.must(k.Signal(unix.SIGHUP))
	f.must(f.Assign(lab.IPv4a, f.host2))
	_, err = f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.until("the states to be read", func() bool { return f.status(f.host1, "VI_6").Reason == "BACKUP reported" })
	f.until("the MASTER that was left out to claim", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.until("the instance to be found bound", func() bool { return strings.Contains(f.status(f.host1, "VI_4").Reason, "found-bound") })
}

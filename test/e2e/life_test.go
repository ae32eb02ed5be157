//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/status"
	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// long is set for the long forms of tests.
var long = os.Getenv("BERTH_SOAK") != ""

// rounds is how often a test repeats itself.
func rounds(short, soak int) int {
	if long {
		return soak
	}
	return short
}

// status reads what berth says of an instance on a host.
func (f *field) status(h *lab.Host, instance string) status.Instance {
	var all []status.Instance
	err := h.Do(func() (err error) {
		all, err = status.Read("/run/berth")
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, in := range all {
		if in.Instance == instance {
			return in
		}
	}
	return status.Instance{}
}

// stays fails the test if the floating IP leaves the host while some time
// passes.
func (f *field) stays(ip netip.Addr, h *lab.Host, d time.Duration, clock *lab.Probe) {
	f.t.Helper()
	f.pass(d, clock)
	if got := f.Holder(ip); got != h {
		f.t.Errorf("want %v to stay at %s, got it claimed by another", ip, h.Name)
	}
}

// lawful fails the test if a host has asked anything of the API later than what
// was on its way may take after keepalived took the address from it.
func (f *field) lawful(h *lab.Host, ip netip.Addr, clock *lab.Probe) {
	f.t.Helper()
	bindings := f.Bindings()
	for _, r := range f.Requests(h, time.Time{}) {
		var last lab.Binding
		for _, b := range bindings {
			// The lab may learn of an address later than berth of its state.
			if b.Host == h && b.Address == ip && b.Time.Before(r.Time.Add(late)) && (b.Bound || b.Time.Before(r.Time)) {
				last = b
			}
		}
		if last.Time.IsZero() && !r.Write {
			continue // looked up at start what a claim needs
		}
		if !last.Bound && r.Time.Sub(last.Time)-clock.Stalled(last.Time, r.Time) > late {
			f.t.Errorf("want no request of %s later than %v after it lost %v, got %s %s %v after it", h.Name, late, ip, r.Method, r.Path, r.Time.Sub(last.Time))
		}
	}
}

// Changed, renamed, removed and rejected instances: keepalived says little about
// what a reload changes, and nothing at all about what stays.
func TestReload(t *testing.T) {
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

			// Changed: an address less. The rest goes on without a word of keepalived.
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
			f.until("the former name to be no MASTER", func() bool {
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
			// What is left behind proves nothing to a new berth either.
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

// restartBerth kills the service and starts another.
func (f *field) restartBerth(h *lab.Host) {
	f.t.Helper()
	f.killBerth(h)
	_, err := h.StartService(f.context(), "--verbose")
	f.must(err)
}

func (f *field) killBerth(h *lab.Host) {
	f.t.Helper()
	tasks, err := h.Tasks()
	f.must(err)
	for _, task := range tasks {
		if task.Name == "berth" {
			f.must(h.Signal(task.PID, unix.SIGKILL))
			f.until("berth to end", func() bool {
				now, err := h.Tasks()
				for _, other := range now {
					if other.PID == task.PID && len(other.Args) > 0 && other.Args[0] != "" {
						return false
					}
				}
				return err == nil
			})
		}
	}
}

// reloadBerth has the service read its configuration again.
func (f *field) reloadBerth(h *lab.Host) {
	f.t.Helper()
	begun := time.Now()
	tasks, err := h.Tasks()
	f.must(err)
	for _, task := range tasks {
		if task.Name == "berth" {
			f.must(h.Signal(task.PID, unix.SIGHUP))
		}
	}
	f.until("the configuration to be read again", func() bool {
		for _, log := range f.Logs() {
			if _, ok := log.Find(begun, contains("the configuration was read again")); ok {
				return true
			}
		}
		return false
	})
}

// No line tells a new berth that keepalived has been MASTER for long.
func TestServiceFindsWhatIsBound(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.killBerth(f.host1)
	f.must(f.Assign(lab.IPv4a, f.host2))
	_, err := f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.until("the floating IP to come back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.until("the correction to be counted", func() bool { return f.status(f.host1, "VI_4").Corrections == 1 })
	if got := f.status(f.host1, "VI_4").Reason; !strings.Contains(got, "found-bound") || !strings.Contains(got, "keepalived's state dump agrees") {
		t.Errorf("want it found bound and confirmed, got %q", got)
	}

	// An address that somebody takes off the interface is left alone until it is
	// back; the other goes on. keepalived would notice and put it back, if it
	// were not held up.
	ip, err := testnet.Program("ip")
	f.must(err)
	_, child, err := f.host1.Keepalived()
	f.must(err)
	signal(t, f.host1, child, unix.SIGSTOP)
	gone := time.Now()
	_, err = f.host1.Run(f.context(), ip, "addr", "del", lab.IPv4a.String()+"/32", "dev", lab.Link)
	f.must(err)
	f.unbound(f.host1, lab.IPv4a, gone)
	f.until("the address to be suspended", func() bool {
		for _, a := range f.status(f.host1, "VI_4").Addresses {
			if a.Suspended && strings.HasPrefix(a.Address, lab.IPv4a.String()) {
				return true
			}
		}
		return false
	})
	f.must(f.Assign(lab.IPv4a, f.host2))
	f.must(f.Assign(lab.IPv4b, f.host2))
	f.until("the other floating IP to come back", func() bool { return f.Holder(lab.IPv4b) == f.host1 })
	f.stays(lab.IPv4a, f.host2, time.Second, client[0])
	// Nor does a new configuration change that.
	f.reloadBerth(f.host1)
	f.stays(lab.IPv4a, f.host2, time.Second, client[0])
	signal(t, f.host1, child, unix.SIGCONT)
	f.until("the floating IP to come back with its address", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
}

// keepalived can write all states into the FIFO at a reload, but leaves out the
// instances that are MASTER. A berth that has run all the time loses nothing by
// it, and one that has just started knows those by their addresses.
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
	f.until("it to be found bound", func() bool { return strings.Contains(f.status(f.host1, "VI_4").Reason, "found-bound") })
}

// The FIFO is full, keepalived has dropped the newest lines, and those that are
// there say the contrary of what is so.
func TestFullFIFO(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(150))
	f.configure(f.host2, lab.FIFO, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.standby(f.host2)
	flood := func(h *lab.Host, state string) {
		t.Helper()
		f.killBerth(h)
		f.must(h.Do(func() error {
			fd, err := unix.Open(lab.FIFOPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			for {
				_, err := unix.Write(fd, fmt.Appendf(nil, "INSTANCE \"VI_4\" %s 100\n", state))
				if errors.Is(err, unix.EAGAIN) {
					return nil
				}
				if err != nil {
					return err
				}
			}
		}))
		_, err := h.StartService(f.context(), "--verbose")
		f.must(err)
	}
	flood(f.host2, "MASTER")
	flood(f.host1, "BACKUP")
	f.must(f.Assign(lab.IPv4a, f.host2))
	f.until("the MASTER to claim", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.until("the correction to be counted", func() bool { return f.status(f.host1, "VI_4").Corrections > 0 })
	f.stays(lab.IPv4a, f.host1, time.Second, client[0])
	if asked := f.Requests(f.host2, time.Time{}); len(asked) > 0 {
		for _, r := range asked {
			if r.Write {
				t.Errorf("want no claim of a host that is BACKUP, got %v", r)
			}
		}
	}
}

// A berth that is frozen cannot say when it is done; its successor does not
// wait for it.
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
	// It is gone, so that it can send nothing any more.
	tasks, err = f.host1.Tasks()
	f.must(err)
	for _, task := range tasks {
		if task.PID == frozen.PID && len(task.Args) > 0 && task.Args[0] != "" { // not a zombie
			t.Errorf("want the frozen one gone, got %v", task)
		}
	}
}

// keepalived is killed, however it has started berth: the last request is not
// later than a request on its way may be.
func TestDeathOfKeepalivedInEveryWayItWasStarted(t *testing.T) {
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
				// Its child is dead, and nobody asks how it ended: a zombie.
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

// keepalived's parent starts another VRRP process in place of one that died. What
// began under the former ends; the MASTER of the new one, which may be read before
// that, does not.
func TestRespawnedVRRPProcess(t *testing.T) {
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
			// For good: not by the last request of what ends.
			f.pass(time.Second, client[0])
			f.must(f.Assign(lab.IPv4a, f.host2))
			f.until("the floating IP to be claimed back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
		})
	}
}

// Two hundred instances in one file change hands at once, and the reader of the
// new owner is killed in the middle of it.
func TestManyInstancesAtOnce(t *testing.T) {
	t.Parallel()
	const n = 200
	f := newField(t)
	instances := func(priority int) []lab.Instance {
		var list []lab.Instance
		for i := range n {
			list = append(list, lab.Instance{Name: fmt.Sprintf("VI_%d", i), ID: i + 1, Priority: priority,
				Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8:f1::1:%x", i+1))}})
		}
		return list
	}
	first := netip.MustParseAddr("2001:db8:f1::1:1")
	settled := func(h *lab.Host) {
		t.Helper()
		f.until(fmt.Sprintf("%d instances to be MASTER on %s", n, h.Name), func() bool {
			for i := range n {
				in := f.status(h, fmt.Sprintf("VI_%d", i))
				if in.State != vrrp.Master || len(in.Addresses) != 1 || in.Addresses[0].Owner != "here" {
					return false
				}
			}
			return true
		})
	}
	const calm = "refresh-interval: 2s\nback-off: {initial-interval: 50ms, max-interval: 500ms}\n"
	f.configure(f.host1, lab.FIFO, calm, instances(150)...)
	f.configure(f.host2, lab.FIFO, calm, instances(100)...)
	client := f.client(first)
	k1 := f.keepalived(f.host1)
	settled(f.host1)
	f.standby(f.host2)
	f.pass(time.Second, client[0])
	stopped := time.Now()
	f.must(k1.Signal(unix.SIGTERM))
	f.until("host2 to be in the middle of it", func() bool {
		taken := 0
		for _, b := range f.Bindings() {
			if b.Host == f.host2 && b.Bound && b.Time.After(stopped) {
				taken++
			}
		}
		return taken >= n/4
	})
	f.restartBerth(f.host2)
	settled(f.host2)
	// It takes its time to take the addresses away, and writes STOP afterwards.
	<-k1.Done()
	f.silent(f.host1, k1.Exited(), client[0])
	f.served(f.host2, k1.Exited(), client...)
}

// The better host changes every 100 ms, faster than VRRP can follow.
func TestFlappingPriority(t *testing.T) {
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		flapping := instance4(100)
		flapping.Lines = "    track_file {\n        prio weight 1\n    }\n"
		f.configure(f.host1, mode, lab.Fast, flapping)
		conf, err := f.host1.ReadFile(lab.KeepalivedConf)
		f.must(err)
		f.must(f.host1.WriteFile(lab.KeepalivedConf, "vrrp_track_file prio {\n    file /run/prio\n}\n"+string(conf), 0o644))
		f.must(f.host1.WriteFile("/run/prio", "0\n", 0o644))
		f.configure(f.host2, mode, lab.Fast, instance4(150))
		client := f.client(lab.IPv4a)
		f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)
		f.keepalived(f.host2)
		f.served(f.host2, time.Now(), client...)
		prio := func(value string) {
			t.Helper()
			f.must(f.host1.Do(func() error { return os.WriteFile("/run/prio", []byte(value), 0o644) }))
		}
		moves := len(f.Bindings())
		for i := range rounds(40, 600) {
			prio([]string{"100\n", "0\n"}[i%2])
			if i%20 > 12 {
				prio("100\n") // for long enough that VRRP does follow
			}
			f.pass(100*time.Millisecond, client[0])
		}
		prio("100\n")
		f.bound(f.host1, lab.IPv4a, time.Time{})
		last := time.Now()
		f.until("host1 to hold what it won", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
		f.served(f.host1, last, client...)
		f.stays(lab.IPv4a, f.host1, 1500*time.Millisecond, client[0])
		if len(f.Bindings())-moves < 4 {
			t.Errorf("want the state to have changed more than once, got %v", f.Bindings())
		}
		for _, h := range f.Hosts {
			f.lawful(h, lab.IPv4a, client[0])
		}
	})
}

package e2e_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
	"berth/test/lab"
)

// dense makes berth ask often when the API fails.
const dense = `refresh-interval: 500ms
refresh-timeout: 500ms
back-off: {initial-interval: 10ms, multiplier: 1.1, max-interval: 20ms}
`

// host1 is MASTER and calls a failing API again and again. host2 comes and takes
// over by priority: what host1 had begun may arrive, but nothing new.
func TestNoRequestAfterDemotion(t *testing.T) {
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, dense, instance4(100))
		f.configure(f.host2, mode, dense, instance4(150))
		client := f.client(lab.IPv4a, lab.IPv4b)
		f.keepalived(f.host1)
		for range 4 {
			begin := time.Now()
			f.served(f.host1, begin, client...)
			f.asksAgainAndAgain(f.host1, f.host2, 6)

			better := f.keepalived(f.host2)
			demoted := f.unbound(f.host1, lab.IPv4a, begin)
			f.pass(2*late, client[0])
			f.heal()
			f.served(f.host2, demoted, client...)
			f.pass(500*time.Millisecond, client[0])
			f.silent(f.host1, demoted, client[0])
			f.must(better.Stop(f.context()))
		}
	})
}

// A claim hangs at the API when keepalived makes the host BACKUP: berth cancels the
// claim at once, and does not repeat it.
func TestDemotionEndsTheRequestOnItsWay(t *testing.T) {
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, "refresh-interval: 500ms\nrefresh-timeout: 10s\n", instance4(100))
		f.configure(f.host2, mode, lab.Fast, instance4(150))
		f.Sim.SetFaults(cloudsim.Faults{{Method: http.MethodPatch, Kind: cloudsim.HangBeforeHeaders}})
		client := f.client(lab.IPv4a)
		f.keepalived(f.host1)
		begin := f.bound(f.host1, lab.IPv4a, time.Time{})
		f.until("host1's claim", func() bool { return slices.ContainsFunc(f.Requests(f.host1, begin), isWrite) })

		f.Sim.SetFaults(nil)
		f.keepalived(f.host2)
		demoted := f.unbound(f.host1, lab.IPv4a, begin)
		f.served(f.host2, demoted, client...)
		f.pass(500*time.Millisecond, client[0])
		f.silent(f.host1, demoted, client[0])
		for _, r := range f.Requests(f.host1, begin) {
			if isWrite(r) && (r.Done.IsZero() || r.Done.Sub(demoted)-client[0].Stalled(demoted, r.Done) > late) {
				t.Errorf("want %s %s given up within %v of the demotion, got end %v after it", r.Method, r.Path, late, r.Done.Sub(demoted))
			}
		}
	})
}

func isWrite(r cloudsim.Request) bool { return r.Write }

// keepalived is killed before it can write an event. The addresses may stay on the
// interface, and the other host takes over; berth must make no more calls.
func TestKilledKeepalivedEndsTheHolding(t *testing.T) {
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, dense, equals(instance4(100)))
		f.configure(f.host2, mode, dense, equals(instance4(100)))
		client := f.client(lab.IPv4a, lab.IPv4b)
		owner, other := f.host1, f.host2
		f.keepalived(owner)
		f.served(owner, time.Now(), client...)

		for _, way := range []struct {
			name string
			kill func(t *testing.T, h *lab.Host, parent, child testnet.Task)
		}{
			{"parent", func(t *testing.T, h *lab.Host, parent, _ testnet.Task) {
				signal(t, h, parent, unix.SIGKILL)
			}},
			{"all", func(t *testing.T, h *lab.Host, parent, child testnet.Task) {
				signal(t, h, parent, unix.SIGSTOP) // else it would start a new child
				signal(t, h, child, unix.SIGKILL)
				signal(t, h, parent, unix.SIGKILL)
			}},
			{"VRRP child", func(t *testing.T, h *lab.Host, _, child testnet.Task) {
				signal(t, h, child, unix.SIGKILL) // the parent starts a new one
			}},
		} {
			ok := t.Run(way.name, func(t *testing.T) {
				f := &field{Lab: f.Lab, t: t}
				f.standby(other)
				parent, child, err := owner.Keepalived()
				f.must(err)
				if parent.PID == 0 || child.PID == 0 {
					t.Fatalf("want keepalived and its VRRP child on %s, got %v and %v", owner.Name, parent, child)
				}
				f.asksAgainAndAgain(owner, other, 6)
				way.kill(t, owner, parent, child)
				killed := time.Now()
				f.pass(2*late, client[0])
				f.heal()
				f.served(other, killed, client...)
				f.pass(500*time.Millisecond, client[0])
				f.silent(owner, killed, client[0])
				f.until("what is left of keepalived to end", func() bool {
					parent, child, err := owner.Keepalived()
					return err == nil && (parent.PID != 0 || child.PID == 0)
				})
				owner, other = other, owner
			})
			if !ok {
				return // the next case needs the end state of this one
			}
		}
	})
}

// The same in the first moments of keepalived's life: an instance of priority
// 255 is MASTER at once, before berth has looked for keepalived.
func TestKeepalivedKilledRightAfterItsStart(t *testing.T) {
	t.Parallel()
	f := newField(t)
	owner := instance4(255)
	owner.Lines = "    state MASTER\n"
	f.configure(f.host1, lab.FIFO, dense, owner)
	f.configure(f.host2, lab.FIFO, dense, instance4(100))
	client := f.client(lab.IPv4a, lab.IPv4b)
	f.keepalived(f.host2)
	f.served(f.host2, time.Now(), client...)

	began := time.Now()
	f.keepalived(f.host1)
	f.until("host1 to call the API", func() bool { return len(f.Requests(f.host1, began)) > 0 })
	parent, child, err := f.host1.Keepalived()
	f.must(err)
	signal(t, f.host1, parent, unix.SIGSTOP)
	signal(t, f.host1, child, unix.SIGKILL)
	signal(t, f.host1, parent, unix.SIGKILL)
	killed := time.Now()
	f.asksAgainAndAgain(f.host2, f.host1, 6)
	f.heal()
	f.served(f.host2, killed, client...)
	f.pass(time.Second, client[0])
	f.silent(f.host1, killed, client[0])
}

func signal(t *testing.T, h *lab.Host, task testnet.Task, sig unix.Signal) {
	t.Helper()
	if err := h.Signal(task.PID, sig); err != nil {
		t.Fatal(err)
	}
}

package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

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

	// An address that is removed from the interface is suspended until it is back; the
	// other address is still claimed. keepalived would put the address back if it were
	// not stopped.
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

// The FIFO is full, keepalived has dropped the newest lines, and the lines that are
// left tell of the opposite states.
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

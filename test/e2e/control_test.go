package e2e_test

import (
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/status"
	"berth/test/lab"
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

// lawful fails the test if a request of a host has reached the API later, after
// keepalived took the address from it, than a request that was on its way may take.
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

package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/testnet"
)

func TestLifetime(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name    string
		left    time.Duration // of the lease
		seconds int
		renewAt time.Duration // from now
	}{
		{"fresh lease of 5 s", 5 * time.Second, 3, 745 * time.Millisecond},
		{"renewed 2 ms ago", 4998 * time.Millisecond, 3, 743 * time.Millisecond},
		{"at the last moment of a whole second", 4250 * time.Millisecond, 3, -5 * time.Millisecond},
		{"just after it", 4249 * time.Millisecond, 2, 994 * time.Millisecond},
		{"one second left for the kernel", 2250 * time.Millisecond, 1, -5 * time.Millisecond},
		{"less than that", 2249 * time.Millisecond, 0, 0},
		{"the end has passed", -time.Hour, 0, 0},
		{"long lease", time.Hour, 3598, 745 * time.Millisecond},
	} {
		seconds, renewAt := lifetime(now.Add(tt.left), now)
		if seconds != tt.seconds {
			t.Errorf("%s: want %d s, got %d", tt.name, tt.seconds, seconds)
		}
		if tt.seconds > 0 && renewAt.Sub(now) != tt.renewAt || tt.seconds == 0 && !renewAt.IsZero() {
			t.Errorf("%s: want a renewal in %v, got %v", tt.name, tt.renewAt, renewAt.Sub(now))
		}
	}
}

// removalDelay rests on this measurement: if the process that bound an address does
// nothing any more, the kernel removes the address in time. BERTH_SOAK=1 measures 25
// rounds, in 100 s.
func TestTheKernelRemovesInTime(t *testing.T) {
	testnet.Require(t)
	rounds := 1
	if os.Getenv("BERTH_SOAK") == "1" {
		rounds = 25
	}
	late := map[string][]time.Duration{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, scene := range []struct {
		name  string
		every time.Duration // between renewals of another address beside it
	}{{"alone", 0}, {"another renewed every 100 ms", 100 * time.Millisecond}, {"another renewed every second", time.Second}} {
		bell := new(testnet.Bell)
		n := newNode(t, "host", bell)
		gone := make(chan change, 1000)
		must(t, n.WatchAddresses(func(e testnet.AddressEvent) {
			if !e.Added {
				gone <- change{e.Time, e.Address, e.Added}
			}
		}))
		var k, other kernel
		must(t, n.Do(func() (err error) {
			if k, err = openKernel("lo"); err == nil {
				other, err = openKernel("lo")
			}
			return err
		}))
		l, _, err := k.state(true)
		must(t, err)
		stop := make(chan struct{})
		var beside sync.WaitGroup
		if scene.every > 0 {
			beside.Go(func() {
				for tick := time.NewTicker(scene.every); ; {
					select {
					case <-stop:
						return
					case <-tick.C:
						if err := errors.Join(other.bind(l, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")}, 5)...); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Go(func() {
			defer func() {
				close(stop)
				beside.Wait()
				k.Close()
				other.Close()
			}()
			for round := range rounds {
				due := map[netip.Prefix]time.Time{}
				for seconds := 1; seconds <= 3; seconds++ {
					addrs := []netip.Prefix{
						netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/32", seconds)),
						netip.MustParsePrefix(fmt.Sprintf("2001:db8::1:%d/128", seconds)),
					}
					if err := errors.Join(k.bind(l, addrs, seconds)...); err != nil {
						t.Error(err)
						return
					}
					for _, p := range addrs {
						due[p] = time.Now().Add(time.Duration(seconds) * time.Second)
					}
				}
				for len(due) > 0 {
					select {
					case c := <-gone:
						if due[c.prefix].IsZero() {
							// Observed once on a busy host: the kernel removes what is being
							// renewed. A running process binds it again.
							t.Logf("%s, round %d: %v was removed while it was being renewed", scene.name, round, c.prefix)
							continue
						}
						by := c.at.Sub(due[c.prefix])
						if by > removalDelay || by < -removalLead {
							t.Errorf("%s, round %d: %v was removed %v after its time", scene.name, round, c.prefix, by)
						}
						key := scene.name + ", IPv4"
						if c.prefix.Addr().Is6() {
							key = scene.name + ", IPv6"
						}
						mu.Lock()
						late[key] = append(late[key], by)
						mu.Unlock()
						delete(due, c.prefix)
					case <-time.After(10 * time.Second):
						t.Errorf("%s, round %d: want all of %v gone", scene.name, round, due)
						return
					}
				}
				// Rounds begin at any phase of the kernel's clock.
				time.Sleep(time.Duration(round*137%1000) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	for name, all := range late {
		slices.Sort(all)
		t.Logf("%s: late by %v to %v, median %v, of %d", name, all[0], all[len(all)-1], all[len(all)/2], len(all))
	}
}

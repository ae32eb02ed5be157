package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/test/lab"
)

// The API fails while a host takes over, goes on failing for longer than any
// back-off, and comes back. The new owner must not have given up.
func TestTakeoverDuringAPITrouble(t *testing.T) {
	t.Parallel()
	// The back-off of lab.Fast with its jitter, and then perhaps a bad habit of the API:
	// an answer that takes a second, or a Retry-After of one.
	const recovery = 500*time.Millisecond*3/2 + 500*time.Millisecond + 2*time.Second
	all := func(f cloudsim.Fault) cloudsim.Faults { return cloudsim.Faults{f} }

	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.configure(f.host1, mode, lab.Fast, equals(instance4(100)))
		f.configure(f.host2, mode, lab.Fast, equals(instance4(100)))
		client := f.client(lab.IPv4a, lab.IPv4b)
		owner, other := f.host1, f.host2
		running := f.keepalived(owner)
		f.served(owner, time.Now(), client...)

		for _, trouble := range []struct {
			name   string
			faults cloudsim.Faults
		}{
			{"500", all(cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusInternalServerError})},
			{"429 with Retry-After", all(cloudsim.Fault{Kind: cloudsim.Status, Status: http.StatusTooManyRequests, RetryAfter: "1"})},
			{"hanging", all(cloudsim.Fault{Kind: cloudsim.HangBeforeHeaders})},
			{"garbage", all(cloudsim.Fault{Kind: cloudsim.Garbage})},
			{"HTML 502", all(cloudsim.Fault{Kind: cloudsim.HTML})},
			{"connection refused", nil},
		} {
			ok := t.Run(trouble.name, func(t *testing.T) {
				f := &field{Lab: f.Lab, t: t}
				next := f.standby(other)
				if trouble.faults != nil {
					f.Sim.SetFaults(trouble.faults)
				} else {
					f.must(f.API.Down())
				}
				begin := time.Now()
				f.must(running.Stop(f.context()))
				f.bound(other, lab.IPv4a, begin)
				f.pass(1500*time.Millisecond, client[0])
				if trouble.faults != nil {
					if asked := f.Requests(other, begin); len(asked) < 2 {
						t.Errorf("want %s to try again and again, got %v", other.Name, asked)
					}
				}
				if holder := f.Holder(lab.IPv4a); holder != owner {
					t.Fatalf("want nothing moved while the API fails, got holder %s", holder.Name)
				}

				healed := time.Now()
				f.Sim.SetFaults(nil)
				f.must(f.API.Up())
				served := f.served(other, healed, client...)
				if got := served.Sub(healed) - client[0].Stalled(healed, served); got > recovery {
					t.Errorf("want service within %v after the API is back, got %v", recovery, got)
				}
				running, owner, other = next, other, owner
			})
			if !ok {
				return // the next case needs the end state of this one
			}
		}
	})
}

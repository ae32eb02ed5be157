package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/refresher"
	"berth/vrrp"
)

// policy is the one that the configuration has by default.
var policy = refresher.Policy{Interval: time.Minute, Timeout: 10 * time.Second,
	InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}

// hold does what a host that is MASTER does for the addresses, until the returned
// function is called.
func (w *world) hold(addrs ...netip.Addr) (stop func()) {
	ctx, cancel := context.WithCancelCause(w.Context())
	account := providers.NewAccount(w.Name, w.provider)
	var wg sync.WaitGroup
	wg.Go(func() { account.Run(ctx) })
	pace, gate := &refresher.Pace{Interval: policy.Interval}, &refresher.Gate{}
	for _, a := range addrs {
		target := account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, a.BitLen())}, Permit)
		loop := &refresher.Loop{Target: target, Policy: policy, Pace: pace, Gate: gate}
		wg.Go(func() {
			defer target.Close()
			loop.Run(ctx)
		})
	}
	return func() {
		cancel(errors.New("demoted"))
		wg.Wait()
	}
}

// await waits, in virtual time, until this host alone has the addresses, and
// returns how long that took. It fails the test if it takes too long.
func (w *world) await(atMost time.Duration, addrs ...netip.Addr) time.Duration {
	w.Helper()
	start := time.Now()
	for _, a := range addrs {
		for w.holder(a) != w.Mine {
			if time.Since(start) > atMost {
				w.Errorf("%s: not here within %s, but with %q", a, atMost, w.holder(a))
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return time.Since(start)
}

// outage is how long a cloud is down from the moment of a takeover.
const outage = 18 * time.Second

// outages plays a takeover while the cloud is down, in each of several ways.
func (c Cloud) outages(t *testing.T) {
	for _, down := range []struct {
		name  string
		fault cloudsim.Fault
	}{
		{"server error", cloudsim.Fault{Kind: cloudsim.Status, Status: 503}},
		{"rate limit", cloudsim.Fault{Kind: cloudsim.Status, Status: 429, RetryAfter: "3"}},
		{"page of a proxy", cloudsim.Fault{Kind: cloudsim.HTML}},
		{"dropped connections", cloudsim.Fault{Kind: cloudsim.Drop}},
		{"no answers", cloudsim.Fault{Kind: cloudsim.HangBeforeHeaders}},
		{"answers without an end", cloudsim.Fault{Kind: cloudsim.HangAfterHeaders, Method: "GET"}},
		{"cut answers and lost responses", cloudsim.Fault{Kind: cloudsim.LostResponse}},
	} {
		for _, cold := range []bool{false, true} {
			name := fmt.Sprintf("takeover while the cloud is down/%s/cold %v", down.name, cold)
			c.inProcess(t, name, func(w *world) {
				if !cold {
					w.warm()
				}
				down.fault.Until = time.Now().Add(outage)
				w.sim.SetFaults(cloudsim.Faults{down.fault})
				stop := w.hold(w.Addr, w.Inside[0])
				defer stop()
				time.Sleep(outage)
				w.Logf("here %s after the cloud was back", w.await(policy.MaxInterval*3/2, w.Addr, w.Inside[0]))
			})
		}
	}
	c.inProcess(t, "Retry-After of one call slows all addresses, and all go on in time", func(w *world) {
		w.warm()
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 429, RetryAfter: "5", Count: 1}})
		start := time.Now()
		stop := w.hold(w.Addr)
		defer stop()
		time.Sleep(time.Second)
		stopOther := w.hold(w.Inside[0])
		defer stopOther()
		time.Sleep(3900 * time.Millisecond)
		w.wantCalls(1)
		w.await(time.Until(start.Add(6*time.Second)), w.Addr, w.Inside[0])
	})
	c.inProcess(t, "a host that is not MASTER makes no calls", func(w *world) {
		w.warm()
		stop := w.hold(w.Addr)
		time.Sleep(time.Minute)
		stop()
		w.sim.ClearHistory()
		time.Sleep(3 * time.Hour)
		w.wantCalls(0)
	})
}

// unfriendly holds addresses for a while at a cloud that has all bad habits that the
// simulator knows.
func (c Cloud) unfriendly(t *testing.T) {
	for seed := range uint64(8) {
		c := c
		account := c.Account
		c.Account = func() cloudsim.Config {
			a := account()
			a.Unfriendly, a.Seed, a.OperationTime = true, seed+1, c.SlowOperations
			return a
		}
		c.inProcess(t, fmt.Sprintf("an unfriendly cloud/seed %d", seed+1), func(w *world) {
			stop := w.hold(w.Addr, w.Inside[0])
			defer stop()
			w.await(time.Minute, w.Addr, w.Inside[0])
			if err := w.sim.Give(w.Addr, w.Peer); err != nil {
				w.Fatal(err)
			}
			w.await(3*time.Minute, w.Addr)
		})
	}
}

package app

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
)

func TestTheFirstCallOfATakeoverIsTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.stop()
		w.sim.ClearHistory() // what start-up looked up
		w.send(vrrp.Backup, "VI_0", "VI_1")
		time.Sleep(time.Hour)
		if got := w.calls(); len(got) != 0 {
			t.Errorf("an hour as BACKUP made calls: %v", got)
		}
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Second)
		want := []string{"PATCH /v1/floating-ips/192.0.2.0", "GET /v1/floating-ips"}
		if diff := cmp.Diff(want, w.calls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if w.holder(0) != me || w.holder(1) != rival {
			t.Errorf("holders %s, %s; want the first here and the second left alone", w.holder(0), w.holder(1))
		}
	})
}

func TestAQuietMinuteCostsOneCallForAllAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 60
		w := newWorld(t, n, "")
		defer w.stop()
		for i := range n { // one after the other, as VRRP timers fire
			w.send(vrrp.Master, fmt.Sprintf("VI_%d", i))
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute) // settled
		w.sim.ClearHistory()
		time.Sleep(time.Hour)
		got := w.calls()
		// 60 intervals of a minute, give or take ten per cent.
		if len(got) < 55 || len(got) > 67 || count(got, "GET /v1/floating-ips") != len(got) {
			t.Errorf("%d calls in a quiet hour for %d addresses, want about 60 lists and nothing else", len(got), n)
		}
	})
}

func TestTakeoverRecoversFromEveryKindOfTrouble(t *testing.T) {
	const outage = 18 * time.Second
	for name, f := range map[string]cloudsim.Fault{
		"500":                      {Kind: cloudsim.Status, Status: 500},
		"503 with HTML":            {Kind: cloudsim.Status, Status: 503, Form: cloudsim.FormHTML},
		"429 with Retry-After":     {Kind: cloudsim.Status, Status: 429, RetryAfter: "3"},
		"401":                      {Kind: cloudsim.Status, Status: 401},
		"403":                      {Kind: cloudsim.Status, Status: 403},
		"404":                      {Kind: cloudsim.Status, Status: 404},
		"400":                      {Kind: cloudsim.Status, Status: 400},
		"hangs before the headers": {Kind: cloudsim.HangBeforeHeaders},
		"hangs within the body":    {Kind: cloudsim.HangAfterHeaders},
		"connection refused":       {Kind: cloudsim.Drop},
		"garbage":                  {Kind: cloudsim.Garbage},
		"empty body":               {Kind: cloudsim.EmptyBody},
		"HTML 502":                 {Kind: cloudsim.HTML},
		"cut body":                 {Kind: cloudsim.CutBody},
		"redirect":                 {Kind: cloudsim.Redirect},
		"response lost":            {Kind: cloudsim.LostResponse},
		"accepted, not done":       {Kind: cloudsim.AcceptedOnly},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, "")
				defer w.stop()
				f.Until = time.Now().Add(outage)
				w.sim.SetFaults(cloudsim.Faults{f})
				w.send(vrrp.Master, "VI_0")
				// Back-off of 10 s with half of it as jitter, and a hung
				// attempt that ends at the refresh timeout.
				const limit = 15*time.Second + 10*time.Second
				time.Sleep(outage + limit)
				if w.holder(0) != me {
					t.Fatalf("%v after the end of the trouble the floating IP is at %s", limit, w.holder(0))
				}
				for _, e := range w.logs.All() {
					if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, token) {
						t.Errorf("the token is in the log: %s", text)
					}
				}
			})
		})
	}
}

func TestNoRequestStartsAfterADemotionWasRead(t *testing.T) {
	for name, f := range map[string]cloudsim.Faults{
		"while the API hangs":   {{Kind: cloudsim.HangBeforeHeaders}},
		"while the API fails":   {{Kind: cloudsim.Status, Status: 500}},
		"while the API is slow": {{Kind: cloudsim.Slow, Latency: 3 * time.Second}},
		"while all is well":     nil,
	} {
		for _, state := range []vrrp.State{vrrp.Backup, vrrp.Fault, vrrp.Stop, vrrp.Deleted} {
			t.Run(name+", "+state.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 20, "")
					defer w.stop()
					var all []string
					for i := range 20 {
						all = append(all, fmt.Sprintf("VI_%d", i))
					}
					w.sim.SetFaults(f)
					w.send(vrrp.Master, all...)
					time.Sleep(1700 * time.Millisecond)
					w.send(state, all...)
					demoted := time.Now()
					synctest.Wait()
					time.Sleep(time.Hour)
					for _, r := range w.sim.History() {
						if r.Time.After(demoted) {
							t.Errorf("%s %s started %v after the demotion", r.Method, r.Path, r.Time.Sub(demoted))
						}
					}
				})
			})
		}
	}
}

func TestEventsWhileTheAPIHangsPileUpNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.stop()
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.HangBeforeHeaders, Until: time.Now().Add(30 * time.Second)}})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 5000 { // two lines each, 30 seconds in all
			w.send([]vrrp.State{vrrp.Backup, vrrp.Master}[i%2], "VI_0", "VI_1")
			time.Sleep(6 * time.Millisecond)
		}
		w.logs.TakeAll() // the test's own memory
		w.sim.ClearHistory()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("memory grew by %d bytes", grown)
		}
		w.send(vrrp.Backup, "VI_1")
		time.Sleep(time.Minute)
		if w.holder(0) != me || w.holder(1) != rival {
			t.Errorf("holders %s, %s; want the one that was MASTER at last here, and the other left alone", w.holder(0), w.holder(1))
		}
	})
}

func TestABurstOfAThousandIsClaimedAtOnceAndReadBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		w := newWorld(t, n, "")
		defer w.stop()
		w.sim.ClearHistory()
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("VI_%d", i))
		}
		w.send(vrrp.Master, all...)
		time.Sleep(200 * time.Millisecond)
		for i := range n {
			if w.holder(i) != me {
				t.Fatalf("after 200 ms %s is not here", ipOf(i))
			}
		}
		got := w.calls()
		if p, g := count(got, "PATCH"), count(got, "GET"); p != n || g > 2 {
			t.Errorf("%d claims and %d looks, want %d and 2 at most", p, g, n)
		}
	})
}

func TestAnAddressAddedToTheFileIsClaimedAndARemovedOneLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.stop()
		one := func(ips string) string {
			return "vrrp_instance VI_0 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n" + ips + "\n}\n}\n"
		}
		w.write(t, "keepalived.conf", one("192.0.2.0/24"))
		time.Sleep(2 * time.Second)
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Second)
		w.write(t, "keepalived.conf", one("192.0.2.0/24\n192.0.2.1/24\n"))
		time.Sleep(2 * time.Second)
		if w.holder(1) != me {
			t.Fatal("an address that was added to the file is not here")
		}
		w.write(t, "keepalived.conf", one("192.0.2.1/24"))
		time.Sleep(2 * time.Second)
		if err := w.sim.Assign(netip.PrefixFrom(ipOf(0), 32), rival); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(w.dir, "keepalived.conf")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := w.sim.Assign(netip.PrefixFrom(ipOf(1), 32), rival); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if w.holder(0) != rival {
			t.Error("an address that was removed from the file was claimed back")
		}
		if w.holder(1) != me {
			t.Error("the last good reading did not go on when the file went")
		}
	})
}

func TestTheFileIsReadOncePerChangeAndNotPerEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "")
		defer w.stop()
		events := func() {
			for range 100 {
				w.send(vrrp.Master, "VI_0", "VI_1")
				time.Sleep(time.Minute)
				w.send(vrrp.Backup, "VI_0", "VI_1")
				synctest.Wait()
			}
		}
		reads := func() int {
			return w.logs.FilterMessage("keepalived's configuration was read; `berth show` lists its warnings").Len()
		}
		events()
		if n := reads(); n != 1 {
			t.Errorf("200 events caused %d readings, want 1", n)
		}
		w.write(t, "keepalived.conf", "vrrp_instance VI_0 {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.0/24\n }\n}\n")
		events()
		if n := reads(); n != 2 {
			t.Errorf("%d readings after a change of the file, want 2", n)
		}
	})
}

func TestAFileThatKeepalivedWouldRefuseIsActedOnWithOneError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		// There is no virtual_router_id.
		w.write(t, "keepalived.conf", "vrrp_instance VI_0 {\n interface eth0\n virtual_ipaddress {\n 192.0.2.0/24\n }\n}\n")
		time.Sleep(2 * time.Second)
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Hour)
		if w.holder(0) != me {
			t.Error("the floating IP is not here")
		}
		said := w.logs.FilterMessage("keepalived's configuration is unfinished or would be refused").All()
		if len(said) != 1 || said[0].Level != zapcore.ErrorLevel || !strings.Contains(fmt.Sprint(said[0].ContextMap()["error"]), "virtual_router_id") ||
			said[0].ContextMap()["in_force"] != "the last good reading" {
			t.Errorf("want one error with the reason, got %v", said)
		}
	})
}

func TestAnAddressThatIsNoFloatingIPIsReportedOnceAndDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "managed-addresses: [10.0.0.1/8, 192.0.2.0/24]")
		defer w.stop()
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Second)
		if w.holder(0) != me {
			t.Error("the good address waits for the bad one")
		}
		time.Sleep(time.Hour)
		if n := w.logs.FilterLevelExact(zapcore.WarnLevel).FilterMessage("address is left alone: not a floating IP of the account").Len(); n != 1 {
			t.Errorf("reported %d times, want once", n)
		}
		if n := count(w.calls(), "PATCH /v1/floating-ips/10.0.0.1"); n != 0 {
			t.Errorf("%d claims for an address that is no floating IP", n)
		}
	})
}

func TestAnUnknownInstanceIsTriedAgainUntilTheFileHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		w.send(vrrp.Master, "VI_NEW")
		time.Sleep(time.Minute)
		if n := w.logs.FilterLevelExact(zapcore.ErrorLevel).FilterMessage("cannot tell the addresses of the instance yet; trying again").Len(); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		w.write(t, "keepalived.conf", "vrrp_instance VI_NEW {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.0/24\n }\n}\n")
		time.Sleep(20 * time.Second)
		if w.holder(0) != me {
			t.Error("not claimed after the file had the instance")
		}
	})
}

func TestALockThatCannotBeUsedIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		// A directory where the lock file should be.
		if err := os.Mkdir(filepath.Join(w.dir, "lock-VI_0"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Second)
		if w.holder(0) != me {
			t.Error("the floating IP is not here")
		}
		if n := w.logs.FilterMessage("cannot lock the instance; acting without the lock").Len(); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		w.send(vrrp.Backup, "VI_0")
		synctest.Wait()
	})
}

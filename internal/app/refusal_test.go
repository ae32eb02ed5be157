package app

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestAnEmptyListOrARefusalOnceCostsNoRefreshInterval(t *testing.T) {
	for name, f := range map[string]cloudsim.Fault{
		"401":           {Kind: cloudsim.Status, Status: 401},
		"403":           {Kind: cloudsim.Status, Status: 403},
		"404":           {Kind: cloudsim.Status, Status: 404},
		"400":           {Kind: cloudsim.Status, Status: 400},
		"an empty list": {Kind: cloudsim.Status, Status: 200, Body: "[]", Method: "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.Count = 1
				w := newWorld(t, 1, "")
				defer w.stop()
				w.sim.SetFaults(cloudsim.Faults{f})
				w.send(vrrp.Master, "VI_0")
				time.Sleep(3 * time.Second)
				if w.holder(0) != me {
					t.Errorf("the floating IP is at %s 3 s after the takeover", w.holder(0))
				}
				if n := w.logs.FilterLevelExact(zapcore.WarnLevel).FilterMessage("address is left alone: not a floating IP of the account").Len(); n != 0 {
					t.Error("an address of the account was left alone")
				}
			})
		})
	}
}

func TestARefusedAccountOfTwoHundredInstancesIsTriedByOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, until = 200, 100 * time.Second
		w := newWorld(t, n, "")
		defer w.stop()
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 401, Until: time.Now().Add(until)}})
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("VI_%d", i))
		}
		w.send(vrrp.Master, all...)
		time.Sleep(time.Second / 4)
		w.sim.ClearHistory() // the claims that were out before the first answer
		time.Sleep(until / 2)
		w.send(vrrp.Backup, all[:n/2]...) // among them, perhaps, the one that tries
		time.Sleep(until/2 - time.Second/4)
		if got := w.calls(); len(got) < 15 || len(got) > 45 {
			t.Errorf("%d requests while the account was refused, want those of one address", len(got))
		}
		time.Sleep(20 * time.Second)
		for i := n / 2; i < n; i++ {
			if w.holder(i) != me {
				t.Fatalf("floating IP %d is at %s, 20 s after the account was restored", i, w.holder(i))
			}
		}
	})
}

func TestARivalThatIsQuickerThanALookIsContested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 100 * time.Millisecond}})
		fight := time.Now().Add(10 * time.Minute)
		done := make(chan struct{})
		go func() { // claims back what we claim, 50 ms later
			defer close(done)
			for time.Now().Before(fight) {
				if w.holder(0) == me {
					time.Sleep(50 * time.Millisecond)
					if err := w.sim.Give(ipOf(0), rival); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		w.send(vrrp.Master, "VI_0")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		const series = `berth_contested{instance="VI_0",address="192.0.2.0/24"} `
		if got := w.series(t, "berth_contested"); !slices.Equal(got, []string{series + "1"}) {
			t.Errorf("after 30 s: %v, want the address to be contested", got)
		}
		said := w.logs.FilterLevelExact(zapcore.ErrorLevel).FilterField(zap.String("owner", rival)).Len()
		if said == 0 {
			t.Error("no ERROR names the other host")
		}
		<-done
		if n := count(w.calls(), "PATCH"); n > 25 {
			t.Errorf("%d claims in ten contested minutes, want them to back off", n)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := w.series(t, "berth_contested"); w.holder(0) != me || !slices.Equal(got, []string{series + "0"}) {
			t.Errorf("after the fight: at %s, %v; want it here and not contested", w.holder(0), got)
		}
	})
}

// firing returns the addresses for which the alert of the README fires.
func (w *world) firing(t *testing.T) (addresses []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	alert := regexp.MustCompile(`(?m)^  expr: time\(\) - (\w+) > (\d+) unless (\w+) == 1$`).FindStringSubmatch(string(text))
	if alert == nil {
		t.Fatal("README.md has no alert that this test can read")
	}
	value := regexp.MustCompile(`address="([^"]*)"} (.*)$`)
	excepted := map[string]bool{}
	for _, line := range w.series(t, alert[3]) {
		m := value.FindStringSubmatch(line)
		excepted[m[1]] = m[2] == "1"
	}
	limit, _ := strconv.ParseFloat(alert[2], 64)
	for _, line := range w.series(t, alert[1]) {
		m := value.FindStringSubmatch(line)
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if float64(time.Now().UnixMilli())/1000-at > limit && !excepted[m[1]] {
			addresses = append(addresses, m[1])
		}
	}
	return addresses
}

func TestTheREADMEsAlertIsForAddressesThatAreNotHereAndNotForInternalOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "managed-addresses: [10.0.0.1/8, 192.0.2.0/24]")
		defer w.stop()
		w.send(vrrp.Master, "VI_0")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.firing(t); len(got) != 0 {
			t.Errorf("fires for %v on a quiet day", got)
		}
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Until: time.Now().Add(10 * time.Minute)}})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := w.firing(t); !slices.Equal(got, []string{"192.0.2.0/24"}) {
			t.Errorf("fires for %v while the API is away, want the floating IP alone", got)
		}
		time.Sleep(10 * time.Minute)
		// A floating IP that was here and is none of the account any more.
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 200, Body: "[]", Method: "GET"}})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := w.firing(t); !slices.Equal(got, []string{"192.0.2.0/24"}) {
			t.Errorf("fires for %v when a floating IP has gone from the account, want that", got)
		}
	})
}

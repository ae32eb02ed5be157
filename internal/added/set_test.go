package added_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/added"
	"berth/ips"
)

func TestAKeyGivesItsAddressToOneOfTheMembersThatHaveIt(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.put("lb10", "10.0.0.1", `{"ip":"10.0.0.1/32"}`)
		e.put("lb10", "2001:db8::1", "")
		synctest.Wait()
		if got := e.has("10.0.0.1"); got != "lb1" {
			t.Errorf("want 10.0.0.1 on lb1, got %q", got)
		}
		if got := e.has("2001:db8::1"); got != "lb10" {
			t.Errorf("want 2001:db8::1 on lb10, got %q", got)
		}
		if got := a.List(); len(got) != 1 || got[0].ID != "vip-10.0.0.1" || got[0].Status != ips.Activated || got[0].Owner != "lb1" {
			t.Errorf("want one address, which lb1 has, got %+v", got)
		}
		if got := b.List(); len(got) != 2 || got[0].Status != ips.Standby || got[0].Owner != "lb1" || got[1].Status != ips.Activated {
			t.Errorf("want two addresses, got %+v", got)
		}
		// On the board each address is an instance, until it is removed.
		if all := a.board.Snapshot(); len(all) != 1 || all[0].Instance != "10.0.0.1" || len(all[0].Addresses) != 1 {
			t.Errorf("want the address on the board, got %+v", all)
		}
		e.del("lb1", "10.0.0.1")
		synctest.Wait()
		if got := e.has("10.0.0.1"); got != "lb10" {
			t.Errorf("want the address on lb10 after its removal from lb1, got %q", got)
		}
		if all := a.board.Snapshot(); len(all) != 0 || len(a.List()) != 0 {
			t.Errorf("want nothing left of the address, got %+v and %+v", all, a.List())
		}
	})
}

func TestKeysAndValuesWithoutEffectAreToldOnce(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		for name, value := range map[string]string{
			"10.0.0.1":        "yes please",
			"10.0.0.2":        `{"ip":"10.0.0.3/32"}`,
			"10.0.0.3":        `{"ip":"10.0.0.3/32","checks":[{"type":"HTTP","host":"h","port":1}]}`,
			"10.0.0.4":        " \n",
			"10.0.0.5":        `{"ip":"10.0.0.5/24","from":"a later berth"}`,
			"web":             "",
			"127.0.0.1":       "",
			"2001:DB8::2":     "",
			"10.0.0.9/24":     "",
			"fe80::1%eth0":    "",
			"255.255.255.255": "",
		} {
			e.put("lb1", name, value)
		}
		synctest.Wait()
		var list []string
		for _, i := range a.List() {
			list = append(list, i.IP)
		}
		if want := "10.0.0.1/32 10.0.0.2/32 10.0.0.3/32 10.0.0.4/32 10.0.0.5/24"; strings.Join(list, " ") != want {
			t.Errorf("want %s, got %v", want, list)
		}
		e.put("lb1", "10.0.0.6", "")
		synctest.Wait()
		told := map[string]int{}
		for _, l := range a.lines("ip-key-foreign") {
			told[strings.Fields(l)[0]]++
		}
		want := []string{"key=10.0.0.1", "key=10.0.0.2", "key=10.0.0.3", "key=web", "key=127.0.0.1", "key=2001:DB8::2", "key=10.0.0.9/24", "key=fe80::1%eth0", "key=255.255.255.255"}
		for _, key := range want {
			if told[key] != 1 {
				t.Errorf("%s: want one line, got %d", key, told[key])
			}
		}
		if len(told) != len(want) {
			t.Errorf("want lines about %d keys, got %v", len(want), told)
		}
	})
}

func TestAnAddressOfTheConfigurationIsNotServedAsAnAddedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		h := e.start("lb1", func(o *added.Options, _ *host) {
			o.Taken = map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "election.instances: web"}
		})
		defer h.stop(errStop)
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		if e.has("10.0.0.1") != "" || len(h.lines("ip-taken")) != 1 {
			t.Errorf("want the address unbound and one line, got %q and %q", e.has("10.0.0.1"), h.lines("ip-taken"))
		}
		if got, err := h.Get("10.0.0.1"); err != nil || got.Status != ips.Booting || !strings.Contains(got.Reason, "election.instances: web") {
			t.Errorf("want the place in the reason, got %+v, %v", got, err)
		}
		if err := h.Remove(t.Context(), "10.0.0.1"); err != nil || len(h.List()) != 0 {
			t.Errorf("want the address removed, got %v", err)
		}
	})
}

func TestAnotherPrefixLengthIsBoundAfterTheFormerOne(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.put("lb1", "10.0.0.1", `{"ip":"10.0.0.1/24"}`)
		synctest.Wait()
		if got, _ := a.Get("10.0.0.1"); got.IP != "10.0.0.1/24" || got.Status != ips.Activated || e.moves != 2 {
			t.Errorf("want the address bound anew, got %+v after %d bindings", got, e.moves)
		}
	})
}

func TestAnAddressThatTheInterfaceRefusesIsNotCampaignedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		address := netip.MustParseAddr("10.0.0.1")
		h := e.start("lb1", func(_ *added.Options, h *host) { h.unmanaged = map[netip.Addr]bool{address: true} })
		defer h.stop(errStop)
		e.put("lb1", "10.0.0.1", "")
		e.put("lb1", "10.0.0.2", "")
		synctest.Wait()
		if got, _ := h.Get("10.0.0.1"); got.Status != ips.Failing || !strings.Contains(got.Reason, "promote_secondaries") {
			t.Errorf("want the refusal as the reason, got %+v", got)
		}
		if e.has("10.0.0.1") != "" || e.has("10.0.0.2") != "lb1" || len(h.lines("ips-unusable")) != 1 {
			t.Errorf("want the other address alone, and one line, got %q", h.lines("ips-unusable"))
		}
		e.mu.Lock()
		h.unmanaged = nil
		e.mu.Unlock()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if e.has("10.0.0.1") != "lb1" {
			t.Error("want the address bound after the cure")
		}
	})
}

// A member has a thousand addresses; a start, a check that falls and a stop concern all.
func TestAThousandAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		h := e.start("lb1", nil)
		e.change(func() {})
		for i := range added.MaxAddresses {
			e.put("lb1", fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), fmt.Sprintf(`{"ip":"10.1.%d.%d/32","checks":[{"type":"TCP","host":"::1","port":80}]}`, i/250, i%250+1))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		count := func() int {
			e.mu.Lock()
			defer e.mu.Unlock()
			return len(e.bound)
		}
		if got := count(); got != added.MaxAddresses {
			t.Errorf("want all addresses bound, got %d", got)
		}
		if runs := h.services.runs["[::1]:80"]; runs > 10 {
			t.Errorf("want one run of the check for all addresses, got %d runs in 5 s", runs)
		}
		if _, err := h.Add(t.Context(), ips.Spec{IP: "10.9.9.9"}); err == nil || !strings.Contains(err.Error(), "1000 addresses") {
			t.Errorf("want a conflict, got %v", err)
		}
		h.services.set("[::1]:80", false)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if got := count(); got != 0 {
			t.Errorf("want no address bound while the check fails, got %d", got)
		}
		h.services.set("[::1]:80", true)
		time.Sleep(5 * time.Second)
		h.stop(errStop)
		if got := count(); got != 0 || len(e.queue["10.1.0.1"]) != 0 {
			t.Errorf("want every address given up, got %d", got)
		}
	})
}

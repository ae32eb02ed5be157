package page_test

import (
	"strings"
	"testing"

	"berth/internal/cluster"
)

func TestTakeOverBehindALogin(t *testing.T) {
	t.Parallel()
	c := newCluster(threeMembers(t))
	s := serve(t, c)
	s.protect("operator", "correct horse")
	s.onFailover(func(what string) error {
		c.move(strings.TrimPrefix(what, "vip-"), "node2")
		return nil
	})
	p := newTab(t)
	p.login("operator", "correct horse")
	p.open(s.url())
	p.loaded()
	p.click("#rows tr:nth-child(3) .take")
	p.wait(`document.querySelector("#takeover").open`)
	wantText(t, "dialog", p.text("#takeover"), "Take over 192.0.2.21/32?", "Address 192.0.2.21/32", "Instance 192.0.2.21 (added at run time)",
		"Present owner node3", "New owner node2 (this host)", "node3 unbinds the address, and then node2 binds it. Connections to the present owner break.")
	p.click("#takeover-cancel")
	p.wait(`!document.querySelector("#takeover").open`)
	if got := s.asked(); got != "" {
		t.Fatalf("want no request after Cancel, got %s", got)
	}
	p.click("#rows tr:nth-child(3) .take")
	p.click("#takeover-confirm")
	p.waitText("#takeover-result", "● Done: node2 has taken over.")
	if got := s.asked(); got != "vip-192.0.2.21" {
		t.Errorf("want one fail-over of vip-192.0.2.21, got %q", got)
	}
	p.wait(`performance.getEntriesByType("resource").some((e) => e.name.endsWith("/failover?to=node2"))`) // the new owner
	p.click("#takeover-cancel")
	p.waitText("#rows tr:nth-child(3)", "node2 this host")
	if got := eval[int](p, `document.querySelectorAll(".take").length`); got != 0 {
		t.Errorf("want no button where this host is the owner, got %d", got)
	}
}

// An instance moves with all of its addresses, and the dialog names them all. The owner
// that it names is that of now.
func TestTakeOverOfAnInstanceNamesAllItsAddresses(t *testing.T) {
	t.Parallel()
	v := threeMembers(t)
	for _, i := range []int{0, 6} {
		v.Addresses[i].Owner, v.Addresses[i].CanFailover = "node3", true
	}
	c := newCluster(v)
	s := serve(t, c)
	s.onFailover(func(string) error { return nil })
	p := openPage(t, s.url())
	p.click("#rows tr:nth-child(1) .take")
	wantText(t, "dialog", p.text("#takeover"), "Take over api?", "Addresses 192.0.2.10/32 2001:db8::10/128", "Instance api", "node3 unbinds all of them")
	c.change(func(v *cluster.View) {
		for _, i := range []int{0, 6} {
			v.Addresses[i].Owner = ""
		}
	})
	p.waitText("#takeover", "Present owner nobody")
	wantText(t, "dialog", p.text("#takeover"), "node2 binds all of them.")
	p.click("#takeover-confirm")
	p.waitText("#takeover-result", "Done")
	if got := s.asked(); got != "api" {
		t.Errorf("want one fail-over of the instance api, got %q", got)
	}
	p.click("#takeover-cancel")
	p.click("#rows tr:nth-child(1) .take")
	c.move("api", "node2")
	p.waitText("#takeover", "This host has become the owner in the meantime.")
	if !eval[bool](p, `document.querySelector("#takeover-confirm").disabled`) {
		t.Error("want no confirmation for what has happened already")
	}
}

func TestTakeOverThatIsRefusedSaysWhy(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	s.onFailover(func(string) error {
		return conflict("node2 is not able: tcp 127.0.0.1:6443: <b>connection refused</b>")
	})
	p := openPage(t, s.url())
	p.click("#rows tr:nth-child(3) .take")
	p.click("#takeover-confirm")
	p.waitText("#takeover-result", "▲ Not done: node2 is not able: tcp 127.0.0.1:6443: <b>connection refused</b>")
	if got := p.focus(); got != "takeover-cancel" {
		t.Errorf("want the focus on Close, got %s", got)
	}
	wantText(t, "refusal", p.refused(), "409 ")
	p.press("Escape", false)
	p.wait(`!document.querySelector("#takeover").open`)
}

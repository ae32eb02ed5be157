// Package page_test drives the status page in Chromium as its user does: by mouse and
// keyboard, against the server of package api. A test fails if the browser complains,
// in its console or about the content security policy.
package page_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/internal/cluster"
)

// text returns the texts of the elements that match, one a line, as they are seen.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter((e) => e.checkVisibility()).map((e) => e.innerText.replace(/\s+/g, " ").trim()).join("\n")`, selector))
}

// waitText waits until the elements that match have a text.
func (p *tab) waitText(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((e) => e.checkVisibility() && e.innerText.replace(/\s+/g, " ").includes(%q))`, selector, text))
}

// openPage opens the page and waits for its first view.
func openPage(t *testing.T, url string) *tab {
	t.Helper()
	p := newTab(t)
	p.open(url)
	p.loaded()
	return p
}

func (p *tab) loaded() {
	p.t.Helper()
	p.wait(`document.querySelector("#waiting").hidden && document.querySelector("#banner").hidden`)
}

func wantText(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%s: want %q, got\n%s", what, want, got)
		}
	}
}

func TestPageShowsMembersAddressesAndMoves(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	wantText(t, "header", p.text("body > header"), "node2", "/berth/", "● reachable", "s old")
	wantText(t, "summary", p.text("#verdict"), "▲ 1 of 7 addresses has no owner.", "? This host does not know the owner of 1 address.",
		"✕ node1 is gone: its lease ended.", "▲ node3 is not able: tcp 127.0.0.1:6443: connect: connection refused.")
	members := strings.Split(p.text(".member"), "\n")
	if len(members) != 3 {
		t.Fatalf("want three members, got %q", members)
	}
	wantText(t, "node1", members[0], "✕ gone: its lease ended", "Lease left expired")
	wantText(t, "node2", members[1], "this host", "● able", "Addresses 4", "1.2.3, elect", "● healthy: http http://127.0.0.1:8008/health", "1 h 0 min ago")
	wantText(t, "node3", members[2], "▲ not able", "▲ fails: tcp 127.0.0.1:6443: connect: connection refused", "1.2.2")
	rows := strings.Split(p.text("#rows tr"), "\n")
	if len(rows) != 7 {
		t.Fatalf("want seven addresses, got %q", rows)
	}
	for i, wants := range [][]string{
		{"192.0.2.10/32 api ● node2 this host", "1 min ago"},
		{"192.0.2.20/32 added at run time ● node2 this host", "40 min ago", "node2, node3"},
		{"192.0.2.21/32 added at run time ● node3", "node3, node2 Take over"},
		{"198.51.100.7/32 pool ● node2 this host"},
		{"198.51.100.8/32 pool ▲ no owner – – none no member can have it"},
		{"203.0.113.5/32 VI_1 keepalived ? not known – – none BACKUP here"},
		{"2001:db8::10/128 api ● node2 this host"},
	} {
		wantText(t, "row", rows[i], wants...)
	}
	moves := strings.Split(p.text("#moves li"), "\n")
	if len(moves) != 4 {
		t.Fatalf("want four moves, got %q", moves)
	}
	wantText(t, "newest move", moves[0], "▲ db: node3 FAULT tcp 127.0.0.1:6443: connect: connection refused", "s ago")
	wantText(t, "move", moves[1], "198.51.100.7: node1 → node2 MASTER the lease of node1 ended", "1 min ago")
}

// The lease is counted down between two messages, and is longer after the next.
func TestLeaseLeftIsCountedDown(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	p.waitText(".member:nth-child(2) .lease", "4 s")
	p.wait(`["2 s", "3 s"].includes(document.querySelector(".member:nth-child(2) .lease").innerText)`)
	p.wait(`["2 s", "3 s"].includes(document.querySelector("#rows .lease").innerText)`)
	p.waitText(".member:nth-child(2) .lease", "4 s")
}

func TestAddressThatIsToGoElsewhereSaysWhere(t *testing.T) {
	t.Parallel()
	v := threeMembers(t)
	v.Addresses[3].Assigned = "node3"
	v.Addresses[0].LastKnown = true
	s := serve(t, newCluster(v))
	p := openPage(t, s.url())
	wantText(t, "summary", p.text("#verdict"), "◐ 1 address is on the way to another member.")
	wantText(t, "row", p.text("#rows tr:nth-child(4)"), "◐ node2 this host moving to node3")
	wantText(t, "row", p.text("#rows tr:nth-child(1)"), "? node2 this host last known")
}

func TestPageFollowsTheClusterLive(t *testing.T) {
	t.Parallel()
	c := newCluster(threeMembers(t))
	s := serve(t, c)
	p := openPage(t, s.url())
	eval[any](p, `void (document.querySelector("#rows tr").mark = "the same row")`)
	c.move("api", "node3")
	p.waitText("#rows tr:nth-child(1)", "node3")
	wantText(t, "newest move", p.text("#moves li:nth-child(1)"), "● api: node2 → node3 MASTER asked by an operator")
	if got := eval[string](p, `document.querySelector("#rows tr").mark`); got != "the same row" {
		t.Errorf("want the row to stay and its texts to change, got another row")
	}
	p.wait(`document.querySelector("#announce").textContent.includes("192.0.2.10/32 is now at node3.")`)
	c.change(func(v *cluster.View) {
		v.Etcd.Reachable, v.Etcd.Reason = false, "context deadline exceeded"
		v.Addresses = v.Addresses[1:]
		v.Members = v.Members[1:]
	})
	p.waitText("#verdict", "▲ etcd is not reachable since")
	wantText(t, "summary", p.text("#verdict"), "context deadline exceeded. What the page shows is what was known before.")
	wantText(t, "header", p.text("body > header"), "▲ not reachable since", "stale")
	if got := p.text("#rows tr th"); strings.Contains(got, "192.0.2.10") {
		t.Errorf("want no row of the address that is gone, got\n%s", got)
	}
	if got := p.text(".member h3"); got != "node2 this host\nnode3" {
		t.Errorf("want the members that are left, got\n%s", got)
	}
}

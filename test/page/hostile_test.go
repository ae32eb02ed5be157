package page_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/internal/cluster"
)

// hostile are texts that other members could have put into etcd.
var hostile = []string{
	`<script>window.ran = true</script><img src=x onerror="window.ran = true">`,
	`"'><svg onload=window.ran=true>`,
	"\u202egnp.evil\u202c \u2066\u200f\u200b",
	strings.Repeat("long", 2500),
	strings.Repeat("a lot of words ", 700),
	"line\nbreak\ttab\x00zero\x1bescape",
	"__proto__",
	`javascript:window.ran=true`,
}

func TestHostileTextsAreOnlyText(t *testing.T) {
	t.Parallel()
	v := threeMembers(t)
	for i, text := range hostile {
		name := fmt.Sprintf("%d%s", i, text)
		v.Members = append(v.Members, cluster.MemberView{Name: name, Version: text, Mode: text, State: text, Reason: text,
			Health: []cluster.HealthView{{Check: text, Reason: text}}, LeaseLeft: 5000})
		v.Addresses = append(v.Addresses, cluster.AddressView{Address: fmt.Sprintf("203.0.113.%d/32", 100+i), Instance: text, Kind: cluster.KindElection,
			Owner: name, Since: time.Now(), LeaseLeft: 5000, Assigned: text, Candidates: []string{text, name}, Reason: text, CanFailover: true})
		v.Moves = append(v.Moves, cluster.Move{At: time.Now(), Instance: text, Member: name, State: text, From: text, Reason: text})
	}
	v.Addresses = append(v.Addresses, cluster.AddressView{Address: hostile[0], Instance: hostile[3], Kind: "<i>", Candidates: []string{}})
	v.Note, v.Prefix = hostile[0], hostile[3]
	v.Etcd.Reachable, v.Etcd.Reason = false, hostile[4]
	s := serve(t, newCluster(v))
	p := openPage(t, s.url())
	for _, width := range []int{360, 1440} {
		p.resize(width, 900)
		if got := eval[int](p, `document.querySelectorAll("body script, body img, body svg, body i, body b").length`); got != 1 {
			t.Errorf("%d: want the page's own script alone, got %d elements", width, got)
		}
		for _, i := range []int{0, 3} {
			p.click(fmt.Sprintf("#rows tr:nth-child(%d) .take", 7+i))
			p.wait(`document.querySelector("#takeover").open`)
			noOverflow(t, p, fmt.Sprintf("%d, dialog", width))
			p.press("Escape", false)
		}
		if eval[bool](p, `window.ran === true`) {
			t.Errorf("%d: a text has run", width)
		}
		noOverflow(t, p, fmt.Sprint(width))
		if got := eval[float64](p, `Math.max(...[...document.querySelectorAll(".member, #rows tr, #moves li, #verdict li")].map((e) => e.getBoundingClientRect().height))`); got > 1600 {
			t.Errorf("%d: one entry is %.0f pixels high", width, got)
		}
		if got := eval[string](p, `document.body.innerText`); strings.ContainsAny(got, "\u202e\u2066\u200f\x1b") || !strings.Contains(got, "<U+202E>gnp.evil") {
			t.Errorf("%d: want characters without a shape by their number", width)
		}
	}
}

// The policy has to stop what the page itself never does; the browser then complains,
// which the other tests take for a fault.
func TestPolicyStopsForeignStyleAndScript(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	other := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	if got := eval[string](p, fmt.Sprintf(`(async () => {
		const out = [];
		const div = document.body.appendChild(document.createElement("div"));
		try { div.innerHTML = "<b>markup</b>"; out.push("markup"); } catch { out.push("no markup"); }
		div.setAttribute("style", "color: rgb(1, 2, 3)");
		out.push(getComputedStyle(div).color === "rgb(1, 2, 3)" ? "style" : "no style");
		try { div.setAttribute("onclick", "window.ran = true"); } catch { out.push("no handler"); }
		div.click();
		const script = document.createElement("script");
		try { script.textContent = "window.ran = true"; document.body.append(script); } catch { out.push("no script"); }
		out.push(window.ran ? "ran" : "nothing ran");
		try { await fetch(%q); out.push("fetched"); } catch { out.push("nothing fetched"); }
		return out.join(", ");
	})()`, other.url()+"/cluster")); got != "no markup, no style, no handler, no script, nothing ran, nothing fetched" {
		t.Errorf("got %s", got)
	}
	p.wait(`true`)
	wantText(t, "complaints", strings.Join(p.complained(), "\n"), "require-trusted-types-for", "style-src", "connect-src")
	p.forgive()
}

// The page loads itself and what it asks this server for.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	p.wait(`performance.getEntriesByType("resource").length >= 1`)
	for _, got := range eval[[]string](p, `performance.getEntriesByType("resource").map((e) => e.name)`) {
		u, err := url.Parse(got)
		if err != nil || "http://"+u.Host != s.url() || u.Path != "/cluster" && u.Path != "/events" {
			t.Errorf("the page loads %s", got)
		}
	}
}

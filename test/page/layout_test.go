package page_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// noOverflow fails if something is wider than the window.
func noOverflow(t *testing.T, p *tab, what string) {
	t.Helper()
	if got := eval[[]string](p, `(() => {
		const width = document.documentElement.clientWidth, out = [];
		if (document.documentElement.scrollWidth > width) out.push("the page is " + document.documentElement.scrollWidth + " wide");
		for (const e of document.querySelectorAll("body *:not(.vh, .vh *, #rows *), #rows tr:nth-child(-n+20), #rows tr:nth-child(-n+20) *:not(.vh, .vh *)")) {
			if (!e.checkVisibility({ contentVisibilityAuto: true })) continue;
			const r = e.getBoundingClientRect();
			if (r.width > 0 && (r.right > width + 0.5 || r.left < -0.5)) out.push(e.tagName + "." + e.className + " " + r.left + " to " + r.right);
		}
		return out.slice(0, 5);
	})()`); len(got) > 0 {
		t.Errorf("%s: wider than the window: %s", what, strings.Join(got, "; "))
	}
}

func TestNothingIsWiderThanTheWindow(t *testing.T) {
	t.Parallel()
	few, many := serve(t, newCluster(threeMembers(t))), serve(t, newCluster(manyAddresses(1000)))
	p := newTab(t)
	for name, url := range map[string]string{"few": few.url(), "many": many.url()} {
		p.open(url)
		p.loaded()
		for _, row := range []struct {
			scheme string
			width  int
		}{{"light", 320}, {"light", 360}, {"dark", 360}, {"light", 800}, {"dark", 1440}} {
			p.prefer("prefers-color-scheme", row.scheme)
			p.resize(row.width, 780)
			what := fmt.Sprintf("%s, %d pixels, %s", name, row.width, row.scheme)
			noOverflow(t, p, what)
			p.click("#rows .take")
			p.wait(`document.querySelector("#takeover").open`)
			noOverflow(t, p, what+", dialog")
			p.press("Escape", false)
			p.wait(`!document.querySelector("#takeover").open`)
			if row.width > 800 {
				continue
			}
			if got := eval[string](p, `getComputedStyle(document.querySelector("#rows td")).gridTemplateColumns.split(" ").length + " " + getComputedStyle(document.querySelector("#rows td"), "::before").content`); got != `2 "Instance"` {
				t.Errorf("%s: want the row as a card whose parts are named, got %s", what, got)
			}
		}
	}
}

// WCAG 2.2, 1.4.3: the contrast of a text and its background is 4.5 to 1 at least.
const contrast = `(() => {
	const rgb = (s) => { const n = s.match(/[\d.]+/g).map(Number); return { c: n.slice(0, 3), a: n[3] ?? 1 }; };
	const over = (top, under) => top.c.map((x, i) => x * top.a + under[i] * (1 - top.a));
	const light = (c) => { const [r, g, b] = c.map((x) => { x /= 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const background = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) { layers.push(rgb(getComputedStyle(e).backgroundColor)); if (layers.at(-1).a === 1) break; }
		return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
	};
	const seen = new Set(), bad = [];
	let texts = 0;
	const check = (e, pseudo, what) => {
		const under = background(e), top = over(rgb(getComputedStyle(e, pseudo).color), under);
		const [a, b] = [light(top), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
		texts++;
		if (ratio < 4.5) { const line = what.slice(0, 40) + ": " + ratio.toFixed(2); if (!seen.has(line)) { seen.add(line); bad.push(line); } }
	};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (n.data.trim() !== "" && e.checkVisibility() && !e.closest("script, style, noscript, template")) check(e, null, n.data.trim());
	}
	for (const e of document.querySelectorAll("body *")) {
		for (const pseudo of ["::before", "::after", "::placeholder"]) {
			const content = getComputedStyle(e, pseudo).content;
			if (e.checkVisibility() && (pseudo === "::placeholder" ? e.placeholder : content !== "none" && content !== "normal")) check(e, pseudo, pseudo + " " + content);
		}
	}
	return JSON.stringify({ texts, bad });
})()`

func TestContrastIsEnoughInBothSchemes(t *testing.T) {
	t.Parallel()
	v := threeMembers(t)
	v.Addresses[3].Assigned = "node3"
	s := serve(t, newCluster(v))
	p := openPage(t, s.url())
	measure := func(what string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			p.prefer("prefers-color-scheme", scheme)
			for _, width := range []int{360, 1440} {
				p.resize(width, 900)
				var got struct {
					Texts int
					Bad   []string
				}
				if err := json.Unmarshal([]byte(eval[string](p, contrast)), &got); err != nil {
					t.Fatal(err)
				}
				if got.Texts < 100 || len(got.Bad) > 0 {
					t.Errorf("%s, %d pixels, %s: of %d texts these have too little contrast:\n%s", what, width, scheme, got.Texts, strings.Join(got.Bad, "\n"))
				}
			}
		}
	}
	p.prefer("prefers-reduced-motion", "reduce") // a colour that still changes is none
	measure("page")
	eval[any](p, `void document.querySelector("#rows tr").classList.add("moved")`)
	measure("row that has just moved")
	p.click("#rows .take")
	measure("dialog")
	s.wire.cut()
	p.wait(`document.querySelector("#takeover-confirm").disabled`)
	measure("lost connection, dialog with a button that cannot be used")
}

package page_test

import (
	"fmt"
	"strings"
	"testing"
)

// focus names the element that has the focus.
func (p *tab) focus() string {
	p.t.Helper()
	return eval[string](p, `(() => { const e = document.activeElement; return e.id || e.dataset?.sort || e.innerText.replace(/\s+/g, " ").trim(); })()`)
}

func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	var order []string
	for range 12 {
		p.press("Tab", false)
		order = append(order, p.focus())
		if got := eval[bool](p, `(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`); !got {
			t.Errorf("the focus at %q cannot be seen", p.focus())
		}
	}
	want := "Skip to the addresses|Show|Show|filter|address|instance|owner|since|lease|candidates|reason|Take over 192.0.2.21/32"
	if got := strings.Join(order, "|"); !strings.HasPrefix(got, want) {
		t.Errorf("want the order\n%s, got\n%s", want, got)
	}

	p.press("/", false)
	if got := p.focus(); got != "filter" {
		t.Errorf("want / to lead to the filter, got %s", got)
	}
	p.typeText("node3/") // a / that is typed into the filter is text
	if got := eval[string](p, `document.querySelector("#filter").value`); got != "node3/" {
		t.Errorf("want the filter node3/, got %q", got)
	}
	p.press("Backspace", false)
	p.waitText("#count", "1 of 7 addresses")
	p.press("Escape", false)
	p.waitText("#count", "7 addresses")

	for range 3 {
		p.press("Tab", false)
	}
	p.press("Enter", false)
	if got := p.focus() + " " + p.text("#rows tr:first-child th"); got != "owner 198.51.100.8/32" {
		t.Errorf("want the order by owner and the focus where it was, got %s", got)
	}
	p.press("Space", false)
	if got := p.focus() + " " + p.text("#rows tr:first-child th"); got != "owner 192.0.2.21/32" {
		t.Errorf("want the order reversed and the focus where it was, got %s", got)
	}

	for range 5 {
		p.press("Tab", false)
	}
	if got := p.focus(); got != "Take over 192.0.2.21/32" {
		t.Fatalf("want the first button of the rows, got %s", got)
	}
	p.press("Enter", false)
	p.wait(`document.querySelector("#takeover").open`)
	if got := p.focus(); got != "takeover-cancel" {
		t.Errorf("want the focus on Cancel, got %s", got)
	}
	p.press("Tab", false)
	if got := p.focus(); got != "takeover-confirm" {
		t.Errorf("want the confirmation next, got %s", got)
	}
	p.press("Escape", false)
	p.wait(`!document.querySelector("#takeover").open`)
	p.wait(`document.activeElement.classList.contains("take")`)
	p.press("Enter", false)
	p.wait(`document.querySelector("#takeover").open`)
	p.press("Enter", false) // Cancel
	p.wait(`!document.querySelector("#takeover").open`)
	if got := s.asked(); got != "" {
		t.Errorf("want no request without a confirmation, got %s", got)
	}

	eval[any](p, `void (location.hash = "filter=node2")`)
	p.waitText("#count", "4 of 7 addresses")
	p.reload()
	p.waitText("#count", "4 of 7 addresses")
	p.press("Tab", false)
	p.press("Enter", false) // the skip link
	if got := eval[string](p, `document.activeElement.id + location.hash`); got != "addresses-title#filter=node2" {
		t.Errorf("want the skip link to lead to the addresses and the filter to stay, got %s", got)
	}
}

func TestScreenReadersFindATable(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	for _, width := range []int{360, 1440} {
		p := newTab(t)
		p.resize(width, 900)
		p.open(s.url())
		p.loaded()
		p.do("Accessibility.enable", nil)
		var tree struct {
			Nodes []struct {
				Ignored bool
				Role    struct{ Value string }
				Name    struct{ Value any }
			}
		}
		p.get("Accessibility.getFullAXTree", nil, &tree)
		count := map[string]int{}
		names := map[string]bool{}
		for _, n := range tree.Nodes {
			if n.Ignored {
				continue
			}
			count[n.Role.Value]++
			names[fmt.Sprintf("%s %v", n.Role.Value, n.Name.Value)] = true
		}
		if count["table"] != 1 || count["row"] != 8 || count["rowheader"] != 7 || count["columnheader"] < 7 {
			t.Errorf("%d: want a table of seven rows with headers, got %v", width, count)
		}
		for _, want := range []string{"table Addresses", "heading Members", "heading Last moves", "textbox Filter the addresses", "button Take over 192.0.2.21/32", "button Owner"} {
			if !names[want] {
				t.Errorf("%d: want %q, got %v", width, want, names)
			}
		}
	}
}

func TestReducedMotionIsRespected(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := newTab(t)
	for value, want := range map[string]string{"reduce": "0s", "no-preference": "0.6s"} {
		p.prefer("prefers-reduced-motion", value)
		p.open(s.url())
		p.loaded()
		if got := eval[string](p, `getComputedStyle(document.querySelector("#rows tr")).transitionDuration`); got != want {
			t.Errorf("%s: want %s, got %s", value, want, got)
		}
	}
}

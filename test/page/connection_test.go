package page_test

import (
	"io"
	"net/http"
	"testing"
)

func TestLostConnectionIsSaidAndRecoversByItself(t *testing.T) {
	t.Parallel()
	c := newCluster(threeMembers(t))
	s := serve(t, c)
	p := openPage(t, s.url())
	eval[any](p, `void (window.mark = "not loaded again")`)
	s.wire.cut()
	p.waitText("#banner", "The connection to the server is lost. Lost at")
	p.waitText("#banner", "What you see is stale.")
	wantText(t, "headings", p.text("main h2 + .stale-mark"), "◌ stale\n◌ stale\n◌ stale")
	wantText(t, "header", p.text("#age"), "stale")
	wantText(t, "title", eval[string](p, `document.title`), "(lost)")
	if got := p.text("#rows tr:nth-child(1) .lease"); got != "stale" {
		t.Errorf("want no lease from data that is stale, got %q", got)
	}
	p.click("#rows tr:nth-child(3) .take")
	if !eval[bool](p, `document.querySelector("#takeover-confirm").disabled`) {
		t.Error("want no take-over while the connection is lost")
	}
	p.press("Escape", false)
	c.move("api", "node3")
	s.wire.mend()
	p.wait(`document.querySelector("#banner").hidden`)
	p.waitText("#rows tr:nth-child(1)", "node3")
	if got := p.text("main h2 + .stale-mark") + eval[string](p, `document.title + window.mark`); got != "(1 without owner) node2 · berthnot loaded again" {
		t.Errorf("want nothing stale and the same page, got %q", got)
	}
}

// A server that is frozen closes no connection.
func TestSilentConnectionCountsAsLost(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	s.wire.gate.Lock()
	p.waitText("#banner", "The server has said nothing for 6 s.")
	s.wire.gate.Unlock()
	p.wait(`document.querySelector("#banner").hidden`)
}

func TestLoginThatIsNeededIsSaid(t *testing.T) {
	t.Parallel()
	s := serve(t, newCluster(threeMembers(t)))
	p := openPage(t, s.url())
	s.protect("operator", "correct horse")
	p.waitText("#banner", "A login is needed.")
	wantText(t, "refusal", p.refused(), "401 ")
	p.login("operator", "correct horse")
	p.click("#login")
	p.wait(`!document.querySelector("#login").checkVisibility() && document.querySelector("#waiting").hidden`)
	wantText(t, "row", p.text("#rows tr:nth-child(1)"), "192.0.2.10/32")
}

// The server limits how many read its events. The page says so, and shows what it can read.
func TestPageWithoutEventsSaysWhy(t *testing.T) {
	t.Parallel()
	c := newCluster(threeMembers(t))
	s := serve(t, c)
	var readers []io.Closer
	for range 8 {
		r, err := http.Get(s.url() + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		readers = append(readers, r.Body)
	}
	p := newTab(t)
	p.open(s.url())
	p.waitText("#banner", "The server sends no events to this page: it may serve 8 pages already.")
	c.move("api", "node3")
	p.waitText("#rows tr:nth-child(1)", "node3")
	readers[0].Close()
	p.wait(`document.querySelector("#banner").hidden`)
}

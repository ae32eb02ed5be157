package page_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tab is a page in a browser context of its own, and all that it has complained about.
type tab struct {
	t       *testing.T
	ctx     context.Context // not that of the test, which ends before the tab is closed
	c       *chromium
	session string

	preferred []map[string]string

	mu         sync.Mutex // guards what follows
	user, pass string     // with which a login is answered; none if user is ""
	complaints []string
	refusals   []string // answers of 400 and above, which Chromium logs as errors
}

// width and height of a tab that a test does not resize.
const (
	width  = 1440
	height = 900
)

// newTab opens an empty tab. At the end of the test it must have complained about
// nothing: neither the console nor the content security policy.
func newTab(t *testing.T) *tab {
	t.Helper()
	p := &tab{t: t, ctx: context.WithoutCancel(t.Context()), c: theBrowser(t)}
	var made struct{ BrowserContextID, TargetID, SessionID string }
	p.browser("Target.createBrowserContext", map[string]any{}, &made)
	p.browser("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": made.BrowserContextID}, &made)
	p.browser("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	p.session = made.SessionID
	p.c.listen(p.session, p.event)
	artifacts := t.ArtifactDir()
	t.Cleanup(func() {
		if t.Failed() {
			p.screenshot(filepath.Join(artifacts, "failed.png"))
		}
		p.c.listen(p.session, nil)
		p.c.call(p.ctx, "", "Target.disposeBrowserContext", map[string]any{"browserContextId": made.BrowserContextID}, nil)
		for _, c := range p.complained() {
			t.Errorf("the browser complains: %s", c)
		}
	})
	for _, domain := range []string{"Page", "Runtime", "Log", "Audits", "Network"} {
		p.do(domain+".enable", nil)
	}
	p.do("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}) // beside other tabs
	p.do("Fetch.enable", map[string]any{"handleAuthRequests": true})
	p.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI + " " + e.sample));
	`})
	p.resize(width, height)
	return p
}

func (p *tab) browser(method string, params, result any) {
	p.t.Helper()
	if err := p.c.call(p.ctx, "", method, params, result); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) do(method string, params any) {
	p.t.Helper()
	p.get(method, params, nil)
}

func (p *tab) get(method string, params, result any) {
	p.t.Helper()
	if err := p.c.call(p.ctx, p.session, method, params, result); err != nil {
		p.t.Fatal(err)
	}
}

// event is called by the goroutine that reads, and so only sends.
func (p *tab) event(method string, params json.RawMessage) {
	var e struct {
		RequestID string
		Type      string
		Entry     struct{ Source, Level, Text, URL string }
		Args      []struct {
			Value       any
			Description string
		}
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Issue struct {
			Code    string
			Details json.RawMessage
		}
		Response struct {
			URL    string
			Status int
		}
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	complain := func(format string, args ...any) { p.complaints = append(p.complaints, fmt.Sprintf(format, args...)) }
	switch method {
	case "Fetch.requestPaused":
		p.c.send(p.session, "Fetch.continueRequest", map[string]any{"requestId": e.RequestID})
	case "Fetch.authRequired":
		response := map[string]any{"response": "CancelAuth"}
		if p.user != "" {
			response = map[string]any{"response": "ProvideCredentials", "username": p.user, "password": p.pass}
			p.user = "" // a browser asks its user again after a refusal
		}
		p.c.send(p.session, "Fetch.continueWithAuth", map[string]any{"requestId": e.RequestID, "authChallengeResponse": response})
	case "Network.responseReceived":
		if e.Response.Status >= 400 {
			p.refusals = append(p.refusals, fmt.Sprintf("%d %s", e.Response.Status, e.Response.URL))
		}
	case "Runtime.consoleAPICalled":
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			for _, a := range e.Args {
				complain("console.%s: %v %s", e.Type, a.Value, a.Description)
			}
		}
	case "Runtime.exceptionThrown":
		complain("%s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		// A request that fails is the server's doing; the tests look at what the page
		// says of it.
		if e.Entry.Source != "network" {
			complain("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case "Audits.issueAdded":
		complain("%s: %s", e.Issue.Code, e.Issue.Details)
	}
}

func (p *tab) complained() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.complaints
}

// refused returns the answers with which the server has refused something.
func (p *tab) refused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.refusals, "\n")
}

// login answers the next question for a login.
func (p *tab) login(user, pass string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.user, p.pass = user, pass
}

func (p *tab) open(url string) {
	p.t.Helper()
	p.leave(func() { p.do("Page.navigate", map[string]any{"url": url}) })
}

// reload loads the page again.
func (p *tab) reload() {
	p.t.Helper()
	p.leave(func() { p.do("Page.reload", nil) })
}

// leave waits until the present page has gone.
func (p *tab) leave(how func()) {
	p.t.Helper()
	eval[any](p, `void (window.leaving = true)`)
	how()
	p.wait(`!window.leaving && document.readyState === "complete"`)
}

// resize makes the window so large; a narrow one is a phone.
func (p *tab) resize(w, h int) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": w, "height": h, "deviceScaleFactor": 1, "mobile": w < 500})
}

// prefer sets what the user prefers, such as prefers-color-scheme: dark, beside what was set
// before.
func (p *tab) prefer(feature, value string) {
	p.t.Helper()
	p.preferred = append(p.preferred, map[string]string{"name": feature, "value": value}) // the last counts
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": p.preferred})
}

// eval returns the value of a JavaScript expression, which may be a promise.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	var out struct {
		Result           struct{ Value T }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.get("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		p.t.Fatalf("%s\n%s %s", expression, out.ExceptionDetails.Text, out.ExceptionDetails.Exception.Description)
	}
	return out.Result.Value
}

// wait waits until a JavaScript condition holds in the page.
func (p *tab) wait(condition string) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for {
		// A navigation ends the promise with its page.
		held, err := p.waitHere(condition)
		switch {
		case err == nil && held:
			return
		case time.Now().After(end):
			p.t.Fatalf("the page does not reach %s, %v; it shows:\n%s", condition, err, eval[string](p, `document.body?.innerText.slice(0, 3000) ?? ""`))
		}
	}
}

func (p *tab) waitHere(condition string) (held bool, err error) {
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	err = p.c.call(p.ctx, p.session, "Runtime.evaluate", map[string]any{"awaitPromise": true, "returnByValue": true, "expression": fmt.Sprintf(`new Promise((done) => {
		const end = performance.now() + %d;
		const look = () => {
			let held = false;
			try { held = Boolean(%s) } catch { /* the page is not there yet */ }
			if (held || performance.now() > end) done(held); else setTimeout(look, 10);
		};
		look();
	})`, 1000, condition)}, &out)
	held, _ = out.Result.Value.(bool)
	return held, err
}

// point returns the middle of an element, after it was scrolled into the window, and
// fails if something else lies over it.
func (p *tab) point(selector string) (x, y float64) {
	p.t.Helper()
	at := eval[[]float64](p, fmt.Sprintf(`(async () => {
		const e = document.querySelector(%q);
		if (!e) throw new Error("there is no such element");
		e.scrollIntoView({ block: "center", behavior: "instant" });
		await new Promise(requestAnimationFrame);
		const r = e.getBoundingClientRect(), x = r.left + r.width / 2, y = r.top + r.height / 2;
		const top = document.elementFromPoint(x, y);
		if (!e.contains(top)) throw new Error("under the pointer is " + top?.outerHTML.slice(0, 200));
		return [x, y];
	})()`, selector))
	return at[0], at[1]
}

// click clicks an element with the mouse.
func (p *tab) click(selector string) {
	p.t.Helper()
	x, y := p.point(selector)
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		p.do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1})
	}
}

// keys are those that the tests press, beside characters: the code of Windows, which the
// protocol uses, and the text that the key makes.
var keys = map[string]struct {
	code int
	text string
}{
	"Tab": {9, ""}, "Enter": {13, "\r"}, "Escape": {27, ""}, "Backspace": {8, ""}, "Space": {32, " "}, "/": {191, "/"},
}

// press presses a key; shift holds the shift key down.
func (p *tab) press(key string, shift bool) {
	p.t.Helper()
	k, name := keys[key], key
	if key == "Space" {
		name = " "
	}
	modifiers := 0
	if shift {
		modifiers = 8
	}
	down := map[string]any{"type": "keyDown", "key": name, "code": key, "windowsVirtualKeyCode": k.code, "modifiers": modifiers}
	if k.text != "" {
		down["text"] = k.text
	}
	p.do("Input.dispatchKeyEvent", down)
	p.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": key, "windowsVirtualKeyCode": k.code, "modifiers": modifiers})
}

// typeText types characters.
func (p *tab) typeText(text string) {
	p.t.Helper()
	for _, c := range text {
		p.do("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": string(c), "text": string(c)})
		p.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": string(c)})
	}
}

// screenshot writes what the window shows.
func (p *tab) screenshot(path string) {
	var out struct{ Data string }
	if err := p.c.call(p.ctx, p.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &out); err != nil {
		p.t.Logf("no screenshot: %v", err)
		return
	}
	image, err := base64.StdEncoding.DecodeString(out.Data)
	if err == nil {
		err = os.WriteFile(path, image, 0o644)
	}
	if err != nil {
		p.t.Logf("no screenshot: %v", err)
	}
}

// forgive forgets the complaints, in a test that has provoked them.
func (p *tab) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = nil
}

package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/testnet"
)

// patience bounds each wait: for an answer of Chromium, and for a condition in the page.
const patience = 20 * time.Second

// chromium is a headless Chromium that is driven by the DevTools protocol
// (https://chromedevtools.github.io/devtools-protocol/) over a pipe: messages of JSON,
// each ended by a zero byte. A pipe is open to nobody else, as a port would be.
type chromium struct {
	cmd     *exec.Cmd
	profile string
	read    sync.WaitGroup // the goroutine that reads

	writing sync.Mutex
	in      io.WriteCloser // guarded by writing

	mu       sync.Mutex // guards what follows
	last     int
	answers  map[int]chan answer
	sessions map[string]func(method string, params json.RawMessage)
	ended    error
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startChromium starts a browser with a profile of its own.
func startChromium() (*chromium, error) {
	program, err := testnet.Program("chromium")
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "berth-page-")
	if err != nil {
		return nil, err
	}
	args := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(profile, "data"),
		"--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-extensions", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-proxy-server", "about:blank"}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // the sandbox refuses to run as root
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + profile, "LANG=C.UTF-8", "TMPDIR=" + profile}
	// Processes of Chromium stay in its group, and all end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &chromium{cmd: cmd, profile: profile, answers: map[int]chan answer{}, sessions: map[string]func(string, json.RawMessage){}}
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(profile))
	}
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), ourIn.Close(), os.RemoveAll(profile))
	}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the protocol wants them
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		return nil, errors.Join(err, ourIn.Close(), ourOut.Close(), os.RemoveAll(profile))
	}
	c.in = ourIn
	c.read.Go(func() { c.readAll(ourOut) })
	if err := c.call(context.Background(), "", "Browser.getVersion", nil, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("start chromium: %w", err), c.close())
	}
	return c, nil
}

// close ends all processes of the browser and removes its profile.
func (c *chromium) close() error {
	killed := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	c.cmd.Wait() // it was killed
	c.in.Close()
	c.read.Wait()
	// A process of the group that has just been killed can still be writing.
	for range 100 {
		if syscall.Kill(-c.cmd.Process.Pid, 0) != nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	return errors.Join(killed, os.RemoveAll(c.profile))
}

// readAll takes answers and events until the browser ends.
func (c *chromium) readAll(out io.ReadCloser) {
	defer out.Close()
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			c.mu.Lock()
			c.ended = fmt.Errorf("chromium has ended: %w", err)
			for id, ch := range c.answers {
				close(ch)
				delete(c.answers, id)
			}
			c.mu.Unlock()
			return
		}
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			answer
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		ch, event := c.answers[m.ID], c.sessions[m.SessionID]
		delete(c.answers, m.ID)
		c.mu.Unlock()
		switch {
		case ch != nil:
			ch <- m.answer
		case m.Method != "" && event != nil:
			event(m.Method, m.Params)
		}
	}
}

// send sends a command; its answer arrives in the channel, which has room for it.
func (c *chromium) send(session, method string, params any) (<-chan answer, error) {
	ch := make(chan answer, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	if c.ended != nil {
		c.mu.Unlock()
		return nil, c.ended
	}
	c.answers[id] = ch
	c.mu.Unlock()
	text, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{id, session, method, params})
	if err != nil {
		return nil, err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err = c.in.Write(append(text, 0))
	return ch, err
}

// call sends a command and decodes its answer into result, if that is not nil.
func (c *chromium) call(ctx context.Context, session, method string, params, result any) error {
	ch, err := c.send(session, method, params)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s: no answer within %s", method, patience))
	defer cancel()
	select {
	case a, ok := <-ch:
		switch {
		case !ok:
			return fmt.Errorf("%s: chromium has ended", method)
		case a.Error != nil:
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		case result != nil:
			return json.Unmarshal(a.Result, result)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listen gives the events of a session to event, in their order; nil ends it. The
// function must not wait for an answer.
func (c *chromium) listen(session string, event func(method string, params json.RawMessage)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if event == nil {
		delete(c.sessions, session)
		return
	}
	c.sessions[session] = event
}

// browser is the one Chromium of all tests, each of which has a context of its own.
var browser struct {
	once sync.Once
	c    *chromium
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.c != nil {
		if err := browser.c.close(); err != nil {
			fmt.Fprintln(os.Stderr, "end chromium:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// theBrowser skips the test where there is no Chromium, or fails it if
// testnet.RequireEnv says that it must run.
func theBrowser(t *testing.T) *chromium {
	t.Helper()
	browser.once.Do(func() { browser.c, browser.err = startChromium() })
	switch {
	case browser.err == nil:
		return browser.c
	case os.Getenv(testnet.RequireEnv) == "1":
		t.Fatal(browser.err)
	default:
		t.Skip(browser.err)
	}
	return nil
}

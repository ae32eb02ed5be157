package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/api"
)

// stream is a client that reads the events.
type stream struct {
	header http.Header
	slow   bool // it takes nothing after its first event

	mu       sync.Mutex
	text     strings.Builder
	status   int
	deadline time.Time
	ended    bool
}

// Header is that of http.ResponseWriter.
func (s *stream) Header() http.Header { return s.header }

// WriteHeader takes the status.
func (s *stream) WriteHeader(status int) { s.status = status }

// FlushError is for http.ResponseController.
func (s *stream) FlushError() error { return nil }

// SetWriteDeadline is for http.ResponseController.
func (s *stream) SetWriteDeadline(at time.Time) error {
	s.deadline = at
	return nil
}

// Write takes events, or waits as a socket does that is full.
func (s *stream) Write(p []byte) (int, error) {
	if s.slow && strings.HasPrefix(string(p), "event") {
		<-time.After(time.Until(s.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// events returns how many events of a kind came, and the newest.
func (s *stream) events(kind string) (n int, newest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part := range strings.SplitSeq(s.text.String(), "\n\n") {
		if data, is := strings.CutPrefix(part, "event: "+kind+"\ndata: "); is {
			n, newest = n+1, data
		}
	}
	return n, newest
}

// follow has a client read the events until leave is called.
func follow(t *testing.T, h http.Handler, s *stream) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	var reading sync.WaitGroup
	s.header = http.Header{}
	r := httptest.NewRequestWithContext(ctx, "GET", "/events", nil)
	r.Host = "localhost"
	reading.Go(func() {
		h.ServeHTTP(s, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
	})
	return func() {
		cancel(errors.New("the client has gone"))
		reading.Wait()
	}
}

func TestEventsAreCoalescedAndBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, _ := w.options(t)
		o.Listen = ""
		server := api.New(o)
		stop := running(t, server)
		var s stream
		leave := follow(t, server.Handler(), &s)
		synctest.Wait()
		if n, newest := s.events("view"); n != 1 || !strings.HasPrefix(newest, `{"prefix":"/berth/","this":"lb1"`) || s.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("want a view at once, got %d, %s, %v", n, newest, s.header)
		}
		for i := range 100 {
			w.change(fmt.Sprint("change ", i))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(250 * time.Millisecond)
		synctest.Wait()
		if n, newest := s.events("view"); n < 4 || n > 6 || !strings.Contains(newest, `"note":"change 99"`) {
			t.Errorf("want four views a second and the last one, got %d, %s", n, newest)
		}
		n, _ := s.events("view")
		time.Sleep(20*time.Second - 1250*time.Millisecond + time.Millisecond)
		synctest.Wait()
		if beats, newest := s.events("beat"); beats != 10 || newest != `{"now":"2026-11-29T20:00:00Z","lease_left_ms":{"lb1":4200}}` {
			t.Errorf("want a beat every 2 s, got %d, %s", beats, newest)
		}
		if again, _ := s.events("view"); again != n {
			t.Errorf("want no view while nothing changes, got %d", again-n)
		}
		leave()
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		if len(w.watched) != 0 {
			t.Error("the cluster is watched although nobody reads")
		}
		w.mu.Unlock()
		w.change("while nobody read")
		var next stream
		leave = follow(t, server.Handler(), &next)
		synctest.Wait()
		if n, newest := next.events("view"); n != 1 || !strings.Contains(newest, "while nobody read") {
			t.Errorf("want the view of now alone, got %d, %s", n, newest)
		}
		leave()
		stop()
	})
}

// A client that takes nothing is cut off, and meanwhile the others get what is new.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, _ := w.options(t)
		o.Listen = ""
		server := api.New(o)
		stop := running(t, server)
		slow, quick := stream{slow: true}, stream{}
		leaveSlow, leave := follow(t, server.Handler(), &slow), follow(t, server.Handler(), &quick)
		synctest.Wait()
		for i := range 4 {
			w.change(fmt.Sprint("change ", i))
			time.Sleep(time.Second)
			if n, _ := quick.events("view"); n != i+2 {
				t.Errorf("want %d views, got %d", i+2, n)
			}
		}
		time.Sleep(api.EventTime - 4*time.Second + time.Millisecond)
		synctest.Wait()
		slow.mu.Lock()
		if !slow.ended {
			t.Error("the slow reader is not cut off")
		}
		slow.mu.Unlock()
		leaveSlow()
		leave()
		stop()
	})
}

func TestStreamsAreFewAndEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, r, _ := w.options(t)
		o.Listen = ""
		server := api.New(o)
		stop := running(t, server)
		all := make([]stream, api.MaxStreams)
		for i := range all {
			defer follow(t, server.Handler(), &all[i])()
		}
		synctest.Wait()
		if got := send(server.Handler(), "GET", "/events", ""); got.Code != 503 || !strings.Contains(said(t, got), "8 at a time") {
			t.Errorf("got %d %s", got.Code, got.Body)
		}
		if got := send(server.Handler(), "HEAD", "/events", ""); got.Code != 200 || got.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("HEAD: got %d, %v", got.Code, got.Header())
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "berth_api_streams 8\n") {
			t.Errorf("got %v, %s", err, text.String())
		}
		begun := time.Now()
		stop()
		synctest.Wait()
		for i := range all {
			all[i].mu.Lock()
			if !all[i].ended || time.Since(begun) != 0 {
				t.Errorf("stream %d: want its end at once", i)
			}
			all[i].mu.Unlock()
		}
	})
}

// Where the configuration changes, clients begin their streams again.
func TestStreamsEndWithTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, _ := w.options(t)
		o.Listen = ""
		server := api.New(o)
		stop := running(t, server)
		var first, second stream
		leave := follow(t, server.Handler(), &first)
		synctest.Wait()
		o.Version = "2"
		server.Change(o)
		synctest.Wait()
		first.mu.Lock()
		if !first.ended {
			t.Error("the stream goes on")
		}
		first.mu.Unlock()
		leave()
		leave = follow(t, server.Handler(), &second)
		synctest.Wait()
		if n, _ := second.events("view"); n != 1 {
			t.Errorf("want a view, got %d", n)
		}
		leave()
		stop()
	})
}

// A configuration that is replaced before the server comes to it has its streams ended too:
// they would never have an event.
func TestStreamsEndWithAConfigurationThatNeverRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, _ := w.options(t)
		server := api.New(o)
		var s stream
		leave := follow(t, server.Handler(), &s)
		synctest.Wait()
		server.Change(o)
		synctest.Wait()
		s.mu.Lock()
		if !s.ended {
			t.Error("the stream goes on")
		}
		s.mu.Unlock()
		leave()
	})
}

// A client that is slow to end its stream under a former configuration is counted beside
// those of the next one.
func TestStreamsOfTwoConfigurationsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, r, _ := w.options(t)
		o.Listen = ""
		server := api.New(o)
		stop := running(t, server)
		slow, next := stream{slow: true}, stream{}
		leaveSlow := follow(t, server.Handler(), &slow)
		synctest.Wait()
		server.Change(o)
		synctest.Wait()
		leave := follow(t, server.Handler(), &next)
		time.Sleep(2 * api.EventTime)
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "berth_api_streams 1\n") {
			t.Errorf("want one stream, got %v, %s", err, text.String())
		}
		leaveSlow()
		leave()
		stop()
	})
}

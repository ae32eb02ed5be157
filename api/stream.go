package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	// maxStreams is how many clients read the events at a time.
	maxStreams = 8
	// viewInterval is the least time between two views, beatInterval that between beats.
	viewInterval = 250 * time.Millisecond
	beatInterval = 2 * time.Second
	// eventTime bounds how long a client takes an event. A slower one is cut off.
	eventTime = 5 * time.Second
)

// event is a server-sent event (HTML Standard, section 9.2) and its number among those of
// its kind.
type event struct {
	text   []byte
	number int
}

// feed makes the events that all clients read. Each client takes the newest of each kind
// when it can, so that a slow one holds nothing up.
type feed struct {
	cluster Cluster
	meters  *Metrics
	joined  chan struct{} // one slot: there is a reader more
	moved   chan struct{} // one slot: the view is another one

	mu         sync.Mutex
	readers    int
	view, beat event
	next       chan struct{} // closed when view or beat is another one
}

func newFeed(c Cluster, m *Metrics) *feed {
	return &feed{cluster: c, meters: m, joined: make(chan struct{}, 1), moved: make(chan struct{}, 1), next: make(chan struct{})}
}

// join adds a reader, unless there are too many.
func (f *feed) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == maxStreams {
		return false
	}
	f.readers++
	f.meters.stream(1)
	f.wake(f.joined)
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	f.meters.stream(-1)
}

func (*feed) wake(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// run makes events while there are readers, until ctx ends.
func (f *feed) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.joined:
		}
		f.follow(ctx)
	}
}

// follow makes events until there are no readers.
func (f *feed) follow(ctx context.Context) {
	stop := f.cluster.Watch(func() { f.wake(f.moved) })
	defer stop()
	beats := time.NewTicker(beatInterval)
	defer beats.Stop()
	f.publishView()
	for f.busy() {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			f.publishBeat()
			continue
		case <-f.moved:
		}
		f.publishView()
		select {
		case <-ctx.Done():
			return
		case <-time.After(viewInterval):
		}
	}
}

// busy reports whether there are readers. Without any, the events are forgotten: the next
// reader must not take them for new.
func (f *feed) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == 0 {
		f.view.text, f.beat.text = nil, nil
	}
	return f.readers > 0
}

func (f *feed) publishView() {
	f.publish(&f.view, "view", f.cluster.View())
}

// beat is what changes without a cause.
type beat struct {
	Now       time.Time        `json:"now"`
	LeaseLeft map[string]int64 `json:"lease_left_ms"` // by member
}

func (f *feed) publishBeat() {
	v := f.cluster.View()
	b := beat{Now: v.Now, LeaseLeft: map[string]int64{}}
	for _, m := range v.Members {
		b.LeaseLeft[m.Name] = m.LeaseLeft
	}
	f.publish(&f.beat, "beat", b)
}

// publish puts an event in the place of the former of its kind.
func (f *feed) publish(to *event, name string, data any) {
	var text bytes.Buffer
	text.WriteString("event: " + name + "\ndata: ")
	if err := json.NewEncoder(&text).Encode(data); err != nil { // one line
		panic(err)
	}
	text.WriteByte('\n')
	f.mu.Lock()
	defer f.mu.Unlock()
	to.text, to.number = text.Bytes(), to.number+1
	close(f.next)
	f.next = make(chan struct{})
}

// newest returns the newest events, and what is closed when there is another one.
func (f *feed) newest() (view, beat event, next <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view, f.beat, f.next
}

// events streams views and beats until the client or the site ends.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	if !s.feed.join() {
		writeError(w, http.StatusServiceUnavailable, "too many clients read the events; there can be 8 at a time")
		return
	}
	defer s.feed.leave()
	h.Set("Connection", "close") // after the stream, the connection is of no use
	c := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = c.SetWriteDeadline(time.Now().Add(eventTime))
		_, err := w.Write(text)
		return err == nil && c.Flush() == nil
	}
	sent := send([]byte("retry: 1000\n\n"))
	view, beat := 0, 0
	for sent {
		v, b, next := s.feed.newest()
		switch {
		case v.text != nil && v.number != view:
			view, sent = v.number, send(v.text)
		case b.text != nil && b.number != beat:
			beat, sent = b.number, send(b.text)
		default:
			select {
			case <-next:
			case <-r.Context().Done():
				return
			case <-s.ended:
				return
			}
		}
	}
}

package fifo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

const (
	// checkInterval is how often the reader checks whether the FIFO at the path is
	// still the one that it reads, because keepalived may replace it at a reload, and
	// whether any process has it open for writing.
	checkInterval = 250 * time.Millisecond
	// maxBurst bounds the bytes that are read before events are handed on. It is the
	// size of the enlarged pipe: what was readable in one moment is one burst.
	maxBurst = 1 << 20
	// maxIgnored bounds how many different lines that are ignored are warned about.
	maxIgnored = 50
)

// Reader reads the FIFO at Path, which it makes if it is missing.
type Reader struct {
	Path string
	// Overflow, which may be nil, gets the rest of a burst of which lines were lost,
	// in place of emit: the newest events are missing. It must not block.
	Overflow func([]vrrp.Event)
	// Replaced, which may be nil, is called when another FIFO was found at Path, after
	// everything in the former one has been handed on. It must not block.
	Replaced func()
	// Owner, which may be nil, returns the user and group as which keepalived runs. The
	// FIFO is given to them if the reader makes it.
	Owner func() (uid, gid int, known bool)

	journal *journal.Journal
	// The conditions of the FIFO.
	opening, access *journal.Condition
	ignored         map[string]bool // mistakes in lines that were told of

	emit    func([]vrrp.Event) // of Run
	reading sync.RWMutex       // locked from before a read until what was read is handed on
	pipe    *pipe              // the one read last, nil before the first; guarded by reading

	mu      sync.Mutex
	writing Writing
	since   time.Time // when the present writer was found, zero while there is none
	id      id        // of the FIFO that is read, zero before the first

	flush chan chan struct{}
	split splitter
	chunk [64 << 10]byte // allocated once, lest the garbage collector runs between a line and its claim
	burst []vrrp.Event
}

// NewReader returns a reader, which reads during Run. j may be nil.
func NewReader(path string, j *journal.Journal) *Reader {
	if j == nil {
		j = journal.New(nil)
	}
	return &Reader{Path: path, journal: j, opening: j.Condition(), access: j.Condition(),
		ignored: map[string]bool{}, flush: make(chan chan struct{})}
}

// Flush returns after everything that was in the FIFO when Flush was called has
// been handed to emit, or when ctx ends.
func (r *Reader) Flush(ctx context.Context) {
	done := make(chan struct{})
	select {
	case r.flush <- done:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

// CatchUp is Flush for frequent calls: it returns at once when the FIFO is empty and
// its events have been handed on.
func (r *Reader) CatchUp(ctx context.Context) {
	if !r.caughtUp() {
		r.Flush(ctx)
	}
}

func (r *Reader) caughtUp() bool {
	if !r.reading.TryRLock() {
		return false // what was read has not been handed on yet
	}
	defer r.reading.RUnlock()
	return r.pipe != nil && r.pipe.waiting() == 0
}

// Writing is what the kernel tells about the writers of the FIFO that is read.
type Writing struct {
	// Stayed is set once the FIFO was open for writing for a second without a break,
	// as keepalived has it. The end of a program that writes one line and closes the
	// FIFO says nothing about keepalived.
	Stayed bool
	// None is the time at which no process was found to have the FIFO open for
	// writing, zero while one has.
	None time.Time
}

// stay is the least time for which a writer that is taken for keepalived has the FIFO
// open.
const stay = time.Second

// Writing returns what was observed last, at most a quarter of a second ago.
func (r *Reader) Writing() Writing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writing
}

// OpenIn reports whether a process has the FIFO that is read open, as the function of
// this name does. Before the reader has opened a FIFO, that is the one at Path.
func (r *Reader) OpenIn(pid int) (bool, error) {
	r.mu.Lock()
	id := r.id
	r.mu.Unlock()
	if id.unset() {
		return OpenIn(pid, r.Path)
	}
	return openIn(pid, id)
}

// observe retains what the last read has shown about the writers of a FIFO.
func (r *Reader) observe(p *pipe) {
	now := idOf(&p.stat)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id != now {
		// In place of another FIFO: a process that had the former one open is not
		// known to have closed it.
		r.id, r.since = now, time.Time{}
		if r.writing.None.IsZero() {
			r.writing = Writing{}
		}
	}
	switch {
	case p.unwritten:
		r.since = time.Time{}
		if r.writing.None.IsZero() {
			r.writing.None = time.Now()
		}
	case r.since.IsZero():
		r.since = time.Now()
		r.writing.None = time.Time{}
	case time.Since(r.since) >= stay:
		r.writing.Stayed = true
	}
}

// Name is the name of the reader as a source of events.
func (r *Reader) Name() string { return "fifo" }

// Run reads until ctx ends and returns its cause, or the error that makes the
// path unusable. emit gets all events of one burst, oldest first; it must not block.
func (r *Reader) Run(ctx context.Context, emit func(burst []vrrp.Event)) error {
	r.emit = emit
	p, err := r.open()
	if err != nil {
		return err
	}
	r.drain(p)
	p.enlarge()
	r.journal.Tell(reading, zap.String("fifo", r.Path))
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	readable := make(chan error)
	for {
		// The wait is interrupted by a check, a flush, or the end.
		waitCtx, cancel := context.WithCancel(ctx)
		go func(p *pipe) { readable <- p.wait(waitCtx) }(p)
		var flushed chan struct{}
		select {
		case err = <-readable:
		case <-ctx.Done():
			cancel()
			<-readable
		case <-tick.C:
			cancel()
			<-readable
			p, err = r.follow(p)
		case flushed = <-r.flush:
			cancel()
			<-readable
		}
		cancel()
		if ctx.Err() != nil {
			r.drain(p)
			p.close()
			return context.Cause(ctx)
		}
		if err != nil {
			p.close()
			return fmt.Errorf("read FIFO %s: %w", r.Path, err)
		}
		r.drain(p)
		if flushed != nil {
			close(flushed)
		}
	}
}

func (r *Reader) open() (*pipe, error) {
	p, err := open(r.Path, r.Owner)
	if err == nil {
		r.checkMode(p)
	}
	return p, err
}

// checkMode tells whether other users may write into the FIFO.
func (r *Reader) checkMode(p *pipe) {
	if p.othersWrite() {
		r.access.Fail(writable, fmt.Errorf("mode %04o", p.stat.Mode&0o777), zap.String("fifo", r.Path))
	} else {
		r.access.Clear(zap.String("fifo", r.Path))
	}
}

// follow changes over to a new FIFO at the path, after it has drained the former one.
func (r *Reader) follow(p *pipe) (*pipe, error) {
	mode := p.stat.Mode
	if p.current() {
		if p.stat.Mode != mode {
			r.checkMode(p)
		}
		if r.opening.Holds() { // another file was at the path for a while
			r.opening.Clear()
			r.journal.Tell(reading, zap.String("fifo", r.Path))
		}
		return p, nil
	}
	r.drain(p)
	next, err := r.open()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errNotFIFO) {
		return p, err
	}
	if err != nil {
		// keepalived may be between unlink and mkfifo; the next check tries again.
		r.opening.Fail(unopened, err)
		return p, nil
	}
	r.opening.Clear()
	r.journal.Tell(replaced, zap.String("fifo", r.Path))
	p.close()
	r.split = splitter{}
	r.drain(next)
	next.enlarge()
	if r.Replaced != nil {
		r.Replaced()
	}
	return next, nil
}

// drain reads what is there and hands it on as one burst.
func (r *Reader) drain(p *pipe) {
	r.reading.Lock()
	defer r.reading.Unlock()
	r.pipe = p
	emit := r.emit
	if p.overflown() {
		r.journal.Tell(overflow, zap.String("fifo", r.Path))
		if r.Overflow != nil {
			emit = r.Overflow
		}
	}
	for total := 0; total < maxBurst; {
		n := p.read(r.chunk[:])
		if n == 0 {
			break
		}
		total += n
		r.split.feed(r.chunk[:n], r.line, func() {
			r.ignore("length", oversized, errTooLong)
		})
	}
	r.observe(p)
	if len(r.burst) > 0 {
		emit(r.burst)
		r.burst = nil
	}
}

func (r *Reader) line(text []byte) {
	ev, relevant, err := ParseLine(text)
	if unknown, ok := errors.AsType[*UnknownWordError](err); ok {
		r.ignore("word "+unknown.Word, unknownWord, err)
		return
	}
	if err != nil {
		shown := text[:min(len(text), 200)]
		// Another program may have written text without a newline before keepalived
		// wrote its line. No name can hold what the line of keepalived begins with.
		begin := bytes.LastIndex(text, []byte(`INSTANCE "`))
		if begin > 0 {
			shown = text[:min(begin, 200)]
		}
		r.ignore("line "+string(shown), malformed, err, zap.ByteString("line", shown))
		if begin > 0 {
			r.line(text[begin:])
		}
		return
	}
	// Each member of a sync group has a line of its own; that of the group adds nothing.
	if !relevant || ev.Group {
		return
	}
	ev.Received = time.Now()
	r.burst = append(r.burst, ev)
}

var errTooLong = fmt.Errorf("it has more than %d bytes", maxLine)

// ignore tells once for each key that a line is ignored.
func (r *Reader) ignore(key string, k journal.Kind, err error, fields ...zap.Field) {
	fields = append(fields, zap.Error(err))
	if r.ignored[key] || len(r.ignored) >= maxIgnored {
		r.journal.Debug(k.Text, fields...)
		return
	}
	r.ignored[key] = true
	r.journal.Tell(k, fields...)
}

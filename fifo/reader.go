package fifo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"berth/vrrp"

	"go.uber.org/zap"
)

const (
	// checkInterval is how often the reader looks whether the FIFO at the
	// path is still the one it reads, which keepalived replaces at a reload, and
	// whether any process has it open to write.
	checkInterval = 250 * time.Millisecond
	// maxBurst bounds what is read before events are handed on. It is the
	// size of the enlarged pipe: what was readable in one moment is one burst.
	maxBurst = 1 << 20
	// maxComplaints bounds how many different bad lines are warned about.
	maxComplaints = 50
)

// Reader reads the FIFO at Path, which it makes if it is missing.
type Reader struct {
	Path string
	// Emit gets all events of one burst, oldest first. It must not block.
	Emit func([]vrrp.Event)
	// Overflow, which may be nil, gets what was left of a burst of which lines
	// were lost, in place of Emit: these are not the newest. It must not block.
	Overflow func([]vrrp.Event)
	// Replaced, which may be nil, is called when the FIFO at Path was found to
	// be another one, after everything in the former has been handed on. It
	// must not block.
	Replaced func()
	// Owner, which may be nil, tells as whom keepalived runs, for a FIFO that
	// has to be made.
	Owner func() (uid, gid int, known bool)
	Log   *zap.Logger

	reading sync.RWMutex // locked from before a read until what was read is handed on
	pipe    *pipe        // the one read last, nil before the first; guarded by reading

	mu      sync.Mutex
	writing Writing
	since   time.Time // since when there is a writer, zero while there is none
	id      id        // of the FIFO that is read, zero before the first

	flush      chan chan struct{}
	split      splitter
	chunk      [64 << 10]byte // once, as making it would start the garbage collector between a line and its claim
	burst      []vrrp.Event
	complaints map[string]bool
}

// NewReader returns a reader; Run starts it.
func NewReader(path string, emit func([]vrrp.Event), log *zap.Logger) *Reader {
	if log == nil {
		log = zap.NewNop()
	}
	return &Reader{Path: path, Emit: emit, Log: log, flush: make(chan chan struct{}), complaints: map[string]bool{}}
}

// Flush returns after everything that was in the FIFO when it was called has
// been handed to Emit, or when ctx ends.
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

// CatchUp is Flush for those who ask often: where nothing waits it returns at
// once.
func (r *Reader) CatchUp(ctx context.Context) {
	if !r.caughtUp() {
		r.Flush(ctx)
	}
}

func (r *Reader) caughtUp() bool {
	if !r.reading.TryRLock() {
		return false // something was read and is not handed on yet
	}
	defer r.reading.RUnlock()
	return r.pipe != nil && r.pipe.waiting() == 0
}

// Writing is what the kernel says of the writers of the FIFO that is read.
type Writing struct {
	// Stayed is set once it was open to write for a second without a break, as
	// keepalived has it. A program that writes a line and closes it proves
	// nothing by its end.
	Stayed bool
	// None is the moment at which it was found that no process has it open to
	// write, zero while one has.
	None time.Time
}

// stay is how long a writer stays at least to be taken for keepalived.
const stay = time.Second

// Writing returns what was found at the last look at the FIFO, at most a
// quarter of a second ago.
func (r *Reader) Writing() Writing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writing
}

// OpenIn reports whether a process has the FIFO open that is read, as the
// function of this name does. Before the first is opened that is the one at Path.
func (r *Reader) OpenIn(pid int) (bool, error) {
	r.mu.Lock()
	id := r.id
	r.mu.Unlock()
	if id == zero {
		return OpenIn(pid, r.Path)
	}
	return openIn(pid, id)
}

// note keeps what the last read has found out.
func (r *Reader) note(p *pipe) {
	now := idOf(&p.stat)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id != now {
		// Another FIFO: if somebody had the former open, nobody is known to
		// have closed it.
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

// Run reads until ctx ends and returns its cause, or the error that makes the
// path unusable.
func (r *Reader) Run(ctx context.Context) error {
	p, err := r.open()
	if err != nil {
		return err
	}
	r.drain(p)
	p.enlarge()
	r.Log.Info("reading keepalived's events", zap.String("fifo", r.Path))
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	// The drain is interrupted by whatever else there is to do.
	readable := make(chan error)
	for {
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
	if err == nil && p.othersWrite() {
		r.complain("mode", "others may write events into the FIFO; take them the right to with chmod go-w", zap.String("fifo", r.Path))
	}
	return p, err
}

// follow changes over to a new FIFO at the path: the old one is drained to its
// end first.
func (r *Reader) follow(p *pipe) (*pipe, error) {
	if p.current() {
		return p, nil
	}
	r.drain(p)
	next, err := r.open()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errNoFIFO) {
		return p, err
	}
	if err != nil {
		// Between keepalived's unlink and mkfifo anything can be the case;
		// the next look tells.
		r.complain(err.Error(), "cannot open the new FIFO yet", zap.Error(err))
		return p, nil
	}
	r.Log.Info("FIFO was replaced; reading the new one", zap.String("fifo", r.Path))
	p.close()
	r.split = splitter{}
	r.drain(next)
	next.enlarge()
	if r.Replaced != nil {
		r.Replaced()
	}
	return next, nil
}

// drain reads what is readable and hands it on as one burst.
func (r *Reader) drain(p *pipe) {
	r.reading.Lock()
	defer r.reading.Unlock()
	r.pipe = p
	emit := r.Emit
	if p.overflown() {
		r.Log.Warn("the FIFO was full and keepalived has dropped events; taking the states from the machine", zap.String("fifo", r.Path))
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
			r.complain("too long", "skipping a FIFO line that is too long to be keepalived's", zap.Int("limit", maxLine))
		})
	}
	r.note(p)
	if len(r.burst) > 0 {
		emit(r.burst)
		r.burst = nil
	}
}

func (r *Reader) line(text []byte) {
	ev, relevant, err := ParseLine(text)
	if unknown, ok := errors.AsType[*UnknownWordError](err); ok {
		r.complain("word "+unknown.Word, "ignoring an unknown state word from keepalived", zap.Error(err))
		return
	}
	if err != nil {
		shown := text[:min(len(text), 200)]
		// Somebody else may have written something without an end in front of
		// what keepalived wrote. No name can hold this.
		begin := bytes.LastIndex(text, []byte(`INSTANCE "`))
		if begin > 0 {
			shown = text[:min(begin, 200)]
		}
		r.complain("line "+string(shown), "ignoring a FIFO line", zap.Error(err), zap.ByteString("line", shown))
		if begin > 0 {
			r.line(text[begin:])
		}
		return
	}
	// Members of a sync group report on their own; a GROUP line adds nothing.
	if !relevant || ev.Group {
		return
	}
	ev.Received = time.Now()
	r.burst = append(r.burst, ev)
}

// complain warns once per key.
func (r *Reader) complain(key, message string, fields ...zap.Field) {
	if r.complaints[key] || len(r.complaints) >= maxComplaints {
		r.Log.Debug(message, fields...)
		return
	}
	r.complaints[key] = true
	r.Log.Warn(message, fields...)
}

// Package logs is the sink of the log: it writes the lines of a process where people
// read them, and no event waits for that.
//
// The places, in this order, are the log-file of the configuration; standard error,
// unless it is /dev/null, as keepalived leaves it for its scripts; the socket of
// journald (sd_journal_send(3)); and the socket of syslog (syslog(3)). Lines wait in
// a bounded queue for one writer. When a reader has stopped reading, the queue fills
// and lines are dropped; the first line that can be written again says how many.
//
// The package cannot use package journal, which says failures once: a line about the
// log would go into the log that fails. So it says its own failures by itself.
package logs

import (
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"berth/internal/metrics"
)

const (
	// maxQueue bounds the bytes in the queue.
	maxQueue = 1 << 20
	// grace bounds how long the end of the process waits until all lines are written.
	grace = time.Second
)

// Log has the queue and the places. It is safe for concurrent use. Its lines are
// written while While runs.
type Log struct {
	standard place // the place without a log-file

	mu      sync.Mutex // guards all below
	file    *file      // nil: none is configured
	queue   []line
	bytes   int
	lost    uint64 // lines since the last one that was queued
	total   uint64
	dropped *metrics.Counter
	json    bool // the form of the line about dropped lines
	broken  bool // the last line could not be written
	ending  bool

	wake chan struct{} // a line was queued, or the process ends

	now chan struct{} // closed when a write may not block any more
}

// place is where lines are written.
type place interface {
	// stamped reports whether lines need a time and a level of their own.
	stamped() bool
	// write writes one line, which ends in a newline. It blocks for a slow reader
	// until the channel is closed.
	write(level zapcore.Level, text []byte, now <-chan struct{}) error
}

type line struct {
	level zapcore.Level
	text  []byte
	file  *file // nil: for the standard place
	last  bool  // of the process; never dropped
}

// errNow says that a line was not written because the process ends.
var errNow = errors.New("the process ends")

// New returns a Log for a process with this standard error.
func New(stderr io.Writer) *Log {
	return &Log{standard: standard(stderr), wake: make(chan struct{}, 1), now: make(chan struct{})}
}

// While runs work with a writer beside it. It returns after work has returned and
// its lines are written, or grace has passed.
func (l *Log) While(work func() int) int {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.writeAll()
	}()
	defer func() {
		l.mu.Lock()
		l.ending = true
		l.mu.Unlock()
		l.kick()
		select {
		case <-done:
		case <-time.After(grace):
			close(l.now)
			// The writer may be in a write(2) that does not return, such as on a
			// dead disk. Only the end of the process ends such a call.
			select {
			case <-done:
			case <-time.After(grace / 10):
			}
		}
	}()
	return work()
}

// Flush returns when all lines are written that were logged before, or grace has
// passed. It is for a process that executes another program.
func (l *Log) Flush() {
	end := time.After(grace)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		empty := l.bytes == 0
		l.mu.Unlock()
		if empty {
			return
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// File sets the log-file, and has it opened anew if it is the same. An empty path
// means no log-file. File does not block: the writer opens the file, and uses the
// standard place while that fails. File does nothing to a nil Log.
func (l *Log) File(path string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = nil
	if path != "" {
		l.file = &file{path: path}
	}
}

// Count makes the counter count the dropped lines, those before the call included. A
// nil Log drops none.
func (l *Log) Count(c *metrics.Counter) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = c
	c.Add(float64(l.total))
}

// Logger returns a logger whose lines go to the place that is in force when they
// are logged.
func (l *Log) Logger(verbose, json bool) *zap.Logger { return l.logger(verbose, json, false) }

// Last returns a logger for the error with which a process ends. Its lines are put
// also into a full queue, and beside a log-file they go to the standard place too, for
// the person who started the process.
func (l *Log) Last(json bool) *zap.Logger { return l.logger(false, json, true) }

func (l *Log) logger(verbose, json, last bool) *zap.Logger {
	l.mu.Lock()
	l.json = json
	l.mu.Unlock()
	// zap would write its own errors to standard error, and block on it.
	return zap.New(&core{LevelEnabler: level(verbose), log: l, json: json, last: last}, zap.ErrorOutput(zapcore.AddSync(io.Discard)))
}

// put queues lines, or drops them.
func (l *Log) put(lines ...line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range lines {
		// After a dropped line, half of the queue must be free again, so that one line
		// says how many were dropped.
		limit := maxQueue
		if l.lost > 0 {
			limit /= 2
		}
		if l.bytes+len(n.text) > limit && !n.last {
			l.drop()
			continue
		}
		l.tell()
		l.queue = append(l.queue, n)
		l.bytes += len(n.text)
	}
	l.kick()
}

// drop counts a dropped line. It is called with the lock held.
func (l *Log) drop() {
	l.lost++
	l.total++
	l.dropped.Add(1)
}

// tell queues the line about dropped lines, if lines can be written. It is called
// with the lock held.
func (l *Log) tell() {
	if l.lost == 0 || l.broken {
		return
	}
	p := l.standard
	if l.file != nil {
		p = l.file
	}
	e := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of the log were dropped, because they could not be written"}
	text, err := encode(p, l.json, e, []zapcore.Field{zap.Uint64("lines", l.lost)})
	l.lost = 0
	if err == nil {
		l.queue = append(l.queue, line{level: zapcore.WarnLevel, text: text, file: l.file})
		l.bytes += len(text)
	}
}

// kick wakes the writer.
func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// writeAll writes lines until the process ends and the queue is empty.
func (l *Log) writeAll() {
	var former *file
	for {
		n, ok := l.next()
		if former != nil && former != n.file {
			former.close()
		}
		if !ok {
			return
		}
		former = n.file
		err := l.write(n)
		l.mu.Lock()
		l.bytes -= len(n.text)
		if l.broken = err != nil; l.broken {
			l.drop()
		}
		l.mu.Unlock()
	}
}

// next waits for a line. It returns false when the process ends and the queue is
// empty.
func (l *Log) next() (n line, ok bool) {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.tell()
		}
		if len(l.queue) > 0 {
			n, l.queue = l.queue[0], l.queue[1:]
			l.mu.Unlock()
			return n, true
		}
		l.queue = nil
		ending := l.ending
		l.mu.Unlock()
		if ending {
			return line{}, false
		}
		<-l.wake
	}
}

// write writes one line to the log-file, and to the standard place if that fails.
func (l *Log) write(n line) error {
	if n.file == nil {
		return l.standard.write(n.level, n.text, l.now)
	}
	err := n.file.write(n.level, n.text, l.now)
	if e, fields := n.file.news(err); e.Message != "" {
		if text, err := encode(l.standard, false, e, fields); err == nil {
			_ = l.standard.write(e.Level, text, l.now) // no other place is left
		}
	}
	if err == nil {
		return nil
	}
	return l.standard.write(n.level, n.text, l.now)
}

package testnet

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// A Line is one line of output and the moment it was read.
type Line struct {
	Time time.Time
	Text string
}

// A Log keeps the output of a process, line by line. It is an io.Writer and
// safe for concurrent use.
type Log struct {
	// Name names the process, as "host1 keepalived".
	Name string

	bell  *Bell
	mu    sync.Mutex
	part  []byte
	lines []Line
}

// NewLog returns an empty log that rings bell for each line.
func NewLog(name string, bell *Bell) *Log {
	return &Log{Name: name, bell: bell}
}

// Write appends output; text after the last newline waits for its end.
func (l *Log) Write(p []byte) (int, error) {
	now := time.Now()
	l.mu.Lock()
	l.part = append(l.part, p...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			break
		}
		l.lines = append(l.lines, Line{Time: now, Text: string(line)})
		l.part = rest
	}
	l.mu.Unlock()
	l.bell.Ring()
	return len(p), nil
}

// Lines returns a copy of all complete lines.
func (l *Log) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line(nil), l.lines...)
}

// String returns everything written so far, an unfinished line included.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines {
		b.WriteString(line.Text)
		b.WriteByte('\n')
	}
	b.Write(l.part)
	return b.String()
}

// Find returns the first line after since that satisfies match.
func (l *Log) Find(since time.Time, match func(text string) bool) (Line, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line.Time.After(since) && match(line.Text) {
			return line, true
		}
	}
	return Line{}, false
}

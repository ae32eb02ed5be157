package journal

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Kind is something that can happen.
type Kind struct {
	// Code names the kind for programs. It never changes and is unique.
	Code string
	// Level is the severity: zap.InfoLevel, zap.WarnLevel or zap.ErrorLevel.
	Level zapcore.Level
	// Text is the message for people, a constant. Values stand in fields.
	Text string
	// Over is the message that tells of the end of a condition, or "" where its end
	// is not told.
	Over string
	// Distinct has the line of a condition logged again when the text of its error
	// changes. Without Distinct a condition has one line until it ends.
	Distinct bool
	// DependsOn are the codes of conditions from which this one follows. While one of
	// them holds in this process, this one has no line.
	DependsOn []string
	// Lasting is how long a condition must hold before its line is logged.
	Lasting time.Duration
}

// Event is one occurrence of a kind.
type Event struct {
	// ID is unique among the events of a host. The end of a condition has the ID of
	// its beginning.
	ID   string
	Code string
	// Level and Text are those of the kind, or Info and Kind.Over for an end. Text is
	// "" for an end that has no line in the log.
	Level zapcore.Level
	Text  string
	// Lasts tells that the event is about a condition: it holds until an event with
	// the same ID and Over. Another event with the same ID and without Over replaces
	// the former.
	Lasts, Over bool
	// Instance, Address, From, To and Reason come from the log fields instance,
	// address, former, state and reason or error; each may be "".
	Instance, Address, From, To, Reason string
	// Since is when the condition began, Time when the event was told. They are the
	// same for what merely happens.
	Since, Time time.Time
}

// Journal takes what happens. Its methods may be called by several goroutines at
// once and never wait for I/O but that of the logger.
type Journal struct {
	shared *shared
	part   *part // nil for what lives as long as the process
	log    *zap.Logger
	fields []zap.Field // of With
}

// part is a part of the process that can end before it.
type part struct {
	within *part // nil for the process
	ended  bool  // guarded by the lock of shared
}

// over reports whether the part, or one that it is within, has ended. It is called with
// the lock held.
func (p *part) over() bool { return p != nil && (p.ended || p.within.over()) }

// shared is what the scopes of a journal share.
type shared struct {
	consumers []func(Event)
	process   string // prefix of the IDs

	mu   sync.Mutex
	last uint64                  // number of the newest ID
	open map[*Condition]struct{} // conditions that hold
}

// New returns a journal that writes to log, which may be nil, and hands each event
// to the consumers, in order and one event at a time. A consumer must not block, and
// must not call the journal.
func New(log *zap.Logger, consumers ...func(Event)) *Journal {
	if log == nil {
		log = zap.NewNop()
	}
	return &Journal{log: log, shared: &shared{
		consumers: consumers,
		process:   strconv.FormatInt(time.Now().UnixNano(), 36),
		open:      map[*Condition]struct{}{},
	}}
}

// With returns the journal of a part: its lines and events have these fields too.
func (j *Journal) With(fields ...zap.Field) *Journal {
	all := append(append([]zap.Field{}, j.fields...), fields...)
	return &Journal{shared: j.shared, part: j.part, log: j.log.With(fields...), fields: all}
}

// Part returns the journal of a part that can end before the process, such as what
// follows from one reading of the configuration. When the part has ended, call end: it
// drops every condition made through that journal, or through one made of it, and from
// then on none of them holds. Tell goes on to work.
func (j *Journal) Part() (of *Journal, end func()) {
	p := &part{within: j.part}
	return &Journal{shared: j.shared, part: p, log: j.log, fields: j.fields}, func() {
		j.shared.mu.Lock()
		defer j.shared.mu.Unlock()
		p.ended = true
		for c := range j.shared.open {
			if c.j.part.over() {
				c.end(false, nil)
			}
		}
	}
}

// Debug writes a line that is not an event.
func (j *Journal) Debug(message string, fields ...zap.Field) { j.log.Debug(message, fields...) }

// Tell tells that something has happened.
func (j *Journal) Tell(k Kind, fields ...zap.Field) {
	e := Event{Code: k.Code, Level: k.Level, Text: k.Text}
	// Without the lock, for which the parts of a burst would wait while lines are encoded.
	j.write(e, fields)
	if len(j.shared.consumers) == 0 {
		return
	}
	j.describe(&e, fields)
	j.shared.mu.Lock()
	defer j.shared.mu.Unlock()
	e.ID, e.Time = j.shared.id(), time.Now()
	e.Since = e.Time
	j.shared.consume(e)
}

// tell writes the line of an event and hands it to the consumers. It is called with
// the lock held.
func (j *Journal) tell(e Event, fields []zap.Field) {
	j.write(e, fields)
	if len(j.shared.consumers) > 0 {
		j.describe(&e, fields)
		j.shared.consume(e)
	}
}

// write writes the line of an event, if it has one.
func (j *Journal) write(e Event, fields []zap.Field) {
	if e.Text != "" {
		j.log.Log(e.Level, e.Text, append([]zap.Field{zap.String("code", e.Code)}, fields...)...)
	}
}

// describe fills in what an event has from its fields.
func (j *Journal) describe(e *Event, fields []zap.Field) {
	values := zapcore.NewMapObjectEncoder()
	for _, list := range [][]zap.Field{j.fields, fields} {
		for _, f := range list {
			f.AddTo(values)
		}
	}
	text := func(key string) string {
		if v, ok := values.Fields[key]; ok {
			return fmt.Sprint(v)
		}
		return ""
	}
	e.Instance, e.Address = text("instance"), text("address")
	e.From, e.To = text("former"), text("state")
	if e.Reason = text("reason"); e.Reason == "" {
		e.Reason = text("error")
	}
}

// consume hands an event to the consumers. It is called with the lock held.
func (s *shared) consume(e Event) {
	for _, consume := range s.consumers {
		consume(e)
	}
}

// id returns a new ID. It is called with the lock held.
func (s *shared) id() string {
	s.last++
	return s.process + "-" + strconv.FormatUint(s.last, 36)
}

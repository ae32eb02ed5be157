package journal

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// settle is how long a condition is given to end by itself after the one on which it
// depends has ended; only then is its line logged.
const settle = 5 * time.Second

// Condition holds at most one kind at a time, with the newest error: it stands for one
// thing that can be wrong. Its methods may be called by several goroutines at once.
type Condition struct {
	shared *shared

	// All below belongs to the lock of shared.
	j      *Journal
	kind   Kind // empty while nothing is wrong
	text   string
	fields []zap.Field
	since  time.Time
	id     string
	logged bool        // the line of kind and text
	open   Kind        // the kind whose line was logged last and has had no line for its end, or empty
	wait   *time.Timer // fires when the line is due, or nil
}

// Condition returns a condition that does not hold.
func (j *Journal) Condition() *Condition { return &Condition{shared: j.shared, j: j} }

// Move makes the condition one of another part of the same process, which goes on with
// what it is about: it holds, or does not, as before.
func (c *Condition) Move(to *Journal) {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	c.j = to
}

// Fail tells that a condition holds, and why. A line is logged when the condition
// begins, when its kind changes, and, for a Distinct kind, when the text of err changes.
// Repetitions are debug lines, and so is all that comes after the end of its part.
func (c *Condition) Fail(k Kind, err error, fields ...zap.Field) {
	s := c.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	fields = append([]zap.Field{zap.Error(err)}, fields...)
	if c.j.part.over() {
		c.j.log.Debug(k.Text, append([]zap.Field{zap.String("code", k.Code)}, fields...)...)
		return
	}
	former := c.kind.Code
	if c.kind.Code == k.Code && (!k.Distinct || c.text == err.Error()) {
		if !c.logged {
			c.text, c.fields = err.Error(), fields // the newest, for when the line is due
		}
		c.j.log.Debug(k.Text, append([]zap.Field{zap.String("code", k.Code), zap.Bool("again", true)}, fields...)...)
		return
	}
	if former == "" {
		c.since, c.id = time.Now(), s.id()
		s.open[c] = struct{}{}
	}
	c.kind, c.text, c.fields, c.logged = k, err.Error(), fields, false
	c.after(time.Until(c.since.Add(k.Lasting)))
	s.reconsider(former)
}

// Clear tells that nothing is wrong. If a line was logged for the condition, the end of
// the condition has a line too, with the time that the condition lasted.
func (c *Condition) Clear(fields ...zap.Field) {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	c.end(true, fields)
}

// Drop ends a condition whose part has ended, such as a holding: whether the fault lasts
// is not known any more. Consumers are told of the end, the log
// is not. The condition may be used again.
func (c *Condition) Drop() {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	c.end(false, nil)
}

// end is called with the lock held.
func (c *Condition) end(aloud bool, fields []zap.Field) {
	s := c.shared
	if c.kind.Code == "" {
		return
	}
	k, open := c.kind, c.open
	c.kind, c.text, c.fields, c.logged, c.open = Kind{}, "", nil, false, Kind{}
	c.stop()
	delete(s.open, c)
	if open.Code != "" {
		now, text := time.Now(), ""
		if aloud {
			text = open.Over
		}
		c.j.tell(Event{ID: c.id, Code: open.Code, Level: zap.InfoLevel, Text: text, Lasts: true, Over: true, Since: c.since, Time: now},
			append(slices.Clone(fields), zap.Duration("after", now.Sub(c.since))))
	}
	s.reconsider(k.Code)
}

// reconsider is called when a condition with this code has ended: a condition that
// depends on it has its line logged if it lasts. It is called with the lock held.
func (s *shared) reconsider(code string) {
	for other := range s.open {
		if !other.logged && slices.Contains(other.kind.DependsOn, code) {
			other.after(max(settle, time.Until(other.since.Add(other.kind.Lasting))))
		}
	}
}

// Holds reports whether a condition holds, with its line logged or not.
func (c *Condition) Holds() bool {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	return c.kind.Code != ""
}

// after logs the line of the condition when a time has passed, at once if that is not
// in the future. It is called with the lock held.
func (c *Condition) after(d time.Duration) {
	c.stop()
	if d <= 0 {
		c.tell()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		c.shared.mu.Lock()
		defer c.shared.mu.Unlock()
		if c.wait == timer { // else it was stopped too late
			c.wait = nil
			c.tell()
		}
	})
	c.wait = timer
}

func (c *Condition) stop() {
	if c.wait != nil {
		c.wait.Stop()
		c.wait = nil
	}
}

// tell logs the line of the condition, and hands its event to the consumers, unless a
// condition on which it depends holds. It is called with the lock held.
func (c *Condition) tell() {
	for other := range c.shared.open {
		if slices.Contains(c.kind.DependsOn, other.kind.Code) {
			return
		}
	}
	c.logged, c.open = true, c.kind
	c.j.tell(Event{ID: c.id, Code: c.kind.Code, Level: c.kind.Level, Text: c.kind.Text, Lasts: true, Since: c.since, Time: time.Now()}, c.fields)
}

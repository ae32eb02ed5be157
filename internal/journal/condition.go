package journal

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// settle is how long a condition is given to end by itself after the one on which it
// depends has ended; only then is it said.
const settle = 5 * time.Second

// Condition is a place where one thing can be wrong at a time. Its methods may be
// called by several goroutines at once.
type Condition struct {
	j *Journal

	// All below belongs to the lock of the journal's record.
	kind   Kind // empty while nothing is wrong
	text   string
	fields []zap.Field
	since  time.Time
	id     string
	said   bool
	told   Kind        // of this place that was said last and has not ended, or empty
	wait   *time.Timer // until it is said, or nil
}

// Condition returns a condition that does not hold.
func (j *Journal) Condition() *Condition { return &Condition{j: j} }

// Fail tells that a condition holds, and why. It is said when it begins, when the
// kind in this place changes, and, for a Distinct kind, when the text of err does.
// Repetitions are debug lines.
func (c *Condition) Fail(k Kind, err error, fields ...zap.Field) {
	r := c.j.record
	r.mu.Lock()
	defer r.mu.Unlock()
	fields = append([]zap.Field{zap.Error(err)}, fields...)
	former := c.kind.Code
	if c.kind.Code == k.Code && (!k.Distinct || c.text == err.Error()) {
		if !c.said {
			c.text, c.fields = err.Error(), fields // the newest, for when it is said
		}
		c.j.log.Debug(k.Text, append([]zap.Field{zap.String("code", k.Code), zap.Bool("again", true)}, fields...)...)
		return
	}
	if former == "" {
		c.since, c.id = time.Now(), r.id()
		r.open[c] = struct{}{}
	}
	c.kind, c.text, c.fields, c.said = k, err.Error(), fields, false
	c.after(time.Until(c.since.Add(k.Lasting)))
	r.reconsider(former)
}

// Clear tells that nothing is wrong in this place. Where a condition was said, its
// end is said too, with the time that it lasted.
func (c *Condition) Clear(fields ...zap.Field) { c.end(true, fields) }

// Drop ends a condition whose place is gone, such as that of a holding that has ended:
// whether the fault lasts is not known any more. Consumers are told of the end, the log
// is not. The condition may be used again.
func (c *Condition) Drop() { c.end(false, nil) }

func (c *Condition) end(aloud bool, fields []zap.Field) {
	r := c.j.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.kind.Code == "" {
		return
	}
	k, told := c.kind, c.told
	c.kind, c.text, c.fields, c.said, c.told = Kind{}, "", nil, false, Kind{}
	c.stop()
	delete(r.open, c)
	if told.Code != "" {
		now, text := time.Now(), ""
		if aloud {
			text = told.Over
		}
		c.j.say(Event{ID: c.id, Code: told.Code, Level: zap.InfoLevel, Text: text, Lasts: true, Over: true, Since: c.since, Time: now},
			append(slices.Clone(fields), zap.Duration("after", now.Sub(c.since))))
	}
	r.reconsider(k.Code)
}

// reconsider is called when a condition with this code has ended: a condition that
// depends on it is said if it lasts. It is called with the lock held.
func (r *record) reconsider(code string) {
	for other := range r.open {
		if !other.said && slices.Contains(other.kind.DependsOn, code) {
			other.after(max(settle, time.Until(other.since.Add(other.kind.Lasting))))
		}
	}
}

// Holds reports whether a condition holds, said or not.
func (c *Condition) Holds() bool {
	c.j.record.mu.Lock()
	defer c.j.record.mu.Unlock()
	return c.kind.Code != ""
}

// after says the condition when a time has passed, at once if that is not in the
// future. It is called with the lock held.
func (c *Condition) after(d time.Duration) {
	c.stop()
	if d <= 0 {
		c.say()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		c.j.record.mu.Lock()
		defer c.j.record.mu.Unlock()
		if c.wait == timer { // else it was stopped too late
			c.wait = nil
			c.say()
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

// say says the condition unless one on which it depends holds. It is called with the
// lock held.
func (c *Condition) say() {
	for other := range c.j.record.open {
		if slices.Contains(c.kind.DependsOn, other.kind.Code) {
			return
		}
	}
	c.said, c.told = true, c.kind
	c.j.say(Event{ID: c.id, Code: c.kind.Code, Level: c.kind.Level, Text: c.kind.Text, Lasts: true, Since: c.since, Time: time.Now()}, c.fields)
}

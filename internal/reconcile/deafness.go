package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/keepalivedconf"

	"go.uber.org/zap"
)

// Deafness tells that keepalived does not have the FIFO open that berth reads, with
// the command that cures it, and of the end of that. It outlives a configuration of
// berth.
type Deafness struct {
	fifo    string
	conf    func() (path string, reading *keepalivedconf.Config)
	changed func()
	metrics *Metrics
	journal *journal.Journal
	deaf    *journal.Condition
	why     atomic.Pointer[string]
}

// NewDeafness returns what tells of the FIFO at a path. conf returns the path of
// keepalived.conf and what is in force of it, nil if nothing is known. changed is
// called after Why has changed; it must not block.
func NewDeafness(fifo string, conf func() (path string, reading *keepalivedconf.Config), changed func(), m *Metrics, j *journal.Journal) *Deafness {
	return &Deafness{fifo: fifo, conf: conf, changed: changed, metrics: m, journal: j, deaf: j.Condition()}
}

// Why returns why no event of keepalived can arrive, with the cure; "" where events
// can, or where that is not known.
func (d *Deafness) Why() string {
	if why := d.why.Load(); why != nil {
		return *why
	}
	return ""
}

// Tell takes whether what keepalived writes can reach berth; see
// keepalived.FIFOMonitor.
func (d *Deafness) Tell(s keepalived.FIFOState, k keepalived.Processes, unreadable error) {
	fields := []zap.Field{zap.String("fifo", d.fifo), zap.Int("pid", k.Parent)}
	why := ""
	switch {
	case s == keepalived.FIFONotOpen:
		err := errors.New("keepalived does not have " + d.fifo + " open, which it opens only at its start and reload")
		cure := d.cure(k)
		why = err.Error() + "; cure: " + cure
		kind := fifoDeaf
		if !k.Proven {
			kind = fifoDeafUnasked
		}
		d.deaf.Fail(kind, err, append(fields, zap.String("cure", cure))...)
	case s == keepalived.FIFOOpen:
		d.deaf.Clear(fields...)
	case unreadable != nil:
		d.deaf.Fail(fifoUnverifiable, unreadable, fields...)
	case d.Why() != "":
		d.deaf.Drop()
		d.journal.Tell(fifoDeafEnded, fields...)
	}
	d.metrics.fifo(s)
	d.why.Store(&why)
	d.changed()
}

// cure returns what makes keepalived open the FIFO.
func (d *Deafness) cure(k keepalived.Processes) string {
	path, reading := d.conf()
	cure := keepalived.Reload(path, k.Parent)
	if reading != nil && !slices.Contains(reading.FIFOs, d.fifo) {
		cure = fmt.Sprintf("add vrrp_notify_fifo %s to global_defs in %s, and then %s", d.fifo, path, cure)
	}
	return cure
}

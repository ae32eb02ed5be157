package keepalived

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/internal/pidfd"

	"go.uber.org/zap"
)

// rescan is how often a new keepalived is searched for.
const rescan = time.Second

// member is a process of a keepalived, which is identified by its parent process.
type member struct {
	*pidfd.Process
	parent  int
	foreign bool // of a keepalived that turned out not to be berth's
}

// errEnded says that processes were found and had ended before they were watched.
var errEnded = errors.New("keepalived was found, and ended before it could be watched")

// Run watches keepalived until ctx ends and returns its cause. born, which may be nil,
// is called for each process that is found; it must not block. died is called once for
// the death of each watched process, with the moment at which it was noticed; calls do
// not overlap. After Attach found that keepalived started this process, only those
// that did are watched.
func (d *Daemon) Run(ctx context.Context, born func(), died func(pid int, at time.Time)) error {
	d.watches.Store(true)
	defer d.missing.Clear()
	defer d.polled.Clear()
	for _, p := range d.origin.Keepalived {
		d.tellPolled(p)
	}
	if d.script && len(d.origin.Keepalived) > 0 {
		return d.origin.Watch(ctx, func(pid int) { d.handOn(died, pid, time.Now()) })
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	d.Search()
	for {
		select {
		case <-ctx.Done():
			d.end()
			return context.Cause(ctx)
		case <-tick.C:
			d.Search()
		case <-d.wake:
			d.mu.Lock()
			opened := d.opened
			d.opened = nil
			d.mu.Unlock()
			for _, p := range opened {
				d.journal.Tell(watched, zap.Int("pid", p.PID))
				if born != nil {
					born()
				}
				wg.Go(func() { d.watch(ctx, p, died) })
			}
		}
	}
}

// Search searches all processes for keepalived and watches what it finds.
func (d *Daemon) Search() { _, _ = d.search() } // the verdict is asked for when it is needed

// search is Search; the error says why keepalived is not known to live.
func (d *Daemon) search() (Verdict, error) {
	k, err := find(d.pidFile, d.belongs)
	v := d.take(k, err)
	if v == Alive {
		return v, nil
	}
	if err == nil {
		err = errEnded
	}
	return v, err
}

// check finds what is not watched yet, by the pid file alone.
func (d *Daemon) check() Verdict {
	d.mu.Lock()
	k, n := d.current, 0
	for _, m := range d.watched {
		if m.parent == k.Parent {
			n++
		}
	}
	d.mu.Unlock()
	switch n {
	case 0:
		return d.take(byPIDFile(d.pidFile))
	case 1:
		k.VRRP = vrrpProcess(k.Parent, d.pidFile)
		return d.take(k, nil)
	}
	return Alive
}

// end closes those handles for which no goroutine waits.
func (d *Daemon) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for _, p := range d.opened {
		p.Close()
	}
}

// take takes what was found: it opens those processes that are not watched and hands
// them to Run.
func (d *Daemon) take(k Processes, err error) Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		for _, pid := range k.pids() {
			d.open(pid, k.Parent)
		}
		if _, ok := d.watched[k.Parent]; ok {
			if d.current.Parent != k.Parent {
				d.leave()
			}
			d.current = k
		}
	}
	if _, ok := d.watched[d.current.Parent]; ok {
		d.missing.Clear()
		return Alive
	}
	if d.current.Parent != 0 {
		return Dead
	}
	return Unknown
}

// leave gives up the keepalived that was found last for another that has the
// FIFO open: if it lives and does not have it open, its death is not to be told.
// It is called with the lock held.
func (d *Daemon) leave() {
	former, ok := d.watched[d.current.Parent]
	if d.belongs == nil || !ok || former.Ended() {
		return
	}
	for pid, m := range d.watched {
		if m.parent == d.current.Parent && d.belongs(pid) {
			return
		}
	}
	for pid, m := range d.watched {
		if m.parent == d.current.Parent {
			m.foreign = true
			d.watched[pid] = m
		}
	}
}

// open begins to watch a process, unless it is watched. It is called with the
// lock held.
func (d *Daemon) open(pid, parent int) {
	if _, ok := d.watched[pid]; ok || d.ended {
		return
	}
	p, err := pidfd.Open(pid)
	if err != nil {
		return // it has ended meanwhile
	}
	if !isKeepalived(p.Info) {
		p.Close() // another program has the pid now
		return
	}
	d.tellPolled(p)
	m := member{Process: p, parent: parent}
	d.watched[pid] = m
	d.opened = append(d.opened, m)
	select {
	case d.wake <- struct{}{}:
	default: // Run is woken already
	}
}

func (d *Daemon) tellPolled(p *pidfd.Process) {
	if why := p.Polled(); why != nil {
		d.polled.Fail(polled, why)
	}
}

func (d *Daemon) watch(ctx context.Context, p member, died func(pid int, at time.Time)) {
	err := p.Wait(ctx)
	at := time.Now()
	d.mu.Lock()
	foreign := d.watched[p.PID].foreign
	delete(d.watched, p.PID)
	d.mu.Unlock()
	p.Close()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.journal.Tell(unwatchable, zap.Int("pid", p.PID), zap.Error(err))
		return
	}
	if !foreign {
		d.handOn(died, p.PID, at)
	}
}

// handOn hands one death on at a time.
func (d *Daemon) handOn(died func(pid int, at time.Time), pid int, at time.Time) {
	d.dying.Lock()
	defer d.dying.Unlock()
	died(pid, at)
}

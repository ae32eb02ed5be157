// Package supervise tells when keepalived dies, so that a host whose
// keepalived is gone stops claiming. It watches keepalived's parent process and
// its VRRP process by pidfd, so that the kernel wakes it, and through /proc only
// where a pidfd is refused. What it polls for, once a second, is birth: a new pid
// in the pid file or a new VRRP process after a crash.
//
// Dead is only what was watched and seen to end. A pid file that is stale, that
// was written in another PID namespace, or whose pid belongs to another program
// says nothing: keepalived may run where it cannot be seen.
package supervise

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/pidfd"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// name is keepalived's process name (comm). Its child processes have the same
// or, with process_names in its configuration, one that begins with it.
const name = "keepalived"

// rescan is how often a pid file is looked at for a new keepalived.
const rescan = time.Second

// maxAncestors bounds the walk towards init.
const maxAncestors = 64

// Origin is where a process comes from.
type Origin struct {
	// Keepalived are the processes above that are keepalived's, nearest first:
	// for a notify script the VRRP process and its parent. A shell may stand
	// between. Empty if the process was not started by keepalived.
	Keepalived []*pidfd.Process
	// Script is the process that keepalived started: the process itself, or
	// the shell that wraps it. keepalived starts one for each event, so that
	// the order of these is the order of the events. It is the process itself
	// if keepalived did not start it.
	Script pidfd.Info
	// Orphaned is set if no keepalived is above, and the process, or the script
	// that it is a part of, has init as its parent: keepalived has died since it
	// started the script, or the script has gone into the background.
	Orphaned bool
}

// Close closes the handles.
func (o Origin) Close() {
	for _, p := range o.Keepalived {
		p.Close()
	}
}

// WarnPolled warns if the processes above are held without a pidfd.
func (o Origin) WarnPolled(log *zap.Logger) {
	for _, p := range o.Keepalived {
		if why := p.Polled(); why != nil {
			warnPolled(log, why)
			return
		}
	}
}

func warnPolled(log *zap.Logger, why error) {
	log.Warn("keepalived is watched by looking at /proc again and again; allow berth the system calls pidfd_open and pidfd_send_signal (with Docker: a seccomp profile that has them)",
		zap.Error(why))
}

// OriginOf finds out where a process comes from. The caller closes the result,
// which is good for as much as could be read.
func OriginOf(pid int) Origin {
	var o Origin
	below, err := pidfd.Stat(pid)
	if err != nil {
		return o
	}
	o.Script = below
	var children []pidfd.Info // of o.Keepalived, on the way down to pid
	for range maxAncestors {
		if below.Parent < 1 {
			break
		}
		above, err := pidfd.Stat(below.Parent)
		if err != nil {
			break
		}
		if isKeepalived(above) {
			p, err := pidfd.Open(above.PID)
			if err != nil {
				break
			}
			o.Keepalived = append(o.Keepalived, p)
			children = append(children, below)
			// Topmost is keepalived's parent process, below it the VRRP
			// process. A third one is a fork of that, which waits for a script
			// that is no executable file.
			o.Script = children[max(0, len(children)-2)]
		}
		below = above
	}
	o.Orphaned = len(o.Keepalived) == 0 && orphaned(o.Script)
	return o
}

// orphaned looks at the process and at the shell above that leads its process
// group, which is the script that keepalived started: it gives each a group of its
// own.
func orphaned(script pidfd.Info) bool {
	if script.Parent == 1 {
		return true
	}
	if leader, err := unix.Getpgid(script.PID); err != nil || leader != script.Parent {
		return false
	}
	shell, err := pidfd.Stat(script.Parent)
	return err == nil && shell.Parent == 1
}

// isKeepalived tells keepalived from a script that is named after it. The name
// decides where its executable may not be seen: for a script run as another
// user.
func isKeepalived(info pidfd.Info) bool {
	is, _ := identify(info)
	return is
}

// identify is isKeepalived; proven is set where the executable decided.
func identify(info pidfd.Info) (is, proven bool) {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(info.PID) + "/exe")
	if err != nil {
		return strings.HasPrefix(info.Name, name), false
	}
	return ours(exe), true
}

// ours tells keepalived's executable, also after an upgrade has deleted it.
func ours(exe string) bool { return strings.HasPrefix(filepath.Base(exe), name) }

// Watcher watches the keepalived that a pid file names.
type Watcher struct {
	// Born, which may be set before Run, is called for each keepalived process
	// that is found. It must not block.
	Born func()
	// Holds, which may be set before Run, is as for Find.
	Holds func(pid int) bool

	pidFile string
	died    func(pid int, at time.Time)
	log     *zap.Logger

	mu      sync.Mutex
	dying   sync.Mutex // held during died
	watched map[int]member
	opened  []member      // watched, but not yet waited for
	wake    chan struct{} // one slot: there is something in opened
	current Keepalived    // that was found last, zero before the first
	polled  bool          // it was said that a pidfd is refused
	ended   bool
}

// member is a process of a keepalived, which its parent stands for.
type member struct {
	*pidfd.Process
	parent  int
	foreign bool // of a keepalived that turned out not to be berth's
}

// NewWatcher returns a watcher; Run starts it. died is called once for the
// death of each watched process, with the moment at which it was noticed; calls
// do not overlap.
func NewWatcher(pidFile string, died func(pid int, at time.Time), log *zap.Logger) *Watcher {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watcher{pidFile: pidFile, died: died, log: log, watched: map[int]member{}, wake: make(chan struct{}, 1)}
}

// Verdict is what a look at keepalived told.
type Verdict uint8

const (
	// Unknown: no living keepalived was found, and none was seen to die.
	// keepalived may run all the same, in a container or under another pid file.
	Unknown Verdict = iota
	// Alive: keepalived runs and is watched.
	Alive
	// Dead: keepalived was watched and seen to end, and no other was found since.
	Dead
)

// Look looks for keepalived now, watches what is not watched yet, and tells
// whether keepalived lives. A source of events calls it before it acts on a
// MASTER: a keepalived that dies within the second after must not be missed.
// It costs nothing while both processes are watched, and never searches all
// processes, which Run does. Run must be running.
func (w *Watcher) Look() Verdict {
	w.mu.Lock()
	k, n := w.current, 0
	for _, m := range w.watched {
		if m.parent == k.Parent {
			n++
		}
	}
	w.mu.Unlock()
	switch n {
	case 0:
		return w.take(Find(w.pidFile, nil))
	case 1:
		k.VRRP = vrrpProcess(k.Parent, w.pidFile)
		return w.take(k, nil)
	}
	return Alive
}

// Current returns the keepalived that was found last, if it is still watched.
func (w *Watcher) Current() (Keepalived, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.current
	if _, ok := w.watched[k.Parent]; !ok {
		return Keepalived{}, false
	}
	if _, ok := w.watched[k.VRRP]; !ok {
		k.VRRP = 0
	}
	return k, true
}

// Why returns why keepalived is not known, nil if it is.
func (w *Watcher) Why() error {
	_, err := Find(w.pidFile, w.Holds)
	return err
}

// Search is Look through all processes, if Holds is set.
func (w *Watcher) Search() Verdict { return w.take(Find(w.pidFile, w.Holds)) }

// Run watches until ctx ends and returns its cause.
func (w *Watcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	w.Search()
	for {
		select {
		case <-ctx.Done():
			w.end()
			return context.Cause(ctx)
		case <-tick.C:
			w.Search()
		case <-w.wake:
			w.mu.Lock()
			opened := w.opened
			w.opened = nil
			w.mu.Unlock()
			for _, p := range opened {
				w.log.Info("watching keepalived", zap.Int("pid", p.PID))
				if w.Born != nil {
					w.Born()
				}
				wg.Go(func() { w.watch(ctx, p) })
			}
		}
	}
}

// end closes what nobody waits for any more.
func (w *Watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, p := range w.opened {
		p.Close()
	}
}

// take takes what Find has found: it opens those processes that are not watched
// and hands them to Run.
func (w *Watcher) take(k Keepalived, err error) Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		for _, pid := range k.pids() {
			w.open(pid, k.Parent)
		}
		if _, ok := w.watched[k.Parent]; ok {
			if w.current.Parent != k.Parent {
				w.leave()
			}
			w.current = k
		}
	}
	if _, ok := w.watched[w.current.Parent]; ok {
		return Alive
	}
	if w.current.Parent != 0 {
		return Dead
	}
	return Unknown
}

// leave gives up the keepalived that was found last for another that has the
// FIFO open: if it lives and does not have it open, its death is not to be told.
// It is called with the lock held.
func (w *Watcher) leave() {
	former, ok := w.watched[w.current.Parent]
	if w.Holds == nil || !ok || former.Ended() {
		return
	}
	for pid, m := range w.watched {
		if m.parent == w.current.Parent && w.Holds(pid) {
			return
		}
	}
	for pid, m := range w.watched {
		if m.parent == w.current.Parent {
			m.foreign = true
			w.watched[pid] = m
		}
	}
}

// open begins to watch a process, unless it is watched. It is called with the
// lock held.
func (w *Watcher) open(pid, parent int) {
	if _, ok := w.watched[pid]; ok || w.ended {
		return
	}
	p, err := pidfd.Open(pid)
	if err != nil {
		return // gone again
	}
	if !isKeepalived(p.Info) {
		p.Close() // the pid is somebody else's now
		return
	}
	if why := p.Polled(); why != nil && !w.polled {
		w.polled = true
		warnPolled(w.log, why)
	}
	m := member{Process: p, parent: parent}
	w.watched[pid] = m
	w.opened = append(w.opened, m)
	select {
	case w.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

func (w *Watcher) watch(ctx context.Context, p member) {
	err := p.Wait(ctx)
	at := time.Now()
	w.mu.Lock()
	foreign := w.watched[p.PID].foreign
	delete(w.watched, p.PID)
	w.mu.Unlock()
	p.Close()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.log.Error("cannot watch keepalived", zap.Int("pid", p.PID), zap.Error(err))
		return
	}
	if foreign {
		return
	}
	w.dying.Lock()
	defer w.dying.Unlock()
	w.died(p.PID, at)
}

// ErrGone is the cause with which work ends that a dead keepalived had begun.
var ErrGone = errors.New("keepalived has died")

// Package supervise tells when keepalived dies, so that a host whose
// keepalived is gone stops claiming. It watches keepalived's parent process and
// its VRRP process by pidfd: the kernel wakes it, it does not poll for death.
// What it polls for, once a second, is birth: a new pid in the pid file or a
// new VRRP process after a crash.
package supervise

import (
	"bytes"
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
}

// Close closes the handles.
func (o Origin) Close() {
	for _, p := range o.Keepalived {
		p.Close()
	}
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
	return o
}

// isKeepalived tells keepalived from a script that is named after it. The name
// decides where its executable may not be seen: for a script run as another
// user.
func isKeepalived(info pidfd.Info) bool {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(info.PID) + "/exe")
	if err != nil {
		return strings.HasPrefix(info.Name, name)
	}
	return strings.HasPrefix(filepath.Base(exe), name)
}

// Watcher watches the keepalived that a pid file names.
type Watcher struct {
	// Born, which may be set before Run, is called for each keepalived process
	// that is found. It must not block.
	Born func()

	pidFile string
	died    func(pid int, at time.Time)
	log     *zap.Logger

	mu      sync.Mutex
	dying   sync.Mutex // held during died
	watched map[int]*pidfd.Process
	opened  []*pidfd.Process // watched, but not yet waited for
	wake    chan struct{}    // one slot: there is something in opened
	ended   bool
}

// NewWatcher returns a watcher; Run starts it. died is called once for the
// death of each watched process, with the moment at which it was noticed; calls
// do not overlap.
func NewWatcher(pidFile string, died func(pid int, at time.Time), log *zap.Logger) *Watcher {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watcher{pidFile: pidFile, died: died, log: log, watched: map[int]*pidfd.Process{}, wake: make(chan struct{}, 1)}
}

// Verdict is what a look at the pid file told.
type Verdict uint8

const (
	// NoTrace: no pid file, or one that says nothing usable. keepalived may run
	// all the same, in a container or under another pid file.
	NoTrace Verdict = iota
	// Alive: keepalived runs and is watched.
	Alive
	// Dead: the pid file names a process that is no living keepalived.
	Dead
)

// Look looks at the pid file now, watches what is not watched yet, and tells
// whether keepalived lives. A source of events calls it before it acts on a
// MASTER: a keepalived that dies within the second after must not be missed.
// It costs nothing while both processes are watched. Run must be running.
func (w *Watcher) Look() Verdict {
	w.mu.Lock()
	complete := len(w.watched) > 1
	w.mu.Unlock()
	if complete {
		return Alive
	}
	return w.scan()
}

// Run watches until ctx ends and returns its cause.
func (w *Watcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	w.scan()
	for {
		select {
		case <-ctx.Done():
			w.end()
			return context.Cause(ctx)
		case <-tick.C:
			w.scan()
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

// scan opens those processes of the pid file's keepalived that are not watched
// and hands them to Run.
func (w *Watcher) scan() Verdict {
	parent, ok := readPID(w.pidFile)
	if !ok {
		return NoTrace
	}
	pids := []int{parent}
	if child, ok := vrrpProcess(parent, w.pidFile); ok {
		pids = append(pids, child)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pid := range pids {
		if _, ok := w.watched[pid]; ok || w.ended {
			continue
		}
		p, err := pidfd.Open(pid)
		if err != nil {
			continue // gone again, or a stale pid file
		}
		if !isKeepalived(p.Info) {
			p.Close() // a stale pid file whose pid is somebody else's now
			continue
		}
		w.watched[pid] = p
		w.opened = append(w.opened, p)
		select {
		case w.wake <- struct{}{}:
		default: // Run will look anyway
		}
	}
	if w.watched[parent] == nil {
		return Dead
	}
	return Alive
}

func (w *Watcher) watch(ctx context.Context, p *pidfd.Process) {
	err := p.Wait(ctx)
	at := time.Now()
	w.mu.Lock()
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
	w.dying.Lock()
	defer w.dying.Unlock()
	w.died(p.PID, at)
}

// vrrpProcess finds the VRRP process of keepalived's parent process. A
// keepalived that runs VRRP alone has one child; beside a checker or BFD
// process the VRRP process's own pid file, in the directory of the parent's,
// tells which it is.
func vrrpProcess(parent int, pidFile string) (int, bool) {
	children := children(parent)
	if len(children) == 1 {
		return children[0], true
	}
	for _, file := range []string{"vrrp.pid", "keepalived_vrrp.pid"} {
		pid, ok := readPID(filepath.Join(filepath.Dir(pidFile), file))
		if !ok {
			continue
		}
		for _, c := range children {
			if c == pid {
				return pid, true
			}
		}
	}
	return 0, false
}

// children returns the living children of pid that are keepalived's, from
// /proc/PID/task/PID/children, which proc(5) has since Linux 3.5.
func children(pid int) []int {
	p := strconv.Itoa(pid)
	text, err := os.ReadFile("/proc/" + p + "/task/" + p + "/children")
	if err != nil {
		return nil
	}
	var found []int
	for _, word := range bytes.Fields(text) {
		child, err := strconv.Atoi(string(word))
		if err != nil {
			continue
		}
		if info, err := pidfd.Stat(child); err == nil && info.State != 'Z' && isKeepalived(info) {
			found = append(found, child)
		}
	}
	return found
}

func readPID(path string) (int, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	return pid, err == nil && pid > 0
}

// ErrGone is the cause with which work ends that a dead keepalived had begun.
var ErrGone = errors.New("keepalived has died")

// Processes returns keepalived's parent process and its VRRP process, by its
// pid file.
func Processes(pidFile string) (parent, vrrp int, ok bool) {
	if parent, ok = Running(pidFile); !ok {
		return 0, 0, false
	}
	vrrp, ok = vrrpProcess(parent, pidFile)
	return parent, vrrp, ok
}

// Running returns the pid of the keepalived that a pid file names, if it runs.
func Running(pidFile string) (int, bool) {
	pid, ok := readPID(pidFile)
	if !ok {
		return 0, false
	}
	info, err := pidfd.Stat(pid)
	return pid, err == nil && info.State != 'Z' && isKeepalived(info)
}

package keepalived

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"berth/internal/journal"
	"berth/internal/pidfd"
	"berth/vrrp"
)

// ErrDied is the cause with which work ends that a dead keepalived had begun.
var ErrDied = errors.New("keepalived has died")

// Verdict tells whether keepalived lives.
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

// Options say which keepalived is meant.
type Options struct {
	// PIDFile is the pid file of keepalived's parent process.
	PIDFile string
	// Origin is where this process comes from. It may be empty; the caller closes it
	// when nothing uses the Daemon any more.
	Origin Origin
	// Script is set for a notify script, which belongs to the keepalived that
	// started it, whatever the pid file says.
	Script bool
	// Belongs, which may be nil, reports whether a process is for certain one of the
	// keepalived that is meant, because it has berth's FIFO open. Such a keepalived
	// is searched for among all processes where the one of the pid file is not there,
	// or does not have the FIFO open.
	Belongs func(pid int) bool
	Journal *journal.Journal // nil: nothing is told
}

// Daemon is the keepalived on whose events berth acts: the one that started this
// process, or the one that the pid file names, or the one that has berth's FIFO open.
// Its methods may be called by several goroutines at once.
type Daemon struct {
	pidFile string
	origin  Origin
	script  bool
	belongs func(pid int) bool
	journal *journal.Journal
	missing *journal.Condition
	polled  *journal.Condition

	watches atomic.Bool // Run or Attach was called

	mu      sync.Mutex
	dying   sync.Mutex // held while a death is handed on
	watched map[int]member
	opened  []member      // watched, but not yet waited for
	wake    chan struct{} // one slot: there is something in opened
	current Processes     // that were found last, zero before the first
	ended   bool
}

// New returns the keepalived that o means. It is searched for when a method asks for it;
// Run watches it.
func New(o Options) *Daemon {
	j := o.Journal
	if j == nil {
		j = journal.New(nil)
	}
	return &Daemon{pidFile: o.PIDFile, origin: o.Origin, script: o.Script, belongs: o.Belongs,
		journal: j, missing: j.Condition(), polled: j.Condition(), watched: map[int]member{}, wake: make(chan struct{}, 1)}
}

var (
	errNotWatched = errors.New("no keepalived is watched")
	errNoVRRP     = errors.New("keepalived's VRRP process was not found")
)

// Current returns the processes of keepalived: those that started this process, or
// those that are watched. Where nothing watches, as in a command that only reports,
// they are searched for now. The error says why keepalived is not known. It does not say
// that keepalived does not run.
func (d *Daemon) Current() (Processes, error) {
	switch n := len(d.origin.Keepalived); {
	case n > 1:
		return Processes{Parent: d.origin.Keepalived[n-1].PID, VRRP: d.origin.Keepalived[n-2].PID, Proven: true}, nil
	case n == 1 && d.script:
		return Processes{Parent: d.origin.Keepalived[0].PID, Proven: true}, nil
	}
	if k, ok := d.known(); ok {
		return k, nil
	}
	if d.watches.Load() {
		return Processes{}, errNotWatched
	}
	return find(d.pidFile, d.belongs)
}

// known returns the processes that were found last, if they are still watched.
func (d *Daemon) known() (Processes, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.current
	if _, ok := d.watched[k.Parent]; !ok {
		return Processes{}, false
	}
	if _, ok := d.watched[k.VRRP]; !ok {
		k.VRRP = 0
	}
	return k, true
}

// Verdict tells whether keepalived lives: the one that started this process, or the
// one of the pid file, which is read if need be, and watched from then on. It is called
// before a MASTER is acted on: a keepalived that dies within the second after must not
// be missed. It costs nothing while both processes are watched, and never searches all
// processes, which Run does. Run must be running.
func (d *Daemon) Verdict() Verdict {
	if v := d.check(); v == Alive || len(d.origin.Keepalived) == 0 {
		return v
	}
	for _, p := range d.origin.Keepalived {
		if p.Ended() {
			return Dead
		}
	}
	return Alive
}

// Expect is called after a MASTER has come although Verdict does not know keepalived
// to live: it searches all processes, tells in the log if no keepalived is found, and
// reports whether one is.
func (d *Daemon) Expect() bool {
	verdict, err := d.search()
	if verdict != Alive {
		d.missing.Fail(notFound, err)
	}
	return verdict == Alive
}

// Parent returns keepalived's parent process, if it is known.
func (d *Daemon) Parent() (pid int, ok bool) {
	k, err := d.Current()
	return k.Parent, err == nil
}

// VRRP returns the process that has the addresses, and their network namespace, if it
// is known.
func (d *Daemon) VRRP() (pid int, ok bool) {
	k, err := d.Current()
	if d.script && len(d.origin.Keepalived) == 1 {
		return k.Parent, true // the process that started the script
	}
	return k.VRRP, err == nil && k.VRRP != 0
}

// User returns as whom keepalived runs.
func (d *Daemon) User() (uid, gid int, known bool) {
	k, err := d.Current()
	if err != nil {
		k, err = byPIDFile(d.pidFile)
	}
	if err != nil {
		return 0, 0, false
	}
	st, err := os.Stat(fmt.Sprintf("/proc/%d", k.Parent))
	if err != nil {
		return 0, 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(sys.Uid), int(sys.Gid), true
}

// Watchable returns keepalived's parent process, and why it would be watched through
// /proc, nil if by pidfd; or why keepalived is not known, with pid 0.
func (d *Daemon) Watchable() (pid int, err error) {
	k, err := d.Current()
	if err != nil {
		return 0, err
	}
	p, err := pidfd.Open(k.Parent)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return k.Parent, p.Polled()
}

// Dump makes keepalived write its state dump and returns the states in it. That fails
// where keepalived was built without JSON, runs as another user, or has another file
// system. It changes no state of keepalived.
func (d *Daemon) Dump(ctx context.Context) (Dump, error) { return ask(ctx, d, parseStates) }

// Addresses is Dump for the virtual addresses of each instance.
func (d *Daemon) Addresses(ctx context.Context) (map[string][]vrrp.FloatingIP, error) {
	return ask(ctx, d, parseAddresses)
}

func ask[T any](ctx context.Context, d *Daemon, parse func([]byte) (T, error)) (answer T, err error) {
	k, err := d.Current()
	if err == nil && k.VRRP == 0 {
		err = errNoVRRP
	}
	if err != nil {
		return answer, err
	}
	err = dump(ctx, k, func(text []byte) (err error) {
		answer, err = parse(text)
		return err
	})
	return answer, err
}

// Reload returns the command that makes keepalived read its configuration and open its
// FIFOs anew. keepalived ends where it is told to reload what it refuses, and so the
// file is tested first.
func Reload(conf string, pid int) string {
	return fmt.Sprintf("keepalived -t -f %s && kill -HUP %d", conf, pid)
}

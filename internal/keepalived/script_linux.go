package keepalived

import (
	"context"
	"errors"
	"os"
	"time"

	"berth/internal/pidfd"

	"go.uber.org/zap"
)

// Attach is called once by a notify script that acts on a MASTER, before it does:
// from then on the death of the keepalived that sent the MASTER cannot be missed. It
// reports false if that keepalived has died already, or ctx has ended.
func (d *Daemon) Attach(ctx context.Context) bool {
	if !d.sent(ctx) {
		return false
	}
	d.watches.Store(true)
	if len(d.origin.Keepalived) > 0 {
		return true // by the handles that Origin has
	}
	if k, ok := sender(d.pidFile, d.origin.Script); ok {
		d.belongs = func(pid int) bool { return pid == k.Parent || pid == k.VRRP }
	}
	if verdict, err := d.search(); verdict == Alive {
		d.journal.Tell(notParent)
	} else {
		d.missing.Fail(senderNotFound, err)
	}
	return true
}

// sent reports whether the keepalived that sent a MASTER may still run. It is searched
// for if init is the parent of the script, and once more a second later: a script that
// goes into the background has init as its parent just as one whose keepalived has
// died. A keepalived that was killed has left its pid file; where there is none, or
// processes are hidden, nothing is known and the event counts.
func (d *Daemon) sent(ctx context.Context) bool {
	if !d.origin.Orphaned || !visible() {
		return true
	}
	for try := range 2 {
		if _, ok := sender(d.pidFile, d.origin.Script); ok {
			return true
		}
		if try > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
	if _, err := os.Lstat(d.pidFile); errors.Is(err, os.ErrNotExist) {
		return true
	}
	d.journal.Tell(senderDied, zap.String("pid_file", d.pidFile))
	return false
}

// visible reports whether /proc shows the processes of other users, which the mount
// option hidepid prevents.
func visible() bool {
	_, err := pidfd.Stat(1)
	return err == nil
}

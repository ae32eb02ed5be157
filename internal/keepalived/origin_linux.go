package keepalived

import (
	"context"
	"sync"

	"berth/internal/pidfd"

	"golang.org/x/sys/unix"
)

// maxAncestors bounds the walk towards init.
const maxAncestors = 64

// Origin is where a process comes from.
type Origin struct {
	// Keepalived are the ancestors that are keepalived's processes, nearest first:
	// for a notify script the VRRP process and its parent. A shell may stand
	// between. It is empty if keepalived did not start the process.
	Keepalived []*pidfd.Process
	// Script is the process that keepalived started: the process itself, or
	// the shell that wraps it. keepalived starts one for each event, so that
	// the order of these processes is the order of the events. It is the process
	// itself if keepalived did not start it.
	Script pidfd.Info
	// Orphaned is set if no ancestor is keepalived, and the process, or the script
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

// Watch calls died when one of the ancestors ends, perhaps from several goroutines,
// and returns when ctx does, after all watches have ended. One call at a time.
func (o Origin) Watch(ctx context.Context, died func(pid int)) error {
	var wg sync.WaitGroup
	for _, p := range o.Keepalived {
		wg.Go(func() {
			if err := p.Wait(ctx); err == nil {
				died(p.PID)
			}
		})
	}
	wg.Wait()
	<-ctx.Done()
	return context.Cause(ctx)
}

// OriginOf finds out where a process comes from. The caller closes the result,
// which holds as much as could be read.
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
			// that is not an executable file.
			o.Script = children[max(0, len(children)-2)]
		}
		below = above
	}
	o.Orphaned = len(o.Keepalived) == 0 && orphaned(o.Script)
	return o
}

// orphaned reports whether init is the parent of the process, or of the shell above
// it that leads its process group: such a shell is the script that keepalived
// started, as keepalived gives each script a group of its own.
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

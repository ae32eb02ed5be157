package faults

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// etcdRestored puts the data from before a takeover back into all members of etcd,
// within a lease after it: in these data the former owner is the owner.
func etcdRestored(r *Run) error {
	if err := r.Etcd.Save(); err != nil {
		return err
	}
	if err := r.takeover(); err != nil {
		return err
	}
	r.ready()
	return errors.Join(r.Pass(time.Second), r.Etcd.Restore())
}

// takeover makes the idle host the owner.
func (r *Run) takeover() error {
	return r.Idle.Do(r.Ctx, BerthPath+" takeover --config "+ConfigPath+" "+Instance)
}

// etcdRestoredNewcomer is etcdRestored with data in which the owner has no lease: its
// berth was started after they were saved.
func etcdRestoredNewcomer(r *Run) error {
	if err := errors.Join(r.Idle.Signal(r.Ctx, unix.SIGTERM), r.Etcd.Save(), r.Idle.Start()); err != nil {
		return err
	}
	err := r.takeover()
	for tries := 0; err != nil && tries < 5; tries++ { // its berth has just been started; each waits a second for it
		err = r.takeover()
	}
	if err != nil {
		return err
	}
	r.ready()
	return errors.Join(r.Pass(time.Second), r.Etcd.Restore())
}

// etcdWiped starts all members of etcd without data, as a cluster of another id.
func etcdWiped(r *Run) error {
	r.ready()
	return r.Etcd.Wipe(fmt.Sprint("wiped-", time.Now().UnixNano()))
}

// doubledMember gives another host the name of the owner's member. Both must report
// that.
func doubledMember(r *Run) error {
	begun := time.Now()
	if err := r.rename(r.Idle, r.Victim.Name()); err != nil {
		return err
	}
	r.heal(func() error {
		var errs []error
		for _, h := range []*Host{r.Victim, r.Idle} {
			_, told := h.Berth.Log.Find(begun, func(text string) bool {
				return strings.Contains(text, "another host takes part in the election under the name of this one")
			})
			if !told {
				errs = append(errs, fmt.Errorf("%s does not tell that its name is another host's too", h.Name()))
			}
		}
		return errors.Join(append(errs, r.rename(r.Idle, ""))...)
	})
	return nil
}

// rename starts a host's berth as another member.
func (r *Run) rename(h *Host, member string) error {
	if err := h.Signal(r.Ctx, unix.SIGTERM); err != nil {
		return err
	}
	h.member = member
	return errors.Join(h.Node.WriteFile(ConfigPath, h.config(), 0o600), h.Start())
}

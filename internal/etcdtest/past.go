//go:build linux

package etcdtest

import (
	"errors"
	"fmt"
	"time"
)

// Save copies the data of all members as they are now, all members at one moment,
// in place of what was saved before.
func (c *Cluster) Save() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.Pause())
	}
	for _, m := range c.members {
		errs = append(errs, m.shell(fmt.Sprintf("rm -rf %[2]s && cp -a --sparse=always %[1]s %[2]s", m.data(), m.saved())))
	}
	for _, m := range c.members {
		errs = append(errs, m.Resume())
	}
	return errors.Join(errs...)
}

// Restore ends all members and starts them with what was saved: the cluster is the
// same, and what happened since has not happened. It does not wait until they serve.
func (c *Cluster) Restore() error {
	return c.anew(func(m *Member) error {
		return m.shell(fmt.Sprintf("rm -rf %[1]s && cp -a --sparse=always %[2]s %[1]s", m.data(), m.saved()))
	})
}

// Wipe ends all members and starts them without data. With another token the cluster
// has another id; token is "berth-test" at first. It does not wait until they serve.
func (c *Cluster) Wipe(token string) error {
	return c.anew(func(m *Member) error {
		if err := m.configure(c.peers(), token); err != nil {
			return err
		}
		return m.shell("rm -rf " + m.data())
	})
}

// anew changes something while no member runs.
func (c *Cluster) anew(change func(*Member) error) error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.Kill())
	}
	for _, m := range c.members {
		errs = append(errs, change(m))
	}
	for _, m := range c.members {
		errs = append(errs, m.Restart())
	}
	return errors.Join(errs...)
}

// shell runs a command line where the member lives, and waits for its end. Its paths
// have no odd characters. That it did what it should is seen by what follows.
func (m *Member) shell(line string) error {
	p, err := m.place.Run(m.Name+"-sh", "/bin/sh", "-c", line)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("run %q at %s: it takes too long", line, m.Name)
	}
}

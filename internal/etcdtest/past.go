package etcdtest

import (
	"errors"
	"fmt"
	"time"
)

// Save copies the data of all members as they are now, of all at one moment, and
// replaces the copy that was saved before.
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

// Restore ends all members and starts them with the saved data: the cluster is the
// same, without the changes since then. It does not wait until they serve.
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

// anew stops all members, calls a function, and starts them again.
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
// have no odd characters. A failure shows when the member is started again.
func (m *Member) shell(line string) error {
	p, err := m.place.Run(m.Name+"-sh", "/bin/sh", "-c", line)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(waitLimit):
		return fmt.Errorf("run %q at %s: it takes too long", line, m.Name)
	}
}

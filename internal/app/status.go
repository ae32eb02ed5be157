package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/internal/pidfd"
	"berth/internal/status"
)

// Status prints what is managed now on this host, from the files in the run
// directory. The error is for exit status 1 if and only if an instance is MASTER
// here and no process acts for it; what cannot be told is a *UsageError.
func (o *Options) Status(runDirectory, instance string, asJSON bool) error {
	all, err := status.Read(runDirectory)
	wanted := []status.Instance{}
	for _, in := range all {
		if instance == "" || in.Instance == instance {
			wanted = append(wanted, in)
		}
	}
	if instance != "" && len(wanted) == 0 && err == nil {
		return &UsageError{fmt.Errorf("no status of instance %q below %s; no berth has acted for it since boot", instance, runDirectory)}
	}
	alive := func(in status.Instance) bool { return !gone(in) }
	stale := status.Stale(wanted, alive)
	if err != nil && stale == nil {
		err = &UsageError{err}
	}
	err = errors.Join(err, stale)
	if asJSON {
		enc := json.NewEncoder(o.Stdout)
		enc.SetIndent("", "  ")
		return errors.Join(enc.Encode(wanted), err)
	}
	return errors.Join(status.Table(o.Stdout, wanted, time.Now(), alive), err)
}

// gone reports whether the process that wrote an entry has ended.
func gone(in status.Instance) bool { return pidfd.Gone(in.PID, in.Start) }

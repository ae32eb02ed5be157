package status

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/internal/files"
	"berth/internal/rundir"
	"berth/vrrp"
)

// Lease is the lease of a member of etcd, kept beside the instances.
type Lease struct {
	Boot   string    `json:"boot"` // of the machine: no lease outlives one
	ID     int64     `json:"id"`
	Prefix string    `json:"prefix"`
	Member string    `json:"member"`
	End    time.Time `json:"end,omitzero"` // unless it is renewed
	// Unacknowledged is since when etcd has not acknowledged it, while it is kept all
	// the same. Then it has no end that is known.
	Unacknowledged time.Time `json:"unacknowledged,omitzero"`
}

// ReadLease returns what a file has; the error matches os.ErrNotExist if there
// is none.
func ReadLease(path string) (Lease, error) { return readLease(path, files.Read) }

// ReadOwnLease is ReadLease for a process that acts on the lease: a file that another
// user can have made is an error, see files.ReadOwn.
func ReadOwnLease(path string) (Lease, error) { return readLease(path, files.ReadOwn) }

func readLease(path string, read func(path string, max int64) ([]byte, error)) (Lease, error) {
	var l Lease
	text, err := read(path, maxFile)
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return l, fmt.Errorf("read lease %s: %w", path, err)
	}
	return l, nil
}

func read(path string) (Instance, error) {
	var in Instance
	text, err := files.Read(path, maxFile)
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	return in, err
}

// Read returns all instances below the run directory, ordered by name and prefix. No
// directory means none. Files that cannot be read are joined in the error; the
// others are returned with it.
func Read(runDirectory string) ([]Instance, error) {
	return readAll(rundir.Dir(runDirectory).Status())
}

func readAll(dir string) ([]Instance, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	var found []Instance
	var problems []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		in, err := read(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read status %s: %w", path, err))
			continue
		}
		if in.Lease != "" {
			// Gone with its process, or about to be made anew: nothing to say.
			l, _ := ReadLease(in.Lease)
			in.LeaseEnd, in.Unacknowledged = l.End, l.Unacknowledged
		}
		found = append(found, in)
	}
	slices.SortFunc(found, func(a, b Instance) int {
		return cmp.Or(strings.Compare(a.Instance, b.Instance), strings.Compare(a.Prefix, b.Prefix))
	})
	return found, errors.Join(problems...)
}

// HealthyOf returns the health checks that the process before this one, with the same
// place in the election, found healthy last. Files that cannot be read, or that another
// user can have made, are left out.
func HealthyOf(runDirectory, prefix, member string) []string {
	return healthyOf(runDirectory, func(in Instance) bool { return in.Prefix == prefix && in.Member == member })
}

// HealthySince returns the health checks that a process before this one, of the mode
// Watching, found healthy last, if it has told anything since a moment. Files are left out
// as by HealthyOf.
func HealthySince(runDirectory string, since time.Time) []string {
	return healthyOf(runDirectory, func(in Instance) bool { return in.Mode == Watching && in.Updated.After(since) })
}

func healthyOf(runDirectory string, is func(Instance) bool) []string {
	var checks []string
	dir := rundir.Dir(runDirectory).Status()
	all, _ := Read(runDirectory)
	for _, in := range all {
		if !is(in) {
			continue
		}
		text, err := files.ReadOwn(filepath.Join(dir, fileName(in)), maxFile)
		if err != nil || json.Unmarshal(text, &in) != nil {
			continue
		}
		for _, h := range in.Health {
			if h.Healthy {
				checks = append(checks, h.Check)
			}
		}
	}
	return checks
}

// MastersOf returns the instances that are MASTER here and for which the notify script of
// a sync group has reported. Files that cannot be read are left out.
func MastersOf(runDirectory, group string) []string {
	all, _ := Read(runDirectory)
	var names []string
	for _, in := range all {
		if in.Group == group && in.State == vrrp.Master {
			names = append(names, in.Instance)
		}
	}
	return names
}

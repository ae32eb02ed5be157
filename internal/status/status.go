// Package status keeps what berth does on this host in files that anybody may
// read: one per instance in the run directory, replaced atomically. `berth
// status` prints them; it needs no running berth and no privilege.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/files"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Instance is what is known about one instance.
type Instance struct {
	Instance  string     `json:"instance"`
	Group     string     `json:"group,omitempty"` // the sync group whose notify script reported for it
	State     vrrp.State `json:"state"`
	Since     time.Time  `json:"since"`
	Priority  int        `json:"priority,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Addresses []Address  `json:"addresses"`
	Error     string     `json:"error,omitempty"` // what keeps the holding from its addresses
	// Corrections counts how often the machine showed what no event had told;
	// Correction is the newest.
	Corrections int    `json:"corrections,omitempty"`
	Correction  string `json:"correction,omitempty"`
	// Deaf is why no event of keepalived can arrive, with the cure; empty where
	// events can, or where that is not known.
	Deaf string `json:"deaf,omitempty"`
	// Configuration says how keepalived.conf differs from what is acted on, and
	// what to do about it.
	Configuration string `json:"configuration,omitempty"`
	// Owner is the member that etcd names, Token its fencing token where that is
	// this one, Lease the file that has the lease.
	Owner string `json:"owner,omitempty"`
	Token int64  `json:"token,omitempty"`
	Lease string `json:"lease,omitempty"`
	// Contested are the addresses over which there is a fight on this host or its
	// network, whoever owns them.
	Contested []string `json:"contested,omitempty"`
	// Astray are the addresses that another interface of this host has although another
	// host owns them, each with " on " and the name of that interface.
	Astray []string `json:"astray,omitempty"`
	// LeaseEnd is filled in by Read.
	LeaseEnd time.Time `json:"lease_end,omitzero"`
	PID      int       `json:"pid"`
	Start    uint64    `json:"start"` // with pid unique within a boot
	Mode     string    `json:"mode"`  // notify, fifo or elect
	Updated  time.Time `json:"updated"`
}

// Address is what is known about one address of an instance that is MASTER.
type Address struct {
	Address   string    `json:"address"`
	Owner     string    `json:"owner,omitempty"` // "here", or who was seen
	Since     time.Time `json:"since,omitzero"`
	LastCall  time.Time `json:"last_call,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	Claims    int       `json:"claims"`
	Thefts    int       `json:"thefts"`
	Contested bool      `json:"contested,omitempty"`
	Suspended bool      `json:"suspended,omitempty"` // gone from the interface without an event
}

// flushDelay joins the changes of a burst into one write per instance, after the
// first claims are out: these must not wait for files that are for people.
const flushDelay = 200 * time.Millisecond

// Writer writes the files of one process.
type Writer struct {
	dir string
	log *zap.Logger

	mu      sync.Mutex
	known   map[string]*Instance
	dirty   map[string]bool
	changed chan struct{}
	failing bool
	self    Instance // pid, start, mode, configuration
}

// NewWriter returns a writer for files below the run directory. self carries
// what all entries share: PID, Start, Mode.
func NewWriter(runDirectory string, self Instance, log *zap.Logger) *Writer {
	return &Writer{dir: dir(runDirectory), self: self, log: log,
		known: map[string]*Instance{}, dirty: map[string]bool{}, changed: make(chan struct{}, 1)}
}

// Update changes what is known about an instance. It does no I/O.
func (w *Writer) Update(instance string, change func(*Instance)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in, ok := w.known[instance]
	if !ok {
		in = &Instance{Instance: instance, PID: w.self.PID, Start: w.self.Start, Mode: w.self.Mode, Configuration: w.self.Configuration}
		w.known[instance] = in
	}
	change(in)
	w.touch(in)
}

// Note sets the Configuration of all instances, those to come included. It does
// no I/O.
func (w *Writer) Note(configuration string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.self.Configuration = configuration
	for _, in := range w.known {
		in.Configuration = configuration
		w.touch(in)
	}
}

// touch has an instance written soon. It is called with the lock held.
func (w *Writer) touch(in *Instance) {
	in.Updated = time.Now()
	w.dirty[in.Instance] = true
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Run writes what changed until ctx ends, then writes the rest and returns
// ctx's cause.
func (w *Writer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			w.Flush()
			return context.Cause(ctx)
		case <-w.changed:
		}
		select {
		case <-ctx.Done():
		case <-time.After(flushDelay):
		}
		w.Flush()
	}
}

// Flush writes now what changed. A failure is a warning, once until it
// recovers: status is for people, the addresses matter more.
func (w *Writer) Flush() {
	w.mu.Lock()
	var todo []Instance
	for name := range w.dirty {
		in := *w.known[name]
		in.Addresses = append([]Address{}, in.Addresses...) // [] in JSON, never null
		in.Contested, in.Astray = slices.Clone(in.Contested), slices.Clone(in.Astray)
		todo = append(todo, in)
	}
	clear(w.dirty)
	w.mu.Unlock()
	if len(todo) == 0 {
		return
	}
	var err error
	for _, in := range todo {
		if err = w.write(in); err != nil {
			break
		}
	}
	if err != nil && !w.failing {
		w.log.Warn("cannot write status", zap.Error(err))
	}
	w.failing = err != nil
}

func (w *Writer) write(in Instance) error {
	text, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	return files.Replace(filepath.Join(w.dir, fileName(in.Instance)), append(text, '\n'), 0o644)
}

// Lease is the lease of a member of etcd, kept beside the instances.
type Lease struct {
	Boot   string    `json:"boot"` // of the machine: no lease outlives one
	ID     int64     `json:"id"`
	Prefix string    `json:"prefix"`
	Member string    `json:"member"`
	End    time.Time `json:"end,omitzero"` // unless it is renewed
}

// ReadLease returns what a file has; the error matches os.ErrNotExist if there
// is none.
func ReadLease(path string) (Lease, error) {
	var l Lease
	text, err := files.Read(path, maxFile)
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return l, fmt.Errorf("read lease %s: %w", path, err)
	}
	return l, nil
}

const suffix = ".json"

// maxFile bounds a file in bytes; an address takes some hundred.
const maxFile = 4 << 20

func dir(runDirectory string) string { return filepath.Join(runDirectory, "status") }

// fileName escapes the name so that it holds no slash and begins with no dot.
func fileName(instance string) string {
	name := url.PathEscape(instance)
	if name == "" || strings.HasPrefix(name, ".") {
		name = "%" + name // no result of PathEscape begins so
	}
	return name + suffix
}

// Read returns all instances below the run directory, ordered by name. No
// directory means none. Files that cannot be read are joined in the error; the
// others are returned with it.
func Read(runDirectory string) ([]Instance, error) {
	entries, err := os.ReadDir(dir(runDirectory))
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
		path := filepath.Join(dir(runDirectory), e.Name())
		text, err := files.Read(path, maxFile)
		var in Instance
		if err == nil {
			err = json.Unmarshal(text, &in)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read status %s: %w", path, err))
			continue
		}
		if in.Lease != "" {
			// Gone with its process, or about to be made anew: nothing to say.
			l, _ := ReadLease(in.Lease)
			in.LeaseEnd = l.End
		}
		found = append(found, in)
	}
	slices.SortFunc(found, func(a, b Instance) int { return strings.Compare(a.Instance, b.Instance) })
	return found, errors.Join(problems...)
}

// Package status keeps what berth does on this host in files that anybody may
// read: one per instance in the run directory, replaced atomically. `berth
// status` prints them; it needs no running berth and no privilege.
package status

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// LeaseEnd is filled in by Read; so is Unacknowledged, since when etcd has not
	// acknowledged a lease that is kept without it.
	LeaseEnd       time.Time `json:"lease_end,omitzero"`
	Unacknowledged time.Time `json:"unacknowledged,omitzero"`
	// Prefix and Member are those of the election in which this process takes part;
	// two processes of one host can take part in two. Doubled says that another host
	// takes part under the same name.
	Prefix  string    `json:"prefix,omitempty"`
	Member  string    `json:"member,omitempty"`
	Doubled bool      `json:"doubled_member,omitempty"`
	PID     int       `json:"pid"`
	Start   uint64    `json:"start"` // with pid unique within a boot
	Mode    string    `json:"mode"`  // notify, fifo or elect
	Updated time.Time `json:"updated"`
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

// stateDelay takes its place when a state has changed: whoever has just handed an
// instance over looks where it is.
const stateDelay = 20 * time.Millisecond

// Writer writes the files of one process.
type Writer struct {
	dir string
	log *zap.Logger

	mu      sync.Mutex
	known   map[string]*Instance
	dirty   map[string]bool
	changed chan struct{}
	state   chan struct{} // one slot, as changed: a state is among what changed
	failing bool
	self    Instance // what all entries share
}

// NewWriter returns a writer for files below the run directory. self carries
// what all entries share: PID, Start, Mode, Prefix and Member.
func NewWriter(runDirectory string, self Instance, log *zap.Logger) *Writer {
	return &Writer{dir: dir(runDirectory), self: self, log: log,
		known: map[string]*Instance{}, dirty: map[string]bool{}, changed: make(chan struct{}, 1), state: make(chan struct{}, 1)}
}

// Update changes what is known about an instance. It does no I/O.
func (w *Writer) Update(instance string, change func(*Instance)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in, ok := w.known[instance]
	if !ok {
		own := w.self
		in = &own
		in.Instance = instance
		w.known[instance] = in
	}
	former := in.State
	change(in)
	w.touch(in)
	if in.State != former {
		select {
		case w.state <- struct{}{}:
		default:
		}
	}
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
		case <-w.state:
			select {
			case <-ctx.Done():
			case <-time.After(stateDelay):
			}
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
	if err := files.Replace(filepath.Join(w.dir, fileName(in)), append(text, '\n'), 0o644); err != nil {
		return err
	}
	w.tidy(in)
	return nil
}

// tidy removes the file of a berth of before the prefix and the member were part of
// its name: left behind it would go on telling of a process that is gone.
func (w *Writer) tidy(in Instance) {
	if in.Prefix == "" {
		return
	}
	path := filepath.Join(w.dir, fileName(Instance{Instance: in.Instance}))
	if old, err := read(path); err == nil && old.Mode == in.Mode && old.Prefix == "" && old.Lease == in.Lease {
		_ = os.Remove(path) // it is in nobody's way but a reader's
	}
}

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

// fileName escapes the name so that it holds no slash and begins with no dot. An
// instance of one name in two elections is two.
func fileName(in Instance) string {
	name := url.PathEscape(in.Instance)
	if name == "" || strings.HasPrefix(name, ".") {
		name = "%" + name // no result of PathEscape begins so
	}
	if in.Prefix != "" {
		election := sha256.Sum256([]byte(in.Prefix + "\x00" + in.Member))
		name += "%%" + hex.EncodeToString(election[:8]) // nor has one this
	}
	return name + suffix
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
		in, err := read(path)
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

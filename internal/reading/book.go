package reading

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// interval is how often a running berth compares whether keepalived.conf, or a
// file that it includes, was changed, and whether keepalived has loaded it. While an
// address stays only because it is still on this host, berth compares more often: an
// address that keepalived takes off is to be let go before it counts as missing.
const (
	interval     = time.Second
	soonInterval = 200 * time.Millisecond
)

// ErrUnknown says that neither keepalived.conf nor what keepalived has loaded of it
// has the name.
var ErrUnknown = errors.New("not in the keepalived configuration")

// ErrDoubtful says that a name is not known, and that keepalived.conf looks
// unfinished, so that this proves nothing.
var ErrDoubtful = errors.New("looks unfinished, or keepalived would refuse it")

// Book is what is known of keepalived's configuration: the file at Path, parsed
// once per change, what keepalived has loaded of it, and the last good reading.
// The exported fields are set before the first call.
type Book struct {
	Path    string
	Options keepalivedconf.Options
	// Version, which may be nil, returns the version of keepalived that counts now. It
	// stands in place of that of Options, and may change when keepalived is started anew.
	Version func() string
	// Managed stands instead of the instances' own addresses, if it has any.
	Managed []vrrp.FloatingIP
	// RunDirectory has the last good reading of an earlier process; empty: none.
	RunDirectory string
	// Process, which may be nil, returns the pid of keepalived's parent process.
	Process func() (pid int, ok bool)
	// Ask, which may be nil, asks keepalived for the addresses of its instances.
	Ask func(context.Context) (map[string][]vrrp.FloatingIP, error)
	// Bound, which may be nil, reads which addresses are on this host.
	Bound func() (func(netip.Addr) bool, error)
	// Noted, which may be nil, is told the note that File returns whenever that
	// changes. It must not block.
	Noted func(note string)
	// Journal, which may be nil, is told of the file and of what is in force.
	Journal *journal.Journal

	mu      sync.Mutex
	begun   bool
	newest  *keepalivedconf.Config // nil if the file cannot be read
	err     error                  // why
	stamps  map[string]stamp       // of what newest was read from
	version string                 // as which newest was read
	loaded  loaded
	asked   asked
	runs    *keepalivedconf.Config // what keepalived runs, nil: not known
	good    *keepalivedconf.Config // last reading without doubt, nil before the first
	saved   *keepalivedconf.Config // of good, in the run directory
	now     Decision
	own     map[string][]vrrp.FloatingIP // of now, by instance
	note    string
	told    *keepalivedconf.Config // the newest reading that was told of
	change  chan struct{}          // closed and replaced when what is in force changes

	file      *journal.Condition // what is wrong with the file
	retaining *journal.Condition
	immovable map[netip.Addr]*journal.Condition
}

// Inherit takes over what a former book of the same file knew and has told, for as
// long as the file does not say better. It is called before anything is read, and when
// nothing can keep this book any more from taking over: what is wrong with the file is
// from now on told by its journal.
func (b *Book) Inherit(former *Book) {
	if former.Path != b.Path || former.Options.ConfigID != b.Options.ConfigID {
		return
	}
	former.mu.Lock()
	good, before, file := former.good, former.now.Config, former.file
	former.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prepare()
	if file != nil {
		file.Move(b.Journal)
		b.file = file
	}
	b.good, b.now.Config = good, before
}

// Addresses returns what is moved for an instance; what no provider can move is
// left out. An instance that is not known is an error that matches ErrUnknown, or
// ErrDoubtful. With managed addresses only the former: the file is there to verify
// the instance alone.
func (b *Book) Addresses(instance string) ([]vrrp.FloatingIP, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin()
	list, ok := b.own[instance]
	if !ok {
		err := b.unknown("vrrp_instance", instance)
		if errors.Is(err, ErrUnknown) || len(b.Managed) == 0 {
			return nil, err
		}
		b.Journal.Tell(unverifiable, zap.String("instance", instance), zap.Error(err))
	}
	if len(b.Managed) > 0 {
		list = b.Managed
	}
	return slices.DeleteFunc(slices.Clone(list), b.isImmovable), nil
}

// unknown returns the error about a name that is not in force.
func (b *Book) unknown(what, name string) error {
	switch {
	case b.err != nil && b.runs == nil:
		return b.err
	case b.runs == nil:
		if m, isDoubtful := Doubt(b.newest, b.good); isDoubtful {
			return fmt.Errorf("%s %q is not in %s, which %w: %s:%d: %s", what, name, b.Path, ErrDoubtful, m.File, m.Line, m.Message)
		}
	}
	return fmt.Errorf("%s %q: %w %s", what, name, ErrUnknown, b.Path)
}

// isImmovable reports whether no provider can move an address, and tells of it once.
func (b *Book) isImmovable(ip vrrp.FloatingIP) bool {
	why := ip.Immovable()
	if why == "" {
		return false
	}
	is, ok := b.immovable[ip.Addr()]
	if !ok {
		is = b.Journal.With(zap.Stringer("address", ip)).Condition()
		b.immovable[ip.Addr()] = is
	}
	is.Fail(immovable, errors.New(why))
	return true
}

// Members returns the instances of a sync group. With managed addresses and a
// file that cannot be read the group stands for itself, as an instance would.
func (b *Book) Members(group string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin()
	if b.now.Config != nil {
		for _, g := range b.now.Config.Groups {
			if g.Name == group {
				return g.Members, nil
			}
		}
	}
	err := b.unknown("vrrp_sync_group", group)
	if !errors.Is(err, ErrUnknown) && len(b.Managed) > 0 {
		return []string{group}, nil
	}
	return nil, err
}

// Reading returns what is in force, nil if nothing is known, and why that is not
// what the file on the disk has: it cannot be read, or is doubtful and keepalived
// was not seen to load it.
func (b *Book) Reading() (*keepalivedconf.Config, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin()
	if b.err == nil && b.runs == nil {
		if m, isDoubtful := Doubt(b.newest, b.good); isDoubtful {
			return b.now.Config, fmt.Errorf("%s %w: %s:%d: %s", b.Path, ErrDoubtful, m.File, m.Line, m.Message)
		}
	}
	return b.now.Config, b.err
}

// File returns the newest reading of the file on the disk, or why there is none,
// and what there is to say about the difference to what is in force, empty if
// there is none.
func (b *Book) File() (newest *keepalivedconf.Config, note string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin()
	return b.newest, b.note, b.err
}

// Watch returns a channel that is closed at the next change of what is in force.
func (b *Book) Watch() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.channel()
}

func (b *Book) channel() chan struct{} {
	if b.change == nil {
		b.change = make(chan struct{})
	}
	return b.change
}

// Run follows the file and keepalived until ctx ends. It begins with the first
// reading, beside the locking of the first instance.
func (b *Book) Run(ctx context.Context) error {
	_, _ = b.Reading() // the error is returned again to each caller that needs the reading
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(b.follow(ctx))
			b.Retain()
		}
	}
}

// follow takes what has changed, and returns how long to wait before it is called again.
// Reading and asking take long and are done without the lock: no takeover waits for them.
func (b *Book) follow(ctx context.Context) time.Duration {
	b.mu.Lock()
	stamps, newest, err, former := b.stamps, b.newest, b.err, b.version
	loaded, asked, leaving := b.loaded, b.asked, b.leaving()
	b.mu.Unlock()
	o := b.OptionsNow()
	changed := o.Version != former
	if changed {
		loaded.forget()
	}
	for path, was := range stamps {
		changed = changed || stampOf(path) != was
	}
	if changed {
		newest, stamps, err = parse(b.Path, o)
	}
	runs := b.running(&loaded, newest, stamps, o)
	if runs == nil {
		runs = b.ask(ctx, &asked, newest)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loaded, b.asked = loaded, asked
	if changed || leaving || runs != b.runs {
		b.newest, b.stamps, b.err, b.runs, b.version = newest, stamps, err, runs, o.Version
		b.decide()
	}
	if b.leaving() {
		return soonInterval
	}
	return interval
}

// leaving reports whether an address stays only because it is still on this host.
func (b *Book) leaving() bool {
	return slices.ContainsFunc(b.now.Differences, func(d Difference) bool { return d.Reason == StillBound })
}

// OptionsNow returns how the file is to be read now.
func (b *Book) OptionsNow() keepalivedconf.Options {
	o := b.Options
	if b.Version != nil {
		o.Version = b.Version()
	}
	return o
}

// running returns what keepalived is known to have loaded: what its processes have open,
// or the file, if keepalived was started after the last change of the file. It returns
// newest itself where both are the same.
func (b *Book) running(l *loaded, newest *keepalivedconf.Config, stamps map[string]stamp, o keepalivedconf.Options) *keepalivedconf.Config {
	if b.Process == nil {
		return nil
	}
	pid, ok := b.Process()
	if !ok {
		return nil
	}
	conf := l.read(pid, b.Path, newest, o)
	switch at, known := lastChange(stamps); {
	case conf != nil && newest != nil && conf.Sum == newest.Sum:
		return newest
	case conf == nil && l.stamp == (stamp{}) && newest != nil && known && startedAfter(pid, at):
		return newest
	}
	return conf
}

// begin makes the first reading. It is called with the lock held.
func (b *Book) begin() {
	if b.begun && b.now.Config != nil {
		return
	}
	if !b.begun {
		b.prepare()
	}
	o := b.OptionsNow()
	b.newest, b.stamps, b.err = parse(b.Path, o)
	b.version = o.Version
	b.runs = b.running(&b.loaded, b.newest, b.stamps, o)
	if !b.begun {
		// A file that keepalived runs needs no other reading beside it, and a claim
		// waits for this one.
		if b.good == nil && (b.runs == nil || b.runs != b.newest) {
			b.good = b.load()
			b.saved = b.good
		}
	}
	b.begun = true
	b.decide()
}

// prepare makes the conditions. It is called with the lock held.
func (b *Book) prepare() {
	if b.Journal == nil {
		b.Journal = journal.New(nil)
	}
	if b.file == nil {
		b.file, b.retaining, b.immovable = b.Journal.Condition(), b.Journal.Condition(), map[netip.Addr]*journal.Condition{}
	}
}

// Retain writes the last good reading into the run directory, if it has changed, for
// the next start of berth.
func (b *Book) Retain() {
	b.mu.Lock()
	b.prepare()
	good, same := b.good, b.good == b.saved
	b.saved = b.good
	b.mu.Unlock()
	if same || good == nil {
		return
	}
	if err := b.save(good); err != nil {
		b.retaining.Fail(notRetained, err)
	} else {
		b.retaining.Clear()
	}
}

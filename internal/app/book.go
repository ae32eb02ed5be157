package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// bookInterval is how often a running berth looks whether keepalived.conf, or
// a file it includes, was changed.
const bookInterval = time.Second

// errUnknown says that a readable keepalived.conf does not have the name.
var errUnknown = errors.New("not in the keepalived configuration")

// book is what is known of keepalived.conf. It parses once per change, and a
// reading that fails leaves the last good one in force.
type book struct {
	path    string
	options keepalivedconf.Options
	managed []vrrp.FloatingIP // from berth's configuration, instead of the instance's own
	log     *zap.Logger

	mu        sync.Mutex
	conf      *keepalivedconf.Config       // last good reading, nil before the first
	managedBy map[string][]vrrp.FloatingIP // of conf, by instance
	err       error                        // of the newest reading
	stamps    map[string]stamp
	changed   chan struct{} // closed and replaced when conf changes
}

// inherit reads the file, and takes the last good reading of a former book in
// force where that fails.
func (b *book) inherit(former *book) {
	conf, _ := former.reading()
	if own, _ := b.reading(); own == nil && conf != nil {
		b.mu.Lock()
		b.use(conf)
		b.mu.Unlock()
	}
}

// stamp tells whether a file is still what was read. The zero value stands for
// a file that is not there.
type stamp struct {
	size              int64
	inode             uint64
	modified, changed unix.Timespec
}

func newBook(path string, o keepalivedconf.Options, managed []vrrp.FloatingIP, log *zap.Logger) *book {
	return &book{path: path, options: o, managed: managed, log: log, changed: make(chan struct{})}
}

// addresses returns what berth moves for an instance. With managed addresses
// an unreadable file is a warning; an instance that a readable file does not
// have is an error either way, which matches errUnknown.
func (b *book) addresses(instance string) ([]vrrp.FloatingIP, error) {
	conf, err := b.reading()
	if conf == nil {
		if len(b.managed) > 0 {
			b.log.Warn("cannot verify the instance: keepalived's configuration is unreadable", zap.String("instance", instance), zap.Error(err))
			return b.managed, nil
		}
		return nil, err
	}
	b.mu.Lock()
	own, ok := b.managedBy[instance]
	b.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("vrrp_instance %q: %w %s", instance, errUnknown, b.path)
	}
	if len(b.managed) > 0 {
		return b.managed, nil
	}
	return own, nil
}

// members returns the instances of a sync group. With managed addresses and an
// unreadable file the group stands for itself, as an instance would.
func (b *book) members(group string) ([]string, error) {
	conf, err := b.reading()
	if conf == nil {
		if len(b.managed) > 0 {
			return []string{group}, nil
		}
		return nil, err
	}
	for _, g := range conf.Groups {
		if g.Name == group {
			return g.Members, nil
		}
	}
	return nil, fmt.Errorf("vrrp_sync_group %q: %w %s", group, errUnknown, b.path)
}

// reading returns the last good reading, and the error of the newest one.
func (b *book) reading() (*keepalivedconf.Config, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conf == nil {
		b.apply(b.parse())
	}
	return b.conf, b.err
}

// parseTries bounds how often a file is read again because it changed under
// the reading.
const parseTries = 3

// parse reads the file, and returns stamps that are surely those of what was
// read: taken before, and found the same after. Where that fails, because
// somebody keeps writing, the stamps match nothing, and the next look reads again.
func (b *book) parse() (*keepalivedconf.Config, map[string]stamp, error) {
	files := []string{b.path}
	for try := 1; ; try++ {
		before := stampAll(files)
		conf, err := keepalivedconf.ParseFile(b.path, b.options)
		if err != nil {
			return nil, before, err
		}
		files = slices.Concat(conf.Files, conf.Dirs)
		after := stampAll(files)
		same := true
		for path, is := range after {
			if was, known := before[path]; !known || was != is {
				same = false
				after[path] = stamp{size: -1}
			}
		}
		if same || try == parseTries {
			return conf, after, nil
		}
	}
}

// apply takes what parse returned. It is called with the lock held.
func (b *book) apply(conf *keepalivedconf.Config, stamps map[string]stamp, err error) {
	former := b.err
	b.err, b.stamps = err, stamps
	if err != nil {
		if former == nil || former.Error() != err.Error() {
			b.log.Error("cannot read keepalived's configuration; the last good reading stays in force", zap.Error(err))
		}
		return
	}
	b.use(conf)
	if conf.Refused {
		b.log.Error("keepalived would refuse this configuration; acting on what could be read",
			zap.String("file", b.path), zap.String("reason", conf.Refusals[0].Message), zap.Int("line", conf.Refusals[0].Line))
	}
	b.log.Info("keepalived's configuration was read; `berth show` lists its warnings",
		zap.String("file", b.path), zap.Int("instances", len(conf.Instances)), zap.Int("warnings", len(conf.Warnings)))
}

// use puts a reading in force. It is called with the lock held.
func (b *book) use(conf *keepalivedconf.Config) {
	b.conf = conf
	b.managedBy = make(map[string][]vrrp.FloatingIP, len(conf.Instances))
	for i := range conf.Instances {
		b.managedBy[conf.Instances[i].Name] = conf.Instances[i].Managed()
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// watch returns a channel that is closed at the next change.
func (b *book) watch() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Run reads the file again whenever it, or a file it includes, has changed. It
// begins with the first reading, beside the locking of the first instance.
func (b *book) Run(ctx context.Context) error {
	_, _ = b.reading() // whoever needs it gets the error
	tick := time.NewTicker(bookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		b.mu.Lock()
		stamps := b.stamps
		b.mu.Unlock()
		for path, was := range stamps {
			if stampOf(path) != was {
				// Without the lock: no takeover waits for a file that takes long.
				conf, stamps, err := b.parse()
				b.mu.Lock()
				b.apply(conf, stamps, err)
				b.mu.Unlock()
				break
			}
		}
	}
}

func stampAll(paths []string) map[string]stamp {
	stamps := make(map[string]stamp, len(paths))
	for _, path := range paths {
		stamps[path] = stampOf(path)
	}
	return stamps
}

func stampOf(path string) stamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return stamp{}
	}
	return stamp{size: st.Size, inode: st.Ino, modified: st.Mtim, changed: st.Ctim}
}

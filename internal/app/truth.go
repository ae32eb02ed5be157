package app

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/internal/metrics"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// confirmFound is how long the addresses must stay where they are before they
// make an instance MASTER that keepalived could not be asked about: one that is
// only starting takes away what its dead predecessor has left.
const confirmFound = time.Second

// An instance that the table has as MASTER and the file does not have may have
// been renamed: keepalived takes it over at its reload, by the virtual router
// id, and says nothing of either name. When it is told to reload cannot be
// seen, so it is asked again, at first often.
const (
	askOften  = 5 * time.Second
	askSeldom = time.Minute
)

// finder fills with what the machine shows the gaps that keepalived's events
// leave: the states of instances of which no line was read since berth started,
// and of those of which lines were lost.
type finder struct {
	book        *reading.Book
	status      *status.Board
	corrections *metrics.Counter
	// suppose and known are the table's methods of these names.
	suppose func(ev vrrp.Event, since time.Time) bool
	known   func(name string) bool
	masters func() []string          // the table's Masters
	flush   func(context.Context)    // until every line that waits was delivered
	verdict func() supervise.Verdict // does keepalived live?
	// keepalived returns the one that runs.
	keepalived func() (supervise.Keepalived, bool)
	// written reports whether any process has the FIFO open to write, which is
	// evidence of life.
	written   func() bool
	addresses func() (truth.Bound, error)
	// located reports whether these are surely of keepalived's network.
	located func() bool
	ask     func(ctx context.Context, parent, vrrpProcess int) (truth.Dump, error)
	log     *zap.Logger

	wake chan struct{} // one slot: there is something to find out

	mu     sync.Mutex
	all    bool                  // look at every instance without a line
	lost   map[string]vrrp.Event // the last line that survived, by instance
	lostAt time.Time             // when the newest loss was noticed
	deaf   string                // why no line can arrive, empty if lines can
	closed bool                  // lines could not arrive a moment ago

	unseen bool            // it was said that events alone count
	noted  map[string]bool // instances whose status says why no line can arrive
}

// look asks for a look at the instances of which no line was read.
func (f *finder) look() {
	f.mu.Lock()
	f.all = true
	f.mu.Unlock()
	f.poke()
}

// lines takes what is left of a burst of which lines were lost.
func (f *finder) lines(burst []vrrp.Event) {
	f.mu.Lock()
	if f.lost == nil {
		f.lost = map[string]vrrp.Event{}
	}
	for _, ev := range burst {
		if ev.Kind == vrrp.StateChange {
			f.lost[ev.Instance] = ev
		}
	}
	f.lostAt = time.Now()
	f.mu.Unlock()
	f.poke()
}

func (f *finder) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run looks whenever it is asked to, until ctx ends; then it returns ctx's
// cause.
func (f *finder) Run(ctx context.Context) error {
	var lastChange time.Time
	var again <-chan time.Time
	for {
		changed := f.book.Watch()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.wake:
		case <-again:
			f.mu.Lock()
			f.all = true
			f.mu.Unlock()
		case <-changed:
			// keepalived is about to be told, or was: it says itself what it
			// makes of it, but for what it has had all the time.
			lastChange = time.Now()
			f.mu.Lock()
			f.all = true
			f.mu.Unlock()
		}
		again = nil
		switch deaf := f.findDeaf(ctx); {
		case deaf:
			again = time.After(askDeaf)
		case f.find(ctx):
			wait := askSeldom
			if time.Since(lastChange) < askSeldom {
				wait = askOften
			}
			again = time.After(wait)
		}
	}
}

// find looks at what it is asked to, and reports whether it has to look again.
func (f *finder) find(ctx context.Context) (again bool) {
	f.flush(ctx) // lines that wait come first
	f.mu.Lock()
	all, lost, at := f.all, f.lost, f.lostAt
	f.all, f.lost = false, nil
	f.mu.Unlock()
	conf, err := f.book.Reading()
	if conf == nil {
		f.log.Debug("no configuration of keepalived to compare the machine with", zap.Error(err))
		conf = &keepalivedconf.Config{}
	}
	var wanted []truth.Instance
	for i := range conf.Instances {
		in := &conf.Instances[i]
		if _, isLost := lost[in.Name]; all && !f.known(in.Name) || isLost {
			wanted = append(wanted, examinee(in))
		}
	}
	var strays []string // renamed, perhaps
	if all && err == nil {
		for _, name := range f.masters() {
			if _, ok := conf.Instance(name); !ok {
				strays = append(strays, name)
			}
		}
	}
	if len(wanted) == 0 && len(lost) == 0 && len(strays) == 0 {
		return false
	}
	begun := time.Now()
	findings, dump := f.examine(ctx, wanted, len(lost) > 0 || len(strays) > 0)
	f.flush(ctx)
	renamed := false
	for _, in := range wanted {
		if _, isLost := lost[in.Name]; isLost {
			continue
		}
		if found := findings[in.Name]; found.Finding == truth.Master {
			renamed = true
			f.correct(vrrp.Event{Instance: in.Name, State: vrrp.Master, Reason: "found-bound: " + found.reason}, time.Time{})
		} else {
			f.log.Debug("the machine shows nothing to correct", zap.String("instance", in.Name), zap.String("reason", found.reason))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		f.correct(afterLoss(lost[name], findings[name], dump), at)
	}
	for _, name := range strays {
		switch {
		case dump.Denies(name):
			f.correct(vrrp.Event{Instance: name, State: vrrp.Deleted, Reason: "neither keepalived's configuration nor its state dump has the instance"}, begun)
		case dump == nil && renamed:
			f.correct(vrrp.Event{Instance: name, State: vrrp.Deleted, Reason: "keepalived's configuration does not have the instance, and another one has turned up as MASTER"}, begun)
		default:
			again = true
		}
	}
	return again
}

// afterLoss decides the state of an instance of which lines were lost. last is
// the last line that was not.
func afterLoss(last vrrp.Event, found finding, dump truth.Dump) vrrp.Event {
	ev := vrrp.Event{Instance: last.Instance, State: last.State, Priority: last.Priority}
	switch found.Finding {
	case truth.Master:
		ev.State, ev.Reason = vrrp.Master, "lines were lost: "+found.reason
	case truth.NotMaster:
		ev.Reason = "lines were lost: " + found.reason
		if state := dump[last.Instance]; state != vrrp.Unknown {
			ev.State = state // keepalived's own word, whatever became of an address
		} else if last.State == vrrp.Master {
			ev.State = vrrp.Backup // in doubt it is not
		}
	default:
		ev.Reason = "lines were lost, this is the last that was not: " + found.reason
	}
	return ev
}

// correct hands a state on and says so if it changed anything.
func (f *finder) correct(ev vrrp.Event, since time.Time) {
	ev.Source, ev.Received = "machine", time.Now()
	if !f.suppose(ev, since) {
		return
	}
	f.log.Warn("corrected the state from what the machine shows", zap.String("instance", ev.Instance),
		zap.Stringer("state", ev.State), zap.String("reason", ev.Reason))
	f.corrections.Add(1, ev.Instance)
	f.status.Corrected(ev.Instance, ev.Reason)
}

type finding struct {
	truth.Finding
	reason string
}

// examine looks at the machine for each of the instances. The dump is nil where
// keepalived could not be asked, or need not be.
func (f *finder) examine(ctx context.Context, instances []truth.Instance, insist bool) (map[string]finding, truth.Dump) {
	findings := map[string]finding{}
	every := func(result finding) map[string]finding {
		for _, in := range instances {
			findings[in.Name] = result
		}
		return findings
	}
	switch f.verdict() {
	case supervise.Dead:
		return every(finding{truth.NotMaster, "keepalived does not run"}), nil
	case supervise.Unknown:
		return every(finding{truth.Nothing, "keepalived was not found, which does not prove that it does not run"}), nil
	}
	k, ok := f.keepalived()
	if !ok || k.VRRP == 0 {
		return every(finding{truth.Nothing, "keepalived's VRRP process was not found"}), nil
	}
	look := func(dump truth.Dump) (masters int) {
		bound, known, err := f.bound()
		if err != nil {
			every(finding{truth.Nothing, err.Error()})
			return 0
		}
		for _, in := range instances {
			result, reason := truth.Examine(in, bound, known, dump)
			findings[in.Name] = finding{result, reason}
			if result == truth.Master {
				masters++
			}
		}
		return masters
	}
	if look(nil) == 0 && !insist {
		return findings, nil // keepalived need not be bothered
	}
	dump, err := f.ask(ctx, k.Parent, k.VRRP)
	if err == nil {
		look(dump)
		return findings, dump
	}
	f.log.Debug("keepalived could not be asked; looking twice", zap.Error(err))
	first := maps.Clone(findings)
	select {
	case <-ctx.Done():
		return map[string]finding{}, nil
	case <-time.After(confirmFound):
	}
	look(nil)
	for name, was := range first {
		switch {
		case was.Finding == truth.NotMaster:
			findings[name] = was // in doubt it is not
		case findings[name].Finding == truth.Master && !f.evident(k):
			findings[name] = finding{truth.Nothing, noEvidence}
		}
	}
	return findings, nil
}

// noEvidence is why addresses alone make no MASTER: a keepalived that was killed
// leaves its own behind.
const noEvidence = "all its addresses are on this host, but nothing proves that keepalived runs"

// evident reports whether it is certain that keepalived runs, though it did not
// answer: by its executable, or by the FIFO, which nobody else has open to write.
func (f *finder) evident(k supervise.Keepalived) bool { return k.Proven || f.written() }

// bound looks at the addresses where keepalived has them. known is as for
// truth.Examine. That they cannot be seen, and that they can again, is said once.
func (f *finder) bound() (bound truth.Bound, known bool, err error) {
	bound, err = f.addresses()
	switch {
	case err != nil && !f.unseen:
		f.log.Warn("cannot look at the addresses of keepalived; events alone count", zap.Error(err))
	case err == nil && f.unseen:
		f.log.Info("the addresses of keepalived are seen again")
	}
	f.unseen = err != nil
	return bound, f.located(), err
}

// examinee is what the configuration says of an instance.
func examinee(in *keepalivedconf.Instance) truth.Instance {
	e := truth.Instance{Name: in.Name, Addresses: in.Managed()}
	for _, link := range []string{in.Interface, in.VMAC} {
		if link != "" {
			e.Interfaces = append(e.Interfaces, link)
		}
	}
	return e
}

package keepalived

import (
	"context"
	"time"
)

const (
	// fifoInterval is how often it is compared whether keepalived has the FIFO open.
	fifoInterval = 200 * time.Millisecond
	// confirmNotOpen is how long keepalived must be found without the FIFO: a reload
	// closes it and opens it again. With the time after which a FIFO that was
	// replaced is noticed, this is told within two seconds.
	confirmNotOpen = time.Second
	// silence is how long the FIFO of a keepalived that cannot be watched must be
	// without a writer for that to be its end.
	silence = 2 * time.Second
)

// FIFOState tells whether what keepalived writes can reach berth.
type FIFOState uint8

const (
	// FIFOUnknown: no keepalived is known, or its descriptors may not be read.
	FIFOUnknown FIFOState = iota
	// FIFOOpen: keepalived has the FIFO open that berth reads.
	FIFOOpen
	// FIFONotOpen: keepalived runs and does not have that FIFO open. keepalived opens
	// its FIFO once, when it starts and at each reload; one that was replaced
	// under it, or whose directory was missing, it never writes.
	FIFONotOpen
)

// FIFOMonitor tells whether keepalived has the FIFO open that berth reads, and, where
// keepalived cannot be watched, that it has closed it for good. The exported fields are
// set before Run.
type FIFOMonitor struct {
	// Current is as the method of Daemon.
	Current func() (Processes, error)
	// OpenIn reports whether a process has the FIFO open; the error says that its
	// descriptors may not be read.
	OpenIn func(pid int) (bool, error)
	// Writing tells since when no process at all has the FIFO open to write, zero
	// while one has, and whether one had it open for long before.
	Writing func() (stayed bool, none time.Time)
	// Changed is told of each change, of the first answer too. why is set with
	// FIFOUnknown if descriptors may not be read, k is zero if no keepalived is known.
	Changed func(s FIFOState, k Processes, why error)
	// Ended is told once that the FIFO of a keepalived that is not known has had
	// no writer for two seconds, since a moment.
	Ended func(since time.Time)

	state    FIFOState
	told     bool      // Changed was told the answer
	refused  bool      // the answer was that descriptors may not be read
	notSince time.Time // since when keepalived was found without the FIFO
	ended    time.Time // the moment that Ended was told
}

// Run compares until ctx ends and returns its cause.
func (m *FIFOMonitor) Run(ctx context.Context) error {
	tick := time.NewTicker(fifoInterval)
	defer tick.Stop()
	for {
		m.compare(time.Now())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (m *FIFOMonitor) compare(now time.Time) {
	k, err := m.Current()
	if err != nil {
		m.notSince = time.Time{}
		m.tell(FIFOUnknown, Processes{}, nil)
		stayed, none := m.Writing()
		if stayed && !none.IsZero() && none != m.ended && now.Sub(none) >= silence {
			m.ended = none
			m.Ended(none)
		}
		return
	}
	open, err := m.open(k)
	switch {
	case open:
		m.notSince = time.Time{}
		m.tell(FIFOOpen, k, nil)
	case k.VRRP == 0 && len(children(k.Parent)) == 0:
		// keepalived is only starting, or about to start its VRRP process anew.
		m.notSince = time.Time{}
	case err != nil && m.written():
		m.notSince = time.Time{}
		m.tell(FIFOUnknown, k, err)
	case m.notSince.IsZero():
		m.notSince = now
	case now.Sub(m.notSince) >= confirmNotOpen:
		m.tell(FIFONotOpen, k, nil)
	}
}

// open reports whether any process of keepalived that writes events has the FIFO
// open.
func (m *FIFOMonitor) open(k Processes) (bool, error) {
	var refused error
	for _, pid := range k.Writers() {
		open, err := m.OpenIn(pid)
		if open {
			return true, nil
		}
		if err != nil {
			refused = err
		}
	}
	return false, refused
}

// written reports whether any process has the FIFO open to write. Where none has,
// keepalived has not, whether or not its descriptors may be read.
func (m *FIFOMonitor) written() bool {
	_, none := m.Writing()
	return none.IsZero()
}

func (m *FIFOMonitor) tell(s FIFOState, k Processes, why error) {
	if m.told && s == m.state && m.refused == (why != nil) {
		return
	}
	m.told, m.state, m.refused = true, s, why != nil
	m.Changed(s, k, why)
}

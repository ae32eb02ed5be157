package supervise

import (
	"context"
	"time"
)

const (
	// listen is how often it is looked whether keepalived has the FIFO open.
	listen = 200 * time.Millisecond
	// confirmDeaf is how long keepalived must be found without the FIFO: a reload
	// closes it and opens it again. With the time after which a FIFO that was
	// replaced is noticed, deafness is told within two seconds.
	confirmDeaf = time.Second
	// silence is how long the FIFO of a keepalived that cannot be watched must be
	// without a writer for that to be its end.
	silence = 2 * time.Second
)

// Hearing tells whether what keepalived writes can reach berth.
type Hearing uint8

const (
	// Unsure: no keepalived is known, or its descriptors may not be looked at.
	Unsure Hearing = iota
	// Hears: keepalived has the FIFO open that berth reads.
	Hears
	// Deaf: keepalived runs and does not have that FIFO open. keepalived opens
	// its FIFO once, when it starts and at each reload; one that was replaced
	// under it, or whose directory was missing, it never writes.
	Deaf
)

// Ear tells whether keepalived has the FIFO open that berth reads, and, where
// keepalived cannot be watched, that it has closed it for good.
type Ear struct {
	// Keepalived returns the keepalived that runs, if it is known.
	Keepalived func() (Keepalived, bool)
	// OpenIn reports whether a process has the FIFO open; the error says that its
	// descriptors may not be looked at.
	OpenIn func(pid int) (bool, error)
	// Writing tells since when no process at all has the FIFO open to write, zero
	// while one has, and whether one had it open for long before.
	Writing func() (stayed bool, none time.Time)
	// Heard is told of each change, of the first answer too. why is set with
	// Unsure if descriptors may not be looked at, k is zero if none is known.
	Heard func(h Hearing, k Keepalived, why error)
	// Ended is told once that the FIFO of a keepalived that is not known has had
	// no writer for two seconds, since a moment.
	Ended func(since time.Time)

	hearing Hearing
	told    bool      // Heard was told the answer
	refused bool      // and of descriptors that may not be looked at
	shut    time.Time // since when keepalived was found without the FIFO
	ended   time.Time // the moment that Ended was told
}

// Run looks until ctx ends and returns its cause.
func (e *Ear) Run(ctx context.Context) error {
	tick := time.NewTicker(listen)
	defer tick.Stop()
	for {
		e.look(time.Now())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (e *Ear) look(now time.Time) {
	k, known := e.Keepalived()
	if !known {
		e.shut = time.Time{}
		e.tell(Unsure, Keepalived{}, nil)
		stayed, none := e.Writing()
		if stayed && !none.IsZero() && none != e.ended && now.Sub(none) >= silence {
			e.ended = none
			e.Ended(none)
		}
		return
	}
	open, err := e.open(k)
	switch {
	case open:
		e.shut = time.Time{}
		e.tell(Hears, k, nil)
	case k.VRRP == 0 && len(children(k.Parent)) == 0:
		// Only starting, or about to start its VRRP process anew.
		e.shut = time.Time{}
	case err != nil && e.written():
		e.shut = time.Time{}
		e.tell(Unsure, k, err)
	case e.shut.IsZero():
		e.shut = now
	case now.Sub(e.shut) >= confirmDeaf:
		e.tell(Deaf, k, nil)
	}
}

// open reports whether any process of keepalived that writes events has the FIFO
// open.
func (e *Ear) open(k Keepalived) (bool, error) {
	var refused error
	for _, pid := range k.Writers() {
		open, err := e.OpenIn(pid)
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
// keepalived has not, whether or not its descriptors may be looked at.
func (e *Ear) written() bool {
	_, none := e.Writing()
	return none.IsZero()
}

func (e *Ear) tell(h Hearing, k Keepalived, why error) {
	if e.told && h == e.hearing && e.refused == (why != nil) {
		return
	}
	e.told, e.hearing, e.refused = true, h, why != nil
	e.Heard(h, k, why)
}

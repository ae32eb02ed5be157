package faults

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// A reply is what the service of a host says to a health check.
type reply int

const (
	well reply = iota
	failing
	hanging // until the check gives up
)

// How the health checks of a host work.
const (
	healthAddress  = "127.0.0.1:8080"
	healthInterval = 500 * time.Millisecond
	healthTimeout  = 400 * time.Millisecond
	healthRise     = 2
	healthFall     = 3
)

// A service is what the health checks of a host ask.
type service struct {
	server *http.Server
	wait   sync.WaitGroup

	mu      sync.Mutex
	answers []reply // in turn, and from the first again
	next    int
	changed chan struct{} // closed when answers changes
}

// serve starts the service of a host.
func (h *Host) serve() error {
	var listener net.Listener
	if err := h.Node.Do(func() (err error) {
		listener, err = net.Listen("tcp4", healthAddress)
		return err
	}); err != nil {
		return fmt.Errorf("serve health checks: %w", err)
	}
	s := &service{answers: []reply{well}, changed: make(chan struct{})}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
	s.wait.Go(func() { s.server.Serve(listener) }) // ends with close
	h.service = s
	h.lab.OnClose(s.close)
	return nil
}

// close ends the service; requests in progress get no answer.
func (s *service) close() error {
	err := s.server.Close()
	s.wait.Wait()
	return err
}

// set makes the service give these answers in turn from now on.
func (s *service) set(answers ...reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.next = answers, 0
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	a, changed := s.answers[s.next], s.changed
	s.next = (s.next + 1) % len(s.answers)
	s.mu.Unlock()
	switch a {
	case failing:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
	case hanging:
		select {
		case <-changed:
		case <-r.Context().Done():
		}
	}
}

// Figures of health checks.
const (
	// givenUp is after how long a check that fails or hangs has taken effect: the fault
	// comes just after a try, and the last try hangs.
	givenUp = healthFall*healthInterval + healthTimeout + 2*handOver
	unwell  = 4 * time.Second
	// flaps is how often a host leaves and comes back while the fault lasts.
	flaps = int(longer/(5*healthInterval)) + 1
)

// Answers of a service that flaps: never often enough to fail a check, and often enough
// to fail it and to end that.
var (
	seldom = []reply{failing, failing, well}
	often  = []reply{failing, failing, failing, well, well}
)

// healthFaults are the faults of the check of an instance.
func healthFaults() []Fault {
	all := []Fault{
		{Name: "health-fail", CI: true, Lasts: unwell, Inject: answers(failing), Limits: Limits{NoOwner: handOver, Left: givenUp}},
		{Name: "health-hang", Lasts: unwell, Inject: answers(hanging), Limits: Limits{NoOwner: handOver, Left: givenUp}},
		{Name: "health-flap-below", Lasts: longer, Stays: true, Inject: answers(seldom...)},
		{Name: "health-flap", Lasts: longer, Inject: answers(often...), Limits: Limits{NoOwner: handOver, Moves: 2 * flaps * 2}},
	}
	for i := range all {
		all[i].Health, all[i].Owner = true, true
	}
	return all
}

// answers makes the service of the victim give these answers in turn.
func answers(list ...reply) func(*Run) error {
	return func(r *Run) error {
		if r.Victim.service == nil {
			return errors.New("the lab has no health checks")
		}
		r.heal(func() error {
			r.Victim.service.set(well)
			return nil
		})
		if len(list) == 1 {
			r.bar(r.Victim)
		}
		r.Victim.service.set(list...)
		return nil
	}
}
